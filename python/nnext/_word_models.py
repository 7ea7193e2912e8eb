"""Models that learn the vectors of words, a part of `nnext.models`: CBOW and skip-gram."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nnext import _nnext
from nnext._drawn_layers import Rng
from nnext._fit_data import Samples
from nnext._input import make_array
from nnext._support import Array, check_count, given_source, refuse_masked, refuse_sparse
from nnext.base_model import BaseModel, LayerLike
from nnext.init import float_type
from nnext.layers import Embedding, MatMul, SoftmaxWithLoss
from nnext.negative_sampling import NegativeSamplingLoss


class _WordModel(BaseModel):
    """What they share: a layer whose weights are the vectors, and contexts with their targets."""

    def __init__(
        self, in_layer: LayerLike, others: list[LayerLike], loss_layer: NegativeSamplingLoss | Any
    ) -> None:
        super().__init__([in_layer, *others], loss_layer)
        self.in_layer = in_layer

    @property
    def word_vecs(self) -> Array:
        """The vector of each word, shape (V, H): the weights of the first layer themselves."""
        vectors: Array = self.in_layer.params[0]
        return vectors

    def _evaluate(self, batch: Samples) -> tuple[Any, float]:
        # Which of the two a model predicts is its own affair, so there is no other way to its loss.
        return self.forward(batch.x, batch.t), float(len(batch))


class SimpleCBOW(_WordModel):
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

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        *,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        (W_in, W_out), _ = _draw_weights(vocab_size, hidden_size, seed, rng, dtype, turned=True)
        self.out_layer = MatMul(W_out)
        super().__init__(MatMul(W_in), [self.out_layer], SoftmaxWithLoss())

    def config(self) -> dict[str, Any]:
        """Return the sizes and the type, which make such a model."""
        V, H = self.word_vecs.shape
        return {"vocab_size": V, "hidden_size": H, "dtype": self.word_vecs.dtype.name}

    def loss_input(self, contexts: ArrayLike) -> Array:
        """Return the scores of all words, shape (N, V), for contexts (N, C, V)."""
        h = _mean(self.in_layer.forward(_check_contexts(contexts, 3)))
        return self.out_layer.forward(h)

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
        loss: float = self.loss_layer.forward(self.loss_input(contexts), target)
        return loss

    def backward(self, dout: float = 1) -> None:
        """Write the gradients of the last ``forward`` into ``grads``.

        Parameters
        ----------
        dout : float
            Gradient by the loss.
        """
        dh = self.out_layer.backward(self.loss_layer.backward(dout))
        self.in_layer.backward(_spread(dh, self.in_layer.x), input_grad=False)  # type: ignore[attr-defined]


class SimpleSkipGram(_WordModel):
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
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        *,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        (W_in, W_out), _ = _draw_weights(vocab_size, hidden_size, seed, rng, dtype, turned=True)
        self.out_layer = MatMul(W_out)
        super().__init__(MatMul(W_in), [self.out_layer], SoftmaxWithLoss())
        self._words = 0  # of the last contexts

    def config(self) -> dict[str, Any]:
        """Return the sizes and the type, which make such a model."""
        V, H = self.word_vecs.shape
        return {"vocab_size": V, "hidden_size": H, "dtype": self.word_vecs.dtype.name}

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
        # The cross entropies with several rows add up to that with their mean, times their number.
        contexts = _check_contexts(contexts, 3)
        scores = self.out_layer.forward(self.in_layer.forward(target))
        words = contexts.shape[1]
        loss: float = words * self.loss_layer.forward(scores, contexts.mean(axis=1))
        self._words = words
        return loss

    def backward(self, dout: float = 1) -> None:
        """Write the gradients of the last ``forward`` into ``grads``.

        Parameters
        ----------
        dout : float
            Gradient by the loss.
        """
        dh = self.out_layer.backward(self.loss_layer.backward(dout * self._words))
        self.in_layer.backward(dh, input_grad=False)


class CBOW(_WordModel):
    """Continuous bag of words, negative sampling: a word by those around it (ch. 4).

    The vectors of the context's words, their mean, and `NegativeSamplingLoss` with the word itself
    and 5 drawn ones. Ids take the place of one-hot rows, and a step reads the rows of a few words.

    Weights are drawn as in the book, normal with a standard deviation of 0.01.

    Parameters
    ----------
    vocab_size : int
        V, the number of words.
    hidden_size : int
        H, the length of their vectors.
    window_size : int
        How many words before and after the target are its context.
    corpus : array_like of integers, shape (L,)
        The ids of the text's words, by whose frequencies wrong words are drawn.
    sample_size : int
        How many of them for each right word; less than there are words in the text.
    seed : int, optional
        Of the weights, and of the wrong words: with ``numpy.random.seed(s)`` in the book's program
        and ``seed=s`` here the weights are the book's. Left out, ``numpy.random`` governs both.
    rng : RandomState or Generator, optional
        Draw the weights, and the seed of the wrong words, from this, in place of `seed`.
    dtype : dtype
        Of the parameters.

    Raises
    ------
    ValueError
        If a size is not a whole number of at least 1, the text has fewer than 6 different words, or
        there are both `seed` and `rng`.
    TypeError
        If `rng` is no source of random numbers, `dtype` not one of floats, or `corpus` holds no
        integers.
    IndexError
        If an id of `corpus` is not in [0, V).

    Examples
    --------
    >>> from nnext.models import CBOW
    >>> from nnext.optimizer import Adam
    >>> from nnext.trainer import Trainer
    >>> from nnext.util import create_contexts_target, preprocess
    >>> corpus, word_to_id, _ = preprocess("You say goodbye and I say hello.")
    >>> contexts, target = create_contexts_target(corpus, window_size=1)
    >>> model = CBOW(len(word_to_id), 10, 1, corpus)
    >>> trainer = Trainer(model, Adam(lr=0.01))
    >>> _ = trainer.fit(contexts, target, max_epoch=2, batch_size=3, progress="none")
    >>> model.word_vecs.shape
    (7, 10)
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        window_size: int,
        corpus: ArrayLike,
        *,
        sample_size: int = 5,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.window_size = check_count("window_size", window_size)
        (W_in, W_out), source = _draw_weights(vocab_size, hidden_size, seed, rng, dtype)
        loss = NegativeSamplingLoss(W_out, corpus, sample_size=sample_size, rng=source)
        super().__init__(Embedding(W_in), [], loss)

    def loss_input(self, contexts: ArrayLike) -> Array:
        """Return the mean of the context's vectors, shape (N, H), for contexts (N, 2 window)."""
        return _mean(self.in_layer.forward(_check_contexts(contexts, 2, 2 * self.window_size)))

    def forward(self, contexts: ArrayLike, target: ArrayLike) -> float:
        """Return the loss of a batch.

        Parameters
        ----------
        contexts : array_like of integers, shape (N, 2 window_size)
            As `nnext.util.create_contexts_target` returns them.
        target : array_like of integers, shape (N,)

        Returns
        -------
        float
        """
        loss: float = self.loss_layer.forward(self.loss_input(contexts), target)
        return loss

    def backward(self, dout: float = 1) -> None:
        """Write the gradients of the last ``forward`` into ``grads``.

        Parameters
        ----------
        dout : float
            Gradient by the loss.
        """
        dh = self.loss_layer.backward(dout)
        self.in_layer.backward(_spread(dh, self.in_layer.idx))  # type: ignore[attr-defined]


