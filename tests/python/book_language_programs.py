"""Programs like those of the book's chapters 5 and 6, models of language."""

PROGRAMS = {
    "ch05/simple_rnnlm.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        from common.time_layers import *

        def drawn(rows, columns):
            return (np.random.randn(rows, columns) / np.sqrt(rows)).astype('f')

        def zeros(size):
            return np.zeros(size).astype('f')

        class SimpleRnnlm:
            def __init__(self, V, D, H):
                words = TimeEmbedding((np.random.randn(V, D) / 100).astype('f'))
                rnn = TimeRNN(drawn(D, H), drawn(H, H), zeros(H), stateful=True)
                self.layers = [words, rnn, TimeAffine(drawn(H, V), zeros(V))]
                self.loss_layer = TimeSoftmaxWithLoss()
                self.rnn_layer = self.layers[1]
                self.params, self.grads = [], []
                for layer in self.layers:
                    self.params += layer.params
                    self.grads += layer.grads

            def forward(self, xs, ts):
                for layer in self.layers:
                    xs = layer.forward(xs)
                return self.loss_layer.forward(xs, ts)

            def backward(self, dout=1):
                dout = self.loss_layer.backward(dout)
                for layer in reversed(self.layers):
                    dout = layer.backward(dout)
                return dout

            def reset_state(self):
                self.rnn_layer.reset_state()
    """,
    "ch05/train_custom_loop.py": """
        import sys
        sys.path.append('..')
        import matplotlib.pyplot as plt
        import numpy as np
        from common.optimizer import SGD
        from dataset import ptb
        from simple_rnnlm import SimpleRnnlm

        np.random.seed(0)
        corpus, word_to_id, id_to_word = ptb.load_data('train')
        vocab_size = int(max(corpus) + 1)
        xs, ts = corpus[:-1], corpus[1:]
        model, optimizer = SimpleRnnlm(vocab_size, 10, 10), SGD(0.5)
        offsets, time_idx, ppl_list = [i * 60 for i in range(10)], 0, []
        for epoch in range(10):
            total_loss = 0
            for iter in range(12):
                batch_x = np.empty((10, 5), dtype='i')
                batch_t = np.empty((10, 5), dtype='i')
                for t in range(5):
                    for i, offset in enumerate(offsets):
                        batch_x[i, t] = xs[(offset + time_idx) % len(xs)]
                        batch_t[i, t] = ts[(offset + time_idx) % len(xs)]
                    time_idx += 1
                loss = model.forward(batch_x, batch_t)
                model.backward()
                optimizer.update(model.params, model.grads)
                total_loss += loss
            ppl = np.exp(total_loss / 12)
            print('| 에폭 %d | 퍼플렉서티 %.2f' % (epoch + 1, ppl))
            ppl_list.append(float(ppl))
        plt.plot(np.arange(len(ppl_list)), ppl_list, label='train')
        plt.show()
        print('ppl', ppl_list[0], ppl_list[-1])
    """,
    "ch05/train.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        from common.optimizer import SGD
        from common.trainer import RnnlmTrainer
        from dataset import ptb
        from simple_rnnlm import SimpleRnnlm

        np.random.seed(0)
        corpus, word_to_id, id_to_word = ptb.load_data('train')
        model = SimpleRnnlm(int(max(corpus) + 1), 10, 10)
        trainer = RnnlmTrainer(model, SGD(0.5))
        trainer.fit(corpus[:-1], corpus[1:], 10, 10, 5)
        trainer.plot()
        print('ppl', trainer.ppl_list[0], trainer.ppl_list[-1])
    """,
    "ch06/rnnlm.py": """
        import sys
        sys.path.append('..')
        from common.time_layers import *
        from common.base_model import BaseModel

        def drawn(rows, columns):
            return (np.random.randn(rows, columns) / np.sqrt(rows)).astype('f')

        def lstm(D, H, stateful=True):
            bias = np.zeros(4 * H).astype('f')
            return TimeLSTM(drawn(D, 4 * H), drawn(H, 4 * H), bias, stateful=stateful)

        class Rnnlm(BaseModel):
            def __init__(self, vocab_size=10, wordvec_size=8, hidden_size=8):
                V, D, H = vocab_size, wordvec_size, hidden_size
                words = TimeEmbedding((np.random.randn(V, D) / 100).astype('f'))
                affine = TimeAffine(drawn(H, V), np.zeros(V).astype('f'))
                self.layers = [words, lstm(D, H), affine]
                self.loss_layer = TimeSoftmaxWithLoss()
                self.lstm_layer = self.layers[1]
                self.params, self.grads = [], []
                for layer in self.layers:
                    self.params += layer.params
                    self.grads += layer.grads

            def predict(self, xs):
                for layer in self.layers:
                    xs = layer.forward(xs)
                return xs

            def forward(self, xs, ts):
                return self.loss_layer.forward(self.predict(xs), ts)

            def backward(self, dout=1):
                dout = self.loss_layer.backward(dout)
                for layer in reversed(self.layers):
                    dout = layer.backward(dout)
                return dout

            def reset_state(self):
                self.lstm_layer.reset_state()
    """,
    "ch06/better_rnnlm.py": """
        import sys
        sys.path.append('..')
        from common.time_layers import *
        from common.np import *  # import numpy as np
        from common.base_model import BaseModel
        from ch06.rnnlm import lstm

        class BetterRnnlm(BaseModel):
            def __init__(self, vocab_size=10, wordvec_size=8, hidden_size=8, dropout_ratio=0.2):
                V, D, H = vocab_size, wordvec_size, hidden_size
                W = (np.random.randn(V, D) / 100).astype('f')
                self.drop_layers = [TimeDropout(dropout_ratio) for _ in range(3)]
                self.lstm_layers = [lstm(D, H), lstm(H, H)]
                self.layers = [TimeEmbedding(W), self.drop_layers[0], self.lstm_layers[0],
                               self.drop_layers[1], self.lstm_layers[1], self.drop_layers[2],
                               TimeAffine(W.T, np.zeros(V).astype('f'))]  # one table for both
                self.loss_layer = TimeSoftmaxWithLoss()
                self.params, self.grads = [], []
                for layer in self.layers:
                    self.params += layer.params
                    self.grads += layer.grads

            def predict(self, xs, train_flg=False):
                for layer in self.drop_layers:
                    layer.train_flg = train_flg
                for layer in self.layers:
                    xs = layer.forward(xs)
                return xs

            def forward(self, xs, ts, train_flg=True):
                return self.loss_layer.forward(self.predict(xs, train_flg), ts)

            def backward(self, dout=1):
                dout = self.loss_layer.backward(dout)
                for layer in reversed(self.layers):
                    dout = layer.backward(dout)
                return dout

            def reset_state(self):
                for layer in self.lstm_layers:
                    layer.reset_state()
    """,
    "ch06/train_rnnlm.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        from common.optimizer import SGD
        from common.trainer import RnnlmTrainer
        from common.util import eval_perplexity
        from dataset import ptb
        from rnnlm import Rnnlm

        np.random.seed(0)
        corpus, word_to_id, id_to_word = ptb.load_data('train')
        corpus_test, _, _ = ptb.load_data('test')
        model = Rnnlm(len(word_to_id), 8, 8)
        trainer = RnnlmTrainer(model, SGD(20.0))
        trainer.fit(corpus[:-1], corpus[1:], 20, 10, 6, 0.25, eval_interval=20)
        trainer.plot(ylim=(0, 500))
        model.reset_state()
        ppl_test = eval_perplexity(model, corpus_test)
        print('test perplexity: ', ppl_test)
        model.save_params()
        print('ppl', trainer.ppl_list[0], float(ppl_test))
    """,
    "ch06/train_better_rnnlm.py": """
        import sys
        sys.path.append('..')
        from common import config
        import numpy as np
        from common.optimizer import SGD
        from common.trainer import RnnlmTrainer
        from common.util import eval_perplexity
        from dataset import ptb
        from better_rnnlm import BetterRnnlm

        np.random.seed(0)
        corpus, word_to_id, id_to_word = ptb.load_data('train')
        corpus_val, _, _ = ptb.load_data('val')
        model = BetterRnnlm(len(word_to_id))
        lr = 5.0
        optimizer = SGD(lr)
        trainer = RnnlmTrainer(model, optimizer)
        first = best_ppl = float('inf')
        for epoch in range(4):
            trainer.fit(corpus[:-1], corpus[1:], max_epoch=1, batch_size=10, time_size=6,
                        max_grad=0.25)
            model.reset_state()
            ppl = eval_perplexity(model, corpus_val)
            print('valid perplexity: ', ppl)
            if best_ppl > ppl:
                first = ppl if first == float('inf') else first
                best_ppl = ppl
                model.save_params()
            else:
                lr /= 4.0
                optimizer.lr = lr
            model.reset_state()
        print('ppl', float(first), float(best_ppl))
    """,
    "ch06/eval.py": """
        import sys
        sys.path.append('..')
        from rnnlm import Rnnlm
        from better_rnnlm import BetterRnnlm
        from dataset import ptb
        from common.util import eval_perplexity

        if __name__ == '__main__':
            for model in (Rnnlm(), BetterRnnlm()):
                model.load_params()
                corpus, _, _ = ptb.load_data('test')
                model.reset_state()
                print('ppl', float('inf'), float(eval_perplexity(model, corpus)))
    """,
}
