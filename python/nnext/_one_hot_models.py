"""Models that learn the vectors of few words, which are one-hot rows; a part of `nnext.models`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nnext import _nnext
from nnext._drawn_layers import Rng
from nnext._input import read_numbers
from nnext._nnext import LossOptions
from nnext._support import Array, naming
from nnext._word_models import WordModel, check_lengths, draw_weights, require_samples
from nnext.layers import MatMul, SoftmaxWithLoss

_ANY_LABEL = LossOptions()  # ignores none


class OneHotMatMul(MatMul):
    """`MatMul` that looks up what whole numbers multiply, where each row of them is one-hot.

    The product of a one-hot row with W is a row of W. SimpleSkipGram with 1000 words, a batch of
    100: two of the five products of a step are none.
    """

    _ids: Array | None = None  # of the last `forward`, where rows were one-hot

    def forward(self, x: ArrayLike) -> Array:
        """Return ``x W``, shape (N, H), for `x` of shape (N, D)."""
        self._ids = _ids_of(x)
        if self._ids is None:
            return super().forward(x)
        y = _nnext.embedding_forward(self.params[0], self._ids)
        self.x = x
        return y

    def backward(  # type: ignore[override]
        self, dout: ArrayLike, input_grad: bool = True, *, accumulate: bool = False
    ) -> Array | None:
        """Do what `MatMul.backward` does."""
        if self._ids is None or input_grad:
            return super().backward(dout, input_grad, accumulate=accumulate)
        _nnext.embedding_backward(dout, self._ids, self.grads[0], accumulate)
        return None


def _ids_of(rows: Any) -> Array | None:
    """Return where the 1 of each row stands, None unless they are one-hot rows of whole numbers."""
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu" or rows.ndim != 2:
        return None
    try:
        return _nnext.class_indices(rows, rows.shape, _ANY_LABEL)
    except ValueError:
        return None


class _OneHotModel(WordModel):
    """Words are one-hot rows, and all of them have a score."""

    _in_layer: ClassVar[type[MatMul]] = MatMul

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        *,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        (W_in, W_out), _ = draw_weights(vocab_size, hidden_size, seed, rng, dtype, turned=True)
        self.out_layer = MatMul(W_out)
        super().__init__(self._in_layer(W_in), [self.out_layer], SoftmaxWithLoss())

    def _read_contexts(self, contexts: ArrayLike) -> Array:
        rows = read_numbers("contexts", contexts)
        V = len(self.word_vecs)
        if rows.ndim != 3 or rows.shape[1] < 1 or rows.shape[2] != V:
            raise ValueError(
                f"contexts: expected shape (N, C, {V}), one-hot rows, got {rows.shape}"
            )
        return rows

    def _mean_of_words(self, contexts: Array) -> Array:
        """Return the mean of the rows of each context, (N, C, V) to (N, V)."""
        if contexts.dtype.kind == "f" and contexts.dtype.itemsize > 2:
            mean: Array = _nnext.sum(contexts, 1)
        else:  # the mean of whole numbers is none, and that of halves would be rounded
            kind = np.float64 if self.word_vecs.dtype == np.float64 else np.float32
            mean = _nnext.sum(contexts.astype(kind), 1)
        mean *= 1 / contexts.shape[1]
        return mean


class SimpleCBOW(_OneHotModel):
    """The book's first model of words: a word by those around it (ch. 3.4).

    The vectors of the context's words, their mean, scores of all words, softmax with loss. For
    small vocabularies: words are one-hot rows.

    Weights are drawn as in the book, normal with a standard deviation of 0.01.

    Parameters
    ----------
    vocab_size : int
        V, the number of words.
    hidden_size : int
        H, the length of their vectors.
    seed : int, optional
        Of the weights: with ``numpy.random.seed(s)`` in the book's program and ``seed=s`` here they
        are the book's. Left out, they are drawn from ``numpy.random``.
    rng : RandomState or Generator, optional
        Draw the weights from this, in place of `seed`.
    dtype : dtype
        Of the parameters.

    Raises
    ------
    ValueError
        If a size is not a whole number of at least 1, or there are both `seed` and `rng`.
    TypeError
        If `rng` is no source of random numbers, or `dtype` not one of floats.

    Attributes
    ----------
    in_layer, out_layer : MatMul
        Of the weights W_in, shape (V, H), and W_out, shape (H, V).
    loss_layer : SoftmaxWithLoss

    Examples
    --------
    >>> from nnext.models import SimpleCBOW
    >>> from nnext.util import convert_one_hot, create_contexts_target, preprocess
    >>> corpus, word_to_id, _ = preprocess("You say goodbye and I say hello.")
    >>> contexts, target = (convert_one_hot(a, 7) for a in create_contexts_target(corpus))
    >>> model = SimpleCBOW(len(word_to_id), hidden_size=5)
    >>> print(round(model.forward(contexts, target), 2))  # log 7
    1.95
    """

    def loss_input(self, contexts: ArrayLike) -> Array:
        """Return the scores of all words, shape (N, V), for contexts (N, C, V)."""
        return self._scores(self._read_contexts(contexts))

    def _scores(self, contexts: Array) -> Array:
        # (c₀ W + c₁ W) / 2 is ((c₀ + c₁) / 2) W: one product for all words of a context.
        mean = self._mean_of_words(contexts)
        self._half_done = True
        return self.out_layer.forward(self.in_layer.forward(mean))

    def forward(self, contexts: ArrayLike, target: ArrayLike) -> float:
        """Return the loss of a batch.

        Parameters
        ----------
        contexts : array_like, shape (N, C, V)
            One-hot rows; the book has C = 2.
        target : array_like, shape (N, V) or (N,)
            One-hot rows, or ids.

        Returns
        -------
        float
        """
        rows = self._read_contexts(contexts)
        require_samples(rows)
        scores = self._scores(rows)
        with naming(t="target"):
            loss: float = self.loss_layer.forward(scores, target)
        self._half_done = False
        return loss

    def backward(self, dout: float = 1) -> None:
        """Write the gradients of the last ``forward`` into ``grads``.

        Parameters
        ----------
        dout : float
            Gradient by the loss.
        """
        self._check_done()
        dh = self.out_layer.backward(self.loss_layer.backward(dout))
        self.in_layer.backward(dh, input_grad=False)


class SimpleSkipGram(_OneHotModel):
    """The book's first model, turned round: words by the one between them (ch. 3.5).

    The vector of the word, scores of all words, and the softmax loss of each word of the context,
    added up. For small vocabularies: words are one-hot rows.

    Weights are drawn as in the book, normal with a standard deviation of 0.01.

    Parameters
    ----------
    vocab_size : int
        V, the number of words.
    hidden_size : int
        H, the length of their vectors.
    seed : int, optional
        Of the weights: with ``numpy.random.seed(s)`` in the book's program and ``seed=s`` here they
        are the book's. Left out, they are drawn from ``numpy.random``.
    rng : RandomState or Generator, optional
        Draw the weights from this, in place of `seed`.
    dtype : dtype
        Of the parameters.

    Raises
    ------
    ValueError
        If a size is not a whole number of at least 1, or there are both `seed` and `rng`.
    TypeError
        If `rng` is no source of random numbers, or `dtype` not one of floats.

    Attributes
    ----------
    in_layer, out_layer : MatMul
        Of the weights W_in, shape (V, H), and W_out, shape (H, V).
    loss_layer : SoftmaxWithLoss
    """

    _in_layer = OneHotMatMul
    _words = 1  # of each context in the last `forward`

    def forward(self, contexts: ArrayLike, target: ArrayLike) -> float:
        """Return the loss of a batch.

        Parameters
        ----------
        contexts : array_like, shape (N, C, V)
            One-hot rows; the book has C = 2.
        target : array_like, shape (N, V)
            One-hot rows.

        Returns
        -------
        float
        """
        labels, rows = self._read(contexts, target)
        require_samples(labels)
        self._check_labels("contexts", labels)
        mean, words = self._mean_of_words(labels), labels.shape[1]
        self._half_done, self._words = True, words
        scores = self.out_layer.forward(self.in_layer.forward(rows))
        # The cross entropies with several rows add up to that with their mean, times their number.
        with naming(t="contexts"):
            loss: float = words * self.loss_layer.forward(scores, mean)
        self._half_done = False
        return loss

    def _read(self, contexts: Any, target: Any) -> tuple[Array, Array]:
        labels, rows = self._read_contexts(contexts), read_numbers("target", target)
        V = len(self.word_vecs)
        if rows.ndim != 2 or rows.shape[1] != V:
            raise ValueError(f"target: expected shape (N, {V}), one-hot rows, got {rows.shape}")
        check_lengths(labels, rows)
        return labels, rows

    def _check_samples(self, x: Any, t: Any) -> None:
        with naming(contexts="x", target="t"):
            labels, _ = self._read(x, t)
        self._check_labels("x", labels)

    def _check_labels(self, name: str, contexts: Array) -> None:
        """Refuse rows that the loss would not take: the mean of wrong ones may be a right one."""
        try:
            self.loss_layer.labels(contexts, contexts.shape)
        except ValueError:
            for c in range(contexts.shape[1]):  # to say whose row it is
                with naming(t=f"{name}[:, {c}]"):
                    self.loss_layer.labels(contexts[:, c], contexts[:, c].shape)
            raise

    def backward(self, dout: float = 1) -> None:
        """Write the gradients of the last ``forward`` into ``grads``.

        Parameters
        ----------
        dout : float
            Gradient by the loss.
        """
        self._check_done()
        dh = self.out_layer.backward(self.loss_layer.backward(dout * self._words))
        self.in_layer.backward(dh, input_grad=False)
