"""A folder like the book's: programs that import and do what those of its chapters do.

They are small and of our own writing; those of chapters 5 to 8 are in two files beside this one.
The folder ``common`` among them is a decoy: the programs put it within reach as the book's do
(``sys.path.append('..')``), and it must not be imported.
"""

from textwrap import dedent

import book_language_programs
import book_sequence_programs

DECOY = "raise RuntimeError('this is the common beside the programs')\n"

MODULES = ("base_model", "config", "functions", "layers", "np", "optimizer", "time_layers",
           "trainer", "util")  # fmt: skip

PROGRAMS = {
    "dataset/__init__.py": "",
    "dataset/spiral.py": """
        import numpy as np

        def load_data(seed=1984):
            random = np.random.RandomState(seed)
            r = np.tile(np.linspace(0, 1, 100), 3)
            kind = np.repeat(np.arange(3), 100)
            angle = 4 * kind + 4 * r + 0.2 * random.randn(300)
            x = np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1)
            return x, np.eye(3, dtype=np.int)[kind]
    """,
    "dataset/ptb.py": """
        import numpy as np

        WORDS = "you <unk> say N hello and $ I goodbye <eos>".split()

        def load_data(data_type='train'):
            '''Nearly always the word that follows in the list.'''
            random = np.random.RandomState(len(data_type))
            steps = 1 + (random.rand(601) < 0.05)
            corpus = np.cumsum(steps) % len(WORDS)
            word_to_id = {w: i for i, w in enumerate(WORDS)}
            return corpus, word_to_id, dict(enumerate(WORDS))
    """,
    "dataset/sequence.py": """
        import numpy as np

        CHARS = '0123456789_'

        def get_vocab():
            return {c: i for i, c in enumerate(CHARS)}, dict(enumerate(CHARS))

        def load_data(file_name='addition.txt', seed=1984):
            '''The answer is the second digit, twice.'''
            x = np.random.RandomState(seed).randint(0, 10, (120, 3))
            t = np.stack([np.full(120, 10), x[:, 1], x[:, 1]], axis=1)
            return (x[:100], t[:100]), (x[100:], t[100:])
    """,
    "ch01/two_layer_net.py": """
        # coding: utf-8
        import sys
        sys.path.append('..')
        import numpy as np
        from common.layers import Affine, Sigmoid, SoftmaxWithLoss

        class TwoLayerNet:
            def __init__(self, input_size, hidden_size, output_size):
                W1 = 0.01 * np.random.randn(input_size, hidden_size)
                W2 = 0.01 * np.random.randn(hidden_size, output_size)
                self.layers = [Affine(W1, np.zeros(hidden_size)), Sigmoid(),
                               Affine(W2, np.zeros(output_size))]
                self.loss_layer = SoftmaxWithLoss()
                self.params, self.grads = [], []
                for layer in self.layers:
                    self.params += layer.params
                    self.grads += layer.grads

            def predict(self, x):
                for layer in self.layers:
                    x = layer.forward(x)
                return x

            def forward(self, x, t):
                return self.loss_layer.forward(self.predict(x), t)

            def backward(self, dout=1):
                dout = self.loss_layer.backward(dout)
                for layer in reversed(self.layers):
                    dout = layer.backward(dout)
                return dout
    """,
    "ch01/train.py": """
        import sys
        sys.path.append('..')  # 부모 폴더
        import numpy as np
        from common.optimizer import SGD
        from common.trainer import Trainer
        from dataset import spiral
        from two_layer_net import TwoLayerNet

        np.random.seed(0)
        x, t = spiral.load_data()
        model = TwoLayerNet(input_size=2, hidden_size=10, output_size=3)
        trainer = Trainer(model, SGD(lr=1.0))
        trainer.fit(x, t, 60, 30, eval_interval=10)
        trainer.plot()
        trainer.plot(ylim=(0, 2))
        print('losses', len(trainer.loss_list), trainer.loss_list[0], trainer.loss_list[-1])
        print('state', trainer.current_epoch, trainer.eval_interval)
    """,
    "ch01/train_custom_loop.py": """
        import sys, os
        sys.path.append(os.pardir)
        import numpy as np
        import matplotlib.pyplot as plt
        from common.optimizer import SGD
        from dataset import spiral
        from two_layer_net import TwoLayerNet

        np.random.seed(0)
        x, t = spiral.load_data()
        model, optimizer = TwoLayerNet(2, 10, 3), SGD(lr=1.0)
        total_loss, loss_count, loss_list = 0, 0, []
        for epoch in range(40):
            idx = np.random.permutation(len(x))
            x, t = x[idx], t[idx]
            for i in range(10):
                batch_x, batch_t = x[i*30:(i+1)*30], t[i*30:(i+1)*30]
                loss = model.forward(batch_x, batch_t)
                model.backward()
                optimizer.update(model.params, model.grads)
                total_loss += loss
                loss_count += 1
                if (i + 1) % 10 == 0:
                    loss_list.append(total_loss / loss_count)
                    print('| epoch %d | loss %.2f' % (epoch + 1, loss_list[-1]))
                    total_loss, loss_count = 0, 0
        plt.plot(np.arange(len(loss_list)), loss_list, label='train')
        plt.show()
        score = model.predict(x)
        plt.contourf(np.argmax(score, axis=1).reshape(20, 15))
        plt.show()
        print('losses', len(loss_list), loss_list[0], loss_list[-1])
    """,
    "ch02/count_method.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        import matplotlib.pyplot as plt
        from common.util import preprocess, create_co_matrix, cos_similarity, most_similar, ppmi

        corpus, word_to_id, id_to_word = preprocess('You say goodbye and I say hello.')
        C = create_co_matrix(corpus, len(word_to_id), window_size=1)
        print(cos_similarity(C[word_to_id['you']], C[word_to_id['i']]))
        most_similar('you', word_to_id, id_to_word, C, top=3)
        W = ppmi(C, verbose=True)
        U, S, V = np.linalg.svd(W)
        np.set_printoptions(precision=3)
        print(C[0], W[0], U[0], sep='\\n')
        for word, word_id in word_to_id.items():
            plt.annotate(word, (U[word_id, 0], U[word_id, 1]))
        plt.scatter(U[:, 0], U[:, 1], alpha=0.5)
        plt.show()
    """,
    "ch03/simple_cbow.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        from common.layers import MatMul, SoftmaxWithLoss

        class SimpleCBOW:
            def __init__(self, vocab_size, hidden_size):
                W_in = 0.01 * np.random.randn(vocab_size, hidden_size).astype('f')
                W_out = 0.01 * np.random.randn(hidden_size, vocab_size).astype('f')
                self.in_layer0, self.in_layer1 = MatMul(W_in), MatMul(W_in)
                self.out_layer = MatMul(W_out)
                self.loss_layer = SoftmaxWithLoss()
                self.params, self.grads = [], []
                for layer in [self.in_layer0, self.in_layer1, self.out_layer]:
                    self.params += layer.params
                    self.grads += layer.grads
                self.word_vecs = W_in

            def forward(self, contexts, target):
                h0 = self.in_layer0.forward(contexts[:, 0])
                h1 = self.in_layer1.forward(contexts[:, 1])
                score = self.out_layer.forward((h0 + h1) * 0.5)
                return self.loss_layer.forward(score, target)

            def backward(self, dout=1):
                da = self.out_layer.backward(self.loss_layer.backward(dout))
                da *= 0.5
                self.in_layer1.backward(da)
                self.in_layer0.backward(da)
                return None
    """,
    "ch03/simple_skip_gram.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        from common.layers import MatMul, SoftmaxWithLoss

        class SimpleSkipGram:
            def __init__(self, vocab_size, hidden_size):
                W_in = 0.01 * np.random.randn(vocab_size, hidden_size).astype('f')
                W_out = 0.01 * np.random.randn(hidden_size, vocab_size).astype('f')
                self.in_layer, self.out_layer = MatMul(W_in), MatMul(W_out)
                self.losses = [SoftmaxWithLoss(), SoftmaxWithLoss()]
                self.params = self.in_layer.params + self.out_layer.params
                self.grads = self.in_layer.grads + self.out_layer.grads

            def forward(self, contexts, target):
                s = self.out_layer.forward(self.in_layer.forward(target))
                left = self.losses[0].forward(s, contexts[:, 0])
                return left + self.losses[1].forward(s, contexts[:, 1])

            def backward(self, dout=1):
                ds = self.losses[0].backward(dout) + self.losses[1].backward(dout)
                self.in_layer.backward(self.out_layer.backward(ds))
                return None
    """,
    "ch03/train.py": """
        import sys
        sys.path.append('..')
        import pickle
        import numpy as np
        from common.trainer import Trainer
        from common.optimizer import Adam
        from simple_cbow import SimpleCBOW
        from simple_skip_gram import SimpleSkipGram
        from common.util import preprocess, create_contexts_target, convert_one_hot

        np.random.seed(0)
        corpus, word_to_id, id_to_word = preprocess('You say goodbye and I say hello.')
        vocab_size = len(word_to_id)
        contexts, target = create_contexts_target(corpus, 1)
        target = convert_one_hot(target, vocab_size)
        contexts = convert_one_hot(contexts, vocab_size)
        model = SimpleCBOW(vocab_size, 5)
        trainer = Trainer(model, Adam())
        trainer.fit(contexts, target, 400, 3)
        trainer.plot()
        word_vecs = model.word_vecs
        for word_id, word in id_to_word.items():
            print(word, word_vecs[word_id])
        with open('params.pkl', 'wb') as f:
            pickle.dump({'word_vecs': word_vecs.astype(np.float16), 'id_to_word': id_to_word}, f)
        with open('params.pkl', 'rb') as f:
            params = pickle.load(f)
        print('kept', type(params['word_vecs']).__name__, params['word_vecs'].dtype)
        print('losses', len(trainer.loss_list), trainer.loss_list[0], trainer.loss_list[-1])
        trainer = Trainer(SimpleSkipGram(vocab_size, 5), Adam())
        trainer.fit(contexts, target, 400, 3)
        print('losses', len(trainer.loss_list), trainer.loss_list[0], trainer.loss_list[-1])
    """,
    "ch04/negative_sampling_layer.py": """
        import sys
        sys.path.append('..')
        from common.np import *  # import numpy as np
        from common.layers import Embedding, SigmoidWithLoss
        import collections

        class EmbeddingDot:
            def __init__(self, W):
                self.embed = Embedding(W)
                self.params, self.grads = self.embed.params, self.embed.grads
                self.cache = None

            def forward(self, h, idx):
                target_W = self.embed.forward(idx)
                self.cache = (h, target_W)
                return np.sum(target_W * h, axis=1)

            def backward(self, dout):
                h, target_W = self.cache
                dout = dout.reshape(dout.shape[0], 1)
                self.embed.backward(dout * h)
                return dout * target_W

        class NegativeSamplingLoss:
            def __init__(self, W, corpus, power=0.75, sample_size=5):
                counts = collections.Counter(corpus.tolist())
                p = np.array([counts[i] for i in range(len(counts))]) ** power
                self.word_p = p / np.sum(p)
                self.sample_size = sample_size
                self.loss_layers = [SigmoidWithLoss() for _ in range(sample_size + 1)]
                self.dots = [EmbeddingDot(W) for _ in range(sample_size + 1)]
                self.params, self.grads = [], []
                for layer in self.dots:
                    self.params += layer.params
                    self.grads += layer.grads

            def forward(self, h, target):
                assert not GPU
                n = target.shape[0]
                negative = np.zeros((n, self.sample_size), dtype=np.int32)
                for i in range(n):
                    p = self.word_p.copy()
                    p[target[i]] = 0
                    negative[i, :] = np.random.choice(len(p), size=self.sample_size,
                                                      replace=False, p=p / p.sum())
                labels = np.ones(n, dtype=np.int32)
                loss = self.loss_layers[0].forward(self.dots[0].forward(h, target), labels)
                for i in range(self.sample_size):
                    score = self.dots[1 + i].forward(h, negative[:, i])
                    loss += self.loss_layers[1 + i].forward(score, np.zeros(n, dtype=np.int32))
                return loss

            def backward(self, dout=1):
                dh = 0
                for loss_layer, dot in zip(self.loss_layers, self.dots):
                    dh += dot.backward(loss_layer.backward(dout))
                return dh
    """,
    "ch04/cbow.py": """
        import sys
        sys.path.append('..')
        from common.layers import *
        from ch04.negative_sampling_layer import NegativeSamplingLoss

        class CBOW:
            def __init__(self, vocab_size, hidden_size, window_size, corpus):
                rn = np.random.randn
                W_in = 0.01 * rn(vocab_size, hidden_size).astype('f')
                W_out = 0.01 * rn(vocab_size, hidden_size).astype('f')
                self.in_layers = [Embedding(W_in) for _ in range(2 * window_size)]
                self.ns_loss = NegativeSamplingLoss(W_out, corpus, sample_size=3)
                self.params, self.grads = [], []
                for layer in self.in_layers + [self.ns_loss]:
                    self.params += layer.params
                    self.grads += layer.grads
                self.word_vecs = W_in

            def forward(self, contexts, target):
                h = 0
                for i, layer in enumerate(self.in_layers):
                    h += layer.forward(contexts[:, i])
                h *= 1 / len(self.in_layers)
                return self.ns_loss.forward(h, target)

            def backward(self, dout=1):
                dout = self.ns_loss.backward(dout)
                dout *= 1 / len(self.in_layers)
                for layer in self.in_layers:
                    layer.backward(dout)
                return None
    """,
    "ch04/train.py": """
        import sys
        sys.path.append('..')
        import numpy as np
        from common import config
        # config.GPU = True
        import pickle
        from common.trainer import Trainer
        from common.optimizer import Adam
        from cbow import CBOW
        from common.util import create_contexts_target, to_cpu, to_gpu
        from dataset import ptb

        np.random.seed(0)
        corpus, word_to_id, id_to_word = ptb.load_data('train')
        contexts, target = create_contexts_target(corpus, window_size=2)
        if config.GPU:
            contexts, target = to_gpu(contexts), to_gpu(target)
        model = CBOW(len(word_to_id), 10, 2, corpus)
        trainer = Trainer(model, Adam(lr=0.01))
        trainer.fit(contexts, target, 3, 20)
        trainer.plot()
        word_vecs = to_cpu(model.word_vecs)
        params = {}
        params['word_vecs'] = word_vecs.astype(np.float16)
        params['word_to_id'] = word_to_id
        params['id_to_word'] = id_to_word
        with open('cbow_params.pkl', 'wb') as f:
            pickle.dump(params, f, -1)
        print('losses', len(trainer.loss_list), trainer.loss_list[0], trainer.loss_list[-1])
    """,
    "ch04/eval.py": """
        import sys
        sys.path.append('..')
        from common.util import most_similar, analogy
        import pickle

        with open('cbow_params.pkl', 'rb') as f:
            params = pickle.load(f)
            word_vecs = params['word_vecs'].astype('f')
            word_to_id = params['word_to_id']
            id_to_word = params['id_to_word']
        for query in ['you', 'say', 'nobody']:
            most_similar(query, word_to_id, id_to_word, word_vecs, top=2)
        print('-'*50)
        analogy('you', 'say', 'hello', word_to_id, id_to_word, word_vecs)
    """,
}


def write(folder):
    """Write the programs and the decoy into a folder."""
    common = {f"common/{name}.py": DECOY for name in ("__init__", *MODULES)}
    chapters = PROGRAMS | book_language_programs.PROGRAMS | book_sequence_programs.PROGRAMS
    for name, text in (common | chapters).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