class SkipGram(_WordModel):
    """Skip-gram, negative sampling: words by the one between them (ch. 4).

    The vector of the word, and `NegativeSamplingLoss` with each word of its context and 5 drawn
    ones for each. The losses of the context's words are added up.

    Weights are drawn as in the book, normal with a standard deviation of 0.01.

    Parameters
    ----------
    vocab_size : int
        V, the number of words.
    hidden_size : int
        H, the length of their vectors.
    window_size : int
        How many words before and after the target are its context.
    corpus : array_like of integers, shape (L,)
        The ids of the text's words, by whose frequencies wrong words are drawn.
    sample_size : int
        How many of them for each right word; less than there are words in the text.
    seed : int, optional
        Of the weights, and of the wrong words: with ``numpy.random.seed(s)`` in the book's program
        and ``seed=s`` here the weights are the book's. Left out, ``numpy.random`` governs both.
    rng : RandomState or Generator, optional
        Draw the weights, and the seed of the wrong words, from this, in place of `seed`.
    dtype : dtype
        Of the parameters.

    Raises
    ------
    ValueError
        If a size is not a whole number of at least 1, the text has fewer than 6 different words, or
        there are both `seed` and `rng`.
    TypeError
        If `rng` is no source of random numbers, `dtype` not one of floats, or `corpus` holds no
        integers.
    IndexError
        If an id of `corpus` is not in [0, V).
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        window_size: int,
        corpus: ArrayLike,
        *,
        sample_size: int = 5,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.window_size = check_count("window_size", window_size)
        (W_in, W_out), source = _draw_weights(vocab_size, hidden_size, seed, rng, dtype)
        loss = NegativeSamplingLoss(W_out, corpus, sample_size=sample_size, rng=source)
        super().__init__(Embedding(W_in), [], loss)

    def forward(self, contexts: ArrayLike, target: ArrayLike) -> float:
        """Return the loss of a batch.

        Parameters
        ----------
        contexts : array_like of integers, shape (N, 2 window_size)
            As `nnext.util.create_contexts_target` returns them.
        target : array_like of integers, shape (N,)

        Returns
        -------
        float
        """
        contexts = _check_contexts(contexts, 2, 2 * self.window_size)
        loss: float = self.loss_layer.forward(self.in_layer.forward(target), contexts)
        return loss

    def backward(self, dout: float = 1) -> None:
        """Write the gradients of the last ``forward`` into ``grads``.

        Parameters
        ----------
        dout : float
            Gradient by the loss.
        """
        self.in_layer.backward(self.loss_layer.backward(dout))


def _draw_weights(
    vocab_size: int,
    hidden_size: int,
    seed: int | None,
    rng: Rng,
    dtype: DTypeLike,
    *,
    turned: bool = False,
) -> tuple[tuple[Array, Array], Rng]:
    """Draw the weights of the first layer (V, H) and the last, which may be turned to (H, V).

    Return also what they were drawn from, None for ``numpy.random``.
    """
    size = check_count("vocab_size", vocab_size), check_count("hidden_size", hidden_size)
    source: Any = given_source(seed, rng)
    kind = float_type(dtype)
    computed = np.float64 if kind == np.float64 else np.float32  # as the book does, to the bit

    def draw(shape: tuple[int, int]) -> Array:
        normal = (np.random if source is None else source).standard_normal(shape)
        weights: Array = (0.01 * normal.astype(computed)).astype(kind, copy=False)
        return weights

    return (draw(size), draw(size[::-1] if turned else size)), source


def _check_contexts(contexts: ArrayLike, dimensions: int, words: int | None = None) -> Array:
    """Return contexts as an array, of so many words a row if there is but one answer."""
    refuse_sparse("contexts", contexts)
    refuse_masked("contexts", contexts)
    array = make_array("contexts", contexts)
    if array.ndim != dimensions or array.shape[1] < 1 or words not in (None, array.shape[1]):
        expected = "(N, C, V), one-hot rows" if words is None else f"(N, {words}), ids"
        raise ValueError(f"contexts: expected shape {expected}, got {array.shape}")
    return array


def _mean(rows: Array) -> Array:
    """Return the mean over the words of each context, (N, C, H) to (N, H)."""
    h: Array = _nnext.sum(rows, 1)
    h *= 1 / rows.shape[1]
    return h


def _spread(dh: Array, contexts: Any) -> Array:
    """Return the gradient of the vectors of a context by that of their mean."""
    n, words = np.shape(contexts)[:2]
    dh *= 1 / words
    return np.broadcast_to(dh[:, None], (n, words, dh.shape[1]))
