"""The book's programs in its own NumPy code: models of sequences, and a step of their training.

Chapters 5 to 8 of "Deep Learning from Scratch 2". Models are made of the arrays of their
parameters, in the order of nnext's, so that both begin with the same weights.
"""

from typing import Any

import numpy as np
from book_sequences import (
    Recurrent,
    TimeAffine,
    TimeAttention,
    TimeDropout,
    TimeEmbedding,
    TimeLSTM,
    TimeSoftmaxWithLoss,
)
from numpy.typing import NDArray

Array = NDArray[Any]


class LanguageModel:
    """Layers from ids (N, T) to scores (N, T, V), and the loss of the next words."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self.loss_layer = TimeSoftmaxWithLoss()
        self.params = [p for layer in layers for p in layer.params]
        self.grads = [g for layer in layers for g in layer.grads]

    def forward(self, xs: Array, ts: Array) -> Any:
        for layer in self.layers:
            xs = layer.forward(xs)
        return self.loss_layer.forward(xs, ts)

    def backward(self, dout: float = 1) -> None:
        grad: Any = self.loss_layer.backward(dout)
        for layer in reversed(self.layers):
            grad = layer.backward(grad)


def rnnlm(recurrent: type[Recurrent], arrays: list[Array]) -> LanguageModel:
    W, *own, W_out, b_out = arrays
    return LanguageModel(
        [TimeEmbedding(W), recurrent(*own, stateful=True), TimeAffine(W_out, b_out)]
    )


def better_rnnlm(arrays: list[Array], ratio: float, rng: np.random.RandomState) -> LanguageModel:
    """Two LSTMs, dropout, and the table of words as the last weights, turned."""
    W, b_out = arrays[0], arrays[-1]
    return LanguageModel(
        [
            TimeEmbedding(W),
            TimeDropout(ratio, rng),
            TimeLSTM(*arrays[1:4], stateful=True),
            TimeDropout(ratio, rng),
            TimeLSTM(*arrays[4:7], stateful=True),
            TimeDropout(ratio, rng),
            TimeAffine(W.T, b_out),
        ]
    )


class Seq2seq:
    """An encoder and a decoder, each with an embedding and an LSTM; with attention or without."""

    def __init__(self, arrays: list[Array], *, attention: bool = False) -> None:
        self.encoder = TimeEmbedding(arrays[0]), TimeLSTM(*arrays[1:4])
        self.decoder = TimeEmbedding(arrays[4]), TimeLSTM(*arrays[5:8], stateful=True)
        self.affine = TimeAffine(*arrays[8:])
        self.attention = TimeAttention() if attention else None
        self.loss_layer = TimeSoftmaxWithLoss()
        layers: list[Any] = [*self.encoder, *self.decoder, self.affine]
        self.params = [p for layer in layers for p in layer.params]
        self.grads = [g for layer in layers for g in layer.grads]

    def forward(self, xs: Array, ts: Array) -> Any:
        embed, lstm = self.encoder
        self.hs = lstm.forward(embed.forward(xs))
        embed, lstm = self.decoder
        lstm.set_state(self.hs[:, -1])
        out = lstm.forward(embed.forward(ts[:, :-1]))
        if self.attention is not None:
            out = np.concatenate((self.attention.forward(self.hs, out), out), axis=2)
        return self.loss_layer.forward(self.affine.forward(out), ts[:, 1:])

    def backward(self, dout: float = 1) -> None:
        d = self.affine.backward(self.loss_layer.backward(dout))
        dhs = np.zeros_like(self.hs)
        if self.attention is not None:
            H = self.hs.shape[2]
            dhs, ddec = self.attention.backward(d[:, :, :H])
            d = d[:, :, H:] + ddec
        embed, lstm = self.decoder
        embed.backward(lstm.backward(d))
        dhs[:, -1] += lstm.dh
        embed, lstm = self.encoder
        embed.backward(lstm.backward(dhs))


# What a step does with the gradients


def join_shared(params: list[Array], grads: list[Array]) -> tuple[list[Array], list[Array]]:
    """Add up the gradients of weights that layers share, found by comparing all pairs."""
    params, grads = list(params), list(grads)
    i = 0
    while i < len(params):
        j = i + 1
        while j < len(params):
            p, q = params[i], params[j]
            turned = p.ndim == q.ndim == 2 and p.T.shape == q.shape
            if p is q:
                grads[i] += grads[j]
            elif turned and (q == p.T).all():
                grads[i] += grads[j].T
            else:
                j += 1
                continue
            del params[j], grads[j]
        i += 1
    return params, grads


def clip_grads(grads: list[Array], max_norm: float) -> None:
    total: Any = 0
    for grad in grads:
        total += np.sum(grad**2)
    rate = max_norm / (np.sqrt(total) + 1e-6)
    if rate < 1:
        for grad in grads:
            grad *= rate


def train(model: Any, optimizer: Any, max_grad: float | None, x: Array, t: Array) -> Any:
    """Take one step of training; return the loss."""
    loss = model.forward(x, t)
    model.backward()
    params, grads = join_shared(model.params, model.grads)
    if max_grad is not None:
        clip_grads(grads, max_grad)
    optimizer.update(params, grads)
    return loss
