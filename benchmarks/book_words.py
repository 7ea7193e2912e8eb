"""The method's own NumPy code for words: chapters 2 to 4 of "Deep Learning from Scratch 2".

Loops over words where the book has them; formulas and the order of operations are its own.
"""

import collections
from typing import Any

import book
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


# Counts


def create_co_matrix(corpus: Array, vocab_size: int, window_size: int = 1) -> Array:
    matrix = np.zeros((vocab_size, vocab_size), dtype=np.int32)
    for place, word in enumerate(corpus):
        for distance in range(1, window_size + 1):
            left, right = place - distance, place + distance
            if left >= 0:
                matrix[word, corpus[left]] += 1
            if right < len(corpus):
                matrix[word, corpus[right]] += 1
    return matrix


def ppmi(C: Array, eps: float = 1e-8) -> Array:
    M = np.zeros_like(C, dtype=np.float32)
    N = np.sum(C)
    S = np.sum(C, axis=0)
    for i in range(C.shape[0]):
        for j in range(C.shape[1]):
            pmi = np.log2(C[i, j] * N / (S[j] * S[i]) + eps)
            M[i, j] = max(0, pmi)
    return M


def contexts_and_targets(corpus: Array, window_size: int = 1) -> tuple[Array, Array]:
    contexts = []
    for place in range(window_size, len(corpus) - window_size):
        around = range(place - window_size, place + window_size + 1)
        contexts.append([corpus[i] for i in around if i != place])
    return np.array(contexts), corpus[window_size:-window_size]


def one_hot(ids: Array, vocab_size: int) -> Array:
    rows = np.zeros((ids.size, vocab_size), dtype=np.int32)
    for place, word in enumerate(ids.ravel()):
        rows[place, word] = 1
    return rows.reshape(*ids.shape, vocab_size)


# Small vocabularies


class MatMul:
    def __init__(self, W: Array) -> None:
        self.params = [W]
        self.grads = [np.zeros_like(W)]

    def forward(self, x: Array) -> Array:
        (W,) = self.params
        self.x = x
        out: Array = np.dot(x, W)
        return out

    def backward(self, dout: Array) -> Array:
        (W,) = self.params
        dx: Array = np.dot(dout, W.T)
        self.grads[0][...] = np.dot(self.x.T, dout)
        return dx


class OneHotLoss(book.SoftmaxWithLoss):
    """Softmax with loss, of labels that come as one-hot rows."""

    def forward(self, x: Array, t: Array) -> Any:
        return super().forward(x, t.argmax(axis=1))


class SimpleCBOW:
    def __init__(self, arrays: list[Array]) -> None:
        W_in, W_out = arrays
        self.in_layers = MatMul(W_in), MatMul(W_in)
        self.out_layer = MatMul(W_out)
        self.loss_layer = OneHotLoss()
        layers = [*self.in_layers, self.out_layer]
        self.params = [p for layer in layers for p in layer.params]
        self.grads = [g for layer in layers for g in layer.grads]

    def forward(self, contexts: Array, target: Array) -> Any:
        h0, h1 = (layer.forward(contexts[:, i]) for i, layer in enumerate(self.in_layers))
        score = self.out_layer.forward((h0 + h1) * 0.5)
        return self.loss_layer.forward(score, target)

    def backward(self, dout: float = 1) -> None:
        da = self.out_layer.backward(self.loss_layer.backward(dout))
        da *= 0.5
        for layer in reversed(self.in_layers):
            layer.backward(da)


class SimpleSkipGram:
    def __init__(self, arrays: list[Array]) -> None:
        W_in, W_out = arrays
        self.in_layer, self.out_layer = MatMul(W_in), MatMul(W_out)
        self.loss_layers = OneHotLoss(), OneHotLoss()
        self.params = self.in_layer.params + self.out_layer.params
        self.grads = self.in_layer.grads + self.out_layer.grads

    def forward(self, contexts: Array, target: Array) -> Any:
        score = self.out_layer.forward(self.in_layer.forward(target))
        first, second = self.loss_layers
        return first.forward(score, contexts[:, 0]) + second.forward(score, contexts[:, 1])

    def backward(self, dout: float = 1) -> None:
        first, second = (layer.backward(dout) for layer in self.loss_layers)
        self.in_layer.backward(self.out_layer.backward(first + second))


