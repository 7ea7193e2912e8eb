"""Programs like those of the book's chapters 7 and 8, models from sequence to sequence."""

PROGRAMS = {
    "ch07/seq2seq.py": """
        import sys
        sys.path.append('..')
        from common.time_layers import *
        from common.base_model import BaseModel
        from ch06.rnnlm import lstm

        class Encoder:
            def __init__(self, V, D, H):
                self.embed = TimeEmbedding((np.random.randn(V, D) / 100).astype('f'))
                self.lstm = lstm(D, H, stateful=False)
                self.params = self.embed.params + self.lstm.params
                self.grads = self.embed.grads + self.lstm.grads
                self.hs = None

            def forward(self, xs):
                self.hs = self.lstm.forward(self.embed.forward(xs))
                return self.hs[:, -1, :]

            def backward(self, dh):
                dhs = np.zeros_like(self.hs)
                dhs[:, -1, :] = dh
                return self.embed.backward(self.lstm.backward(dhs))

        class Decoder:
            def __init__(self, V, D, H):
                self.embed = TimeEmbedding((np.random.randn(V, D) / 100).astype('f'))
                self.lstm = lstm(D, H, stateful=True)
                W = (np.random.randn(H, V) / np.sqrt(H)).astype('f')
                self.affine = TimeAffine(W, np.zeros(V).astype('f'))
                self.params, self.grads = [], []
                for layer in (self.embed, self.lstm, self.affine):
                    self.params += layer.params
                    self.grads += layer.grads

            def forward(self, xs, h):
                self.lstm.set_state(h)
                return self.affine.forward(self.lstm.forward(self.embed.forward(xs)))

            def backward(self, dscore):
                dout = self.lstm.backward(self.affine.backward(dscore))
                self.embed.backward(dout)
                return self.lstm.dh

            def generate(self, h, start_id, sample_size):
                sampled, sample_id = [], start_id
                self.lstm.set_state(h)
                for _ in range(sample_size):
                    x = np.array(sample_id).reshape((1, 1))
                    score = self.affine.forward(self.lstm.forward(self.embed.forward(x)))
                    sample_id = np.argmax(score.flatten())
                    sampled.append(int(sample_id))
                return sampled

        class Seq2seq(BaseModel):
            def __init__(self, V, D, H):
                self.encoder = Encoder(V, D, H)
                self.decoder = Decoder(V, D, H)
                self.softmax = TimeSoftmaxWithLoss()
                self.params = self.encoder.params + self.decoder.params
                self.grads = self.encoder.grads + self.decoder.grads

            def forward(self, xs, ts):
                decoder_xs, decoder_ts = ts[:, :-1], ts[:, 1:]
                score = self.decoder.forward(decoder_xs, self.encoder.forward(xs))
                return self.softmax.forward(score, decoder_ts)

            def backward(self, dout=1):
                dout = self.softmax.backward(dout)
                return self.encoder.backward(self.decoder.backward(dout))

            def generate(self, xs, start_id, sample_size):
                return self.decoder.generate(self.encoder.forward(xs), start_id, sample_size)
    """,
    "ch07/peeky_seq2seq.py": """
        import sys
        sys.path.append('..')
        from common.time_layers import *
        from seq2seq import Seq2seq, Encoder, Decoder, lstm

        class PeekyDecoder(Decoder):
            def __init__(self, V, D, H):
                self.embed = TimeEmbedding((np.random.randn(V, D) / 100).astype('f'))
                self.lstm = lstm(H + D, H, stateful=True)
                W = (np.random.randn(H + H, V) / np.sqrt(H + H)).astype('f')
                self.affine = TimeAffine(W, np.zeros(V).astype('f'))
                self.params, self.grads = [], []
                for layer in (self.embed, self.lstm, self.affine):
                    self.params += layer.params
                    self.grads += layer.grads
                self.cache = None

            def forward(self, xs, h):
                N, T = xs.shape
                N, H = h.shape
                self.lstm.set_state(h)
                out = self.embed.forward(xs)
                hs = np.repeat(h, T, axis=0).reshape(N, T, H)
                out = self.lstm.forward(np.concatenate((hs, out), axis=2))
                self.cache = H
                return self.affine.forward(np.concatenate((hs, out), axis=2))

            def backward(self, dscore):
                H = self.cache
                dout = self.affine.backward(dscore)
                dout, dhs0 = dout[:, :, H:], dout[:, :, :H]
                dout = self.lstm.backward(dout)
                dembed, dhs1 = dout[:, :, H:], dout[:, :, :H]
                self.embed.backward(dembed)
                return self.lstm.dh + np.sum(dhs0 + dhs1, axis=1)

            def generate(self, h, start_id, sample_size):
                sampled, char_id = [], start_id
                self.lstm.set_state(h)
                peeky_h = h.reshape(1, 1, h.shape[1])
                for _ in range(sample_size):
                    x = np.array([char_id]).reshape((1, 1))
                    out = np.concatenate((peeky_h, self.embed.forward(x)), axis=2)
                    out = np.concatenate((peeky_h, self.lstm.forward(out)), axis=2)
                    char_id = np.argmax(self.affine.forward(out).flatten())
                    sampled.append(char_id)
                return sampled

        class PeekySeq2seq(Seq2seq):
            def __init__(self, V, D, H):
                self.encoder = Encoder(V, D, H)
                self.decoder = PeekyDecoder(V, D, H)
                self.softmax = TimeSoftmaxWithLoss()
                self.params = self.encoder.params + self.decoder.params
                self.grads = self.encoder.grads + self.decoder.grads
    """,
    "ch07/rnnlm_gen.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        from common.functions import softmax
        from ch06.rnnlm import Rnnlm
        from ch06.better_rnnlm import BetterRnnlm

        class Generates:
            def generate(self, start_id, skip_ids=None, sample_size=100):
                word_ids, x = [start_id], start_id
                while len(word_ids) < sample_size:
                    x = np.array(x).reshape(1, 1)
                    p = softmax(self.predict(x).flatten())
                    sampled = np.random.choice(len(p), size=1, p=p)
                    if (skip_ids is None) or (sampled not in skip_ids):
                        x = sampled
                        word_ids.append(int(x[0]))
                return word_ids

        class BetterRnnlmGen(Generates, BetterRnnlm):
            def get_state(self):
                return [(layer.h, layer.c) for layer in self.lstm_layers]

            def set_state(self, states):
                for layer, state in zip(self.lstm_layers, states):
                    layer.set_state(*state)

        class RnnlmGen(Generates, Rnnlm):
            def get_state(self):
                return self.lstm_layer.h, self.lstm_layer.c

            def set_state(self, state):
                self.lstm_layer.set_state(*state)
    """,
    "ch07/generate_text.py": """
        import sys
        sys.path.append('..')
        from rnnlm_gen import RnnlmGen
        from dataset import ptb

        corpus, word_to_id, id_to_word = ptb.load_data('train')
        model = RnnlmGen()
        model.load_params('../ch06/Rnnlm.pkl')
        skip_ids = [word_to_id[w] for w in ['N', '<unk>', '$']]
        word_ids = model.generate(word_to_id['you'], skip_ids, 20)
        txt = ' '.join([id_to_word[i] for i in word_ids])
        print(txt.replace(' <eos>', '.\\n'))
        h, c = model.get_state()
        model.set_state((h, c))
        print('words', h.shape, c.shape, len(word_ids), sorted(set(word_ids) & set(skip_ids)))
    """,
    "ch07/generate_better_text.py": """
        import sys, os
        sys.path.append(os.pardir)
        from common.np import *
        from rnnlm_gen import BetterRnnlmGen
        from dataset import ptb

        corpus, word_to_id, id_to_word = ptb.load_data('train')
        model = BetterRnnlmGen()
        model.load_params('../ch06/BetterRnnlm.pkl')
        print(model.generate(word_to_id['you'], None, 5))
        model.reset_state()
        start_ids = [word_to_id[w] for w in 'hello and you'.split(' ')]
        for x in start_ids[:-1]:
            model.predict(np.array(x).reshape(1, 1))
        states = model.get_state()
        model.set_state(states)
        word_ids = start_ids[:-1] + model.generate(start_ids[-1], [word_to_id['N']], 10)
        print('words', len(word_ids), len(states), ' '.join([id_to_word[i] for i in word_ids]))
    """,
    "ch07/train_seq2seq.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        import matplotlib.pyplot as plt
        from dataset import sequence
        from common.optimizer import Adam
        from common.trainer import Trainer
        from common.util import eval_seq2seq
        from seq2seq import Seq2seq
        from peeky_seq2seq import PeekySeq2seq

        np.random.seed(0)
        (x_train, t_train), (x_test, t_test) = sequence.load_data('addition.txt')
        char_to_id, id_to_char = sequence.get_vocab()
        x_train, x_test = x_train[:, ::-1], x_test[:, ::-1]
        for kind in (Seq2seq, PeekySeq2seq):
            model = kind(len(char_to_id), 8, 16)
            trainer = Trainer(model, Adam(lr=0.02))
            acc_list = []
            for epoch in range(6):
                trainer.fit(x_train, t_train, max_epoch=5, batch_size=20, max_grad=5.0)
                correct_num = 0
                for i in range(len(x_test)):
                    question, correct = x_test[[i]], t_test[[i]]
                    correct_num += eval_seq2seq(model, question, correct, id_to_char,
                                                i < 2, is_reverse=True)
                acc_list.append(float(correct_num) / len(x_test))
            plt.plot(np.arange(len(acc_list)), acc_list, marker='o')
            plt.ylim(0, 1.0)
            plt.show()
            print('accuracy', acc_list[-1], trainer.loss_list[0], trainer.loss_list[-1])
    """,
    "ch08/attention_layer.py": """
        import sys
        sys.path.append('..')
        from common.np import *  # import numpy as np
        from common.layers import Softmax

        class Attention:
            def __init__(self):
                self.params, self.grads = [], []
                self.softmax, self.cache, self.attention_weight = Softmax(), None, None

            def forward(self, hs, h):
                a = self.softmax.forward(np.sum(hs * h[:, None, :], axis=2))
                self.cache, self.attention_weight = (hs, h, a), a
                return np.sum(hs * a[:, :, None], axis=1)

            def backward(self, dout):
                hs, h, a = self.cache
                ds = self.softmax.backward(np.sum(dout[:, None, :] * hs, axis=2))
                dhs = dout[:, None, :] * a[:, :, None] + ds[:, :, None] * h[:, None, :]
                return dhs, np.sum(ds[:, :, None] * hs, axis=1)

        class TimeAttention:
            def __init__(self):
                self.params, self.grads = [], []
                self.layers = self.attention_weights = None

            def forward(self, hs_enc, hs_dec):
                out = np.empty_like(hs_dec)
                self.layers = [Attention() for _ in range(hs_dec.shape[1])]
                for t, layer in enumerate(self.layers):
                    out[:, t, :] = layer.forward(hs_enc, hs_dec[:, t, :])
                self.attention_weights = [layer.attention_weight for layer in self.layers]
                return out

            def backward(self, dout):
                dhs_enc, dhs_dec = 0, np.empty_like(dout)
                for t, layer in enumerate(self.layers):
                    dhs, dh = layer.backward(dout[:, t, :])
                    dhs_enc += dhs
                    dhs_dec[:, t, :] = dh
                return dhs_enc, dhs_dec
    """,
    "ch08/attention_seq2seq.py": """
        import sys
        sys.path.append('..')
        from common.time_layers import *
        from ch07.seq2seq import Encoder, Decoder, Seq2seq, lstm
        from ch08.attention_layer import TimeAttention

        class AttentionEncoder(Encoder):
            def forward(self, xs):
                return self.lstm.forward(self.embed.forward(xs))

            def backward(self, dhs):
                return self.embed.backward(self.lstm.backward(dhs))

        class AttentionDecoder(Decoder):
            def __init__(self, V, D, H):
                super().__init__(V, D, H)
                W = (np.random.randn(2 * H, V) / np.sqrt(2 * H)).astype('f')
                self.affine = TimeAffine(W, np.zeros(V).astype('f'))
                self.attention = TimeAttention()
                self.params, self.grads = [], []
                for layer in [self.embed, self.lstm, self.attention, self.affine]:
                    self.params += layer.params
                    self.grads += layer.grads

            def forward(self, xs, enc_hs):
                self.lstm.set_state(enc_hs[:, -1])
                return self.scores(xs, enc_hs)

            def scores(self, xs, enc_hs):
                dec_hs = self.lstm.forward(self.embed.forward(xs))
                c = self.attention.forward(enc_hs, dec_hs)
                return self.affine.forward(np.concatenate((c, dec_hs), axis=2))

            def backward(self, dscore):
                dout = self.affine.backward(dscore)
                H = dout.shape[2] // 2
                dc, ddec_hs0 = dout[:, :, :H], dout[:, :, H:]
                denc_hs, ddec_hs1 = self.attention.backward(dc)
                dout = self.lstm.backward(ddec_hs0 + ddec_hs1)
                denc_hs[:, -1] += self.lstm.dh
                self.embed.backward(dout)
                return denc_hs

            def generate(self, enc_hs, start_id, sample_size):
                sampled, sample_id = [], start_id
                self.lstm.set_state(enc_hs[:, -1])
                for _ in range(sample_size):
                    score = self.scores(np.array([sample_id]).reshape((1, 1)), enc_hs)
                    sample_id = np.argmax(score.flatten())
                    sampled.append(sample_id)
                return sampled

        class AttentionSeq2seq(Seq2seq):
            def __init__(self, V, D, H):
                self.encoder = AttentionEncoder(V, D, H)
                self.decoder = AttentionDecoder(V, D, H)
                self.softmax = TimeSoftmaxWithLoss()
                self.params = self.encoder.params + self.decoder.params
                self.grads = self.encoder.grads + self.decoder.grads
    """,
    "ch08/train.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        from dataset import sequence
        from common.optimizer import Adam
        from common.trainer import Trainer
        from common.util import eval_seq2seq
        from attention_seq2seq import AttentionSeq2seq
        from ch07.seq2seq import Seq2seq

        np.random.seed(0)
        (x_train, t_train), (x_test, t_test) = sequence.load_data('date.txt')
        char_to_id, id_to_char = sequence.get_vocab()
        model = AttentionSeq2seq(len(char_to_id), 8, 16)
        trainer = Trainer(model, Adam(lr=0.02))
        trainer.fit(x_train, t_train, max_epoch=40, batch_size=20, max_grad=5.0)
        correct_num = sum(eval_seq2seq(model, x_test[[i]], t_test[[i]], id_to_char, i < 2)
                          for i in range(len(x_test)))
        model.save_params()
        print('accuracy', correct_num / len(x_test), trainer.loss_list[0], trainer.loss_list[-1])
    """,
    "ch08/visualize_attention.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        import matplotlib.pyplot as plt
        from dataset import sequence
        from attention_seq2seq import AttentionSeq2seq

        (x_train, t_train), (x_val, t_val) = sequence.load_data('date.txt')
        char_to_id, id_to_char = sequence.get_vocab()
        model = AttentionSeq2seq(len(char_to_id), 8, 16)
        model.load_params()
        np.random.seed(1984)
        idx = [np.random.randint(0, len(x_val))]
        model.forward(x_val[idx], t_val[idx])
        d = np.array(model.decoder.attention.attention_weights)
        attention_map = d.reshape(d.shape[0], d.shape[2])
        fig, ax = plt.subplots()
        ax.pcolor(attention_map, cmap=plt.cm.Greys_r, vmin=0.0, vmax=1.0)
        ax.set_yticks(np.arange(attention_map.shape[0]) + 0.5, minor=False)
        ax.set_yticklabels([id_to_char[i] for i in t_val[idx][0]][1:], minor=False)
        plt.show()
        print('map', attention_map.shape, np.allclose(attention_map.sum(axis=1), 1))
    """,
}