# Negative sampling


class SigmoidWithLoss:
    def forward(self, x: Array, t: Array) -> Any:
        self.t = t
        self.y = 1 / (1 + np.exp(-x))
        return book.cross_entropy_error(np.c_[1 - self.y, self.y], self.t)

    def backward(self, dout: float = 1) -> Array:
        dx: Array = (self.y - self.t) * dout / len(self.t)
        return dx


class EmbeddingDot:
    def __init__(self, W: Array) -> None:
        self.embed = book.Embedding(W)
        self.params = self.embed.params
        self.grads = self.embed.grads

    def forward(self, h: Array, idx: Array) -> Array:
        self.h, self.rows = h, self.embed.forward(idx)
        out: Array = np.sum(self.rows * h, axis=1)
        return out

    def backward(self, dout: Array) -> Array:
        column = dout.reshape(-1, 1)
        self.embed.backward(column * self.h)
        dh: Array = column * self.rows
        return dh


class UnigramSampler:
    def __init__(self, corpus: Array, power: float, sample_size: int) -> None:
        self.sample_size = sample_size
        counts: collections.Counter[int] = collections.Counter()
        for word in corpus:
            counts[word] += 1
        self.word_p = np.array([counts[word] for word in range(len(counts))], np.float64)
        self.word_p = np.power(self.word_p, power)
        self.word_p /= np.sum(self.word_p)

    def get_negative_sample(self, target: Array) -> Array:
        sample = np.zeros((len(target), self.sample_size), dtype=np.int32)
        for row, word in enumerate(target):
            p = self.word_p.copy()
            p[word] = 0
            p /= p.sum()
            sample[row] = np.random.choice(len(p), size=self.sample_size, replace=False, p=p)
        return sample


class NegativeSamplingLoss:
    """`given` are wrong words to take instead of drawn ones, for a comparison."""

    given: Array | None = None

    def __init__(self, W: Array, corpus: Array, power: float = 0.75, sample_size: int = 5) -> None:
        self.sampler = UnigramSampler(corpus, power, sample_size)
        self.loss_layers = [SigmoidWithLoss() for _ in range(sample_size + 1)]
        self.embed_dot_layers = [EmbeddingDot(W) for _ in range(sample_size + 1)]
        self.params = [p for layer in self.embed_dot_layers for p in layer.params]
        self.grads = [g for layer in self.embed_dot_layers for g in layer.grads]

    def forward(self, h: Array, target: Array) -> Any:
        wrong = self.sampler.get_negative_sample(target) if self.given is None else self.given
        right, none = np.ones(len(target), np.int32), np.zeros(len(target), np.int32)
        loss = self.loss_layers[0].forward(self.embed_dot_layers[0].forward(h, target), right)
        for i in range(wrong.shape[1]):
            score = self.embed_dot_layers[1 + i].forward(h, wrong[:, i])
            loss += self.loss_layers[1 + i].forward(score, none)
        return loss

    def backward(self, dout: float = 1) -> Array:
        dh: Any = 0
        for loss_layer, dot_layer in zip(self.loss_layers, self.embed_dot_layers, strict=True):
            dh += dot_layer.backward(loss_layer.backward(dout))
        total: Array = dh
        return total


class CBOW:
    def __init__(self, arrays: list[Array], window_size: int, corpus: Array) -> None:
        W_in, W_out = arrays
        self.in_layers = [book.Embedding(W_in) for _ in range(2 * window_size)]
        self.ns_loss = NegativeSamplingLoss(W_out, corpus)
        layers: list[Any] = [*self.in_layers, self.ns_loss]
        self.params = [p for layer in layers for p in layer.params]
        self.grads = [g for layer in layers for g in layer.grads]

    def forward(self, contexts: Array, target: Array) -> Any:
        h: Any = 0
        for i, layer in enumerate(self.in_layers):
            h += layer.forward(contexts[:, i])
        h *= 1 / len(self.in_layers)
        return self.ns_loss.forward(h, target)

    def backward(self, dout: float = 1) -> None:
        dh = self.ns_loss.backward(dout)
        dh *= 1 / len(self.in_layers)
        for layer in self.in_layers:
            layer.backward(dh)
