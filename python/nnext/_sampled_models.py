"""Models that learn the vectors of many words, by negative sampling; a part of `nnext.models`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nnext import _nnext
from nnext._drawn_layers import Rng
from nnext._support import Array, check_count, make_array, naming, refuse_masked, refuse_sparse
from nnext._text import read_ids
from nnext._word_models import WordModel, check_lengths, draw_weights, require_samples
from nnext.layers import Embedding
from nnext.negative_sampling import NegativeSamplingLoss


class _SampledModel(WordModel):
    """Words are ids, and the loss is that of the right words and some drawn ones."""

    loss_layer: NegativeSamplingLoss

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        window_size: int,
        corpus: ArrayLike | None = None,
        *,
        counts: ArrayLike | None = None,
        sample_size: int = 5,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.window_size = check_count("window_size", window_size)
        (W_in, W_out), source = draw_weights(vocab_size, hidden_size, seed, rng, dtype)
        loss = NegativeSamplingLoss(
            W_out, corpus, sample_size=sample_size, counts=counts, rng=source
        )
        super().__init__(Embedding(W_in), [], loss)

    @property
    def ns_loss(self) -> NegativeSamplingLoss:
        """The loss layer, by the book's name."""
        return self.loss_layer

    def config(self) -> dict[str, Any]:
        """Return the sizes and the type: with the words' counts they make such a model."""
        sizes = {"window_size": self.window_size, "sample_size": self.loss_layer.sample_size}
        return {**super().config(), **sizes}

    def _read_contexts(self, contexts: ArrayLike) -> Array:
        refuse_sparse("contexts", contexts)
        refuse_masked("contexts", contexts)
        ids = make_array("contexts", contexts)
        words = 2 * self.window_size
        if ids.ndim != 2 or ids.shape[1] != words:
            raise ValueError(f"contexts: expected shape (N, {words}), ids, got {ids.shape}")
        return read_ids("contexts", ids, len(self.word_vecs), ("NC",))

    def _read(self, contexts: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
        """Return a batch, checked before a layer remembers any of it."""
        read = self._read_contexts(contexts), read_ids("target", target, len(self.word_vecs))
        check_lengths(*read)
        return read


class CBOW(_SampledModel):
    """Continuous bag of words, negative sampling: a word by those around it (ch. 4).

    The vectors of the context's words, their mean, and `NegativeSamplingLoss` with the word itself
    and drawn ones. Ids take the place of one-hot rows, and a step reads the rows of a few words.

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
    counts : array_like of integers, shape (V,), optional
        How often each word occurs, in place of `corpus`.
    sample_size : int
        How many wrong words to draw for each right one; fewer than there are words in the text.
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
        If a size is not a whole number of at least 1, the text has too few different words for
        `sample_size`, a count is below 0, or there are both `seed` and `rng`, or both `corpus` and
        `counts` or neither.
    TypeError
        If `rng` is no source of random numbers, `dtype` not one of floats, or `corpus` or `counts`
        hold no integers.
    IndexError
        If an id of `corpus` is not in [0, V).

    Attributes
    ----------
    in_layer : Embedding
        Of the vectors of the words, shape (V, H).
    loss_layer : NegativeSamplingLoss
        Of the words' other vectors, shape (V, H).

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

    def loss_input(self, contexts: ArrayLike) -> Array:
        """Return the mean of the context's vectors, shape (N, H), for contexts (N, 2 window)."""
        return self._mean_vector(self._read_contexts(contexts))

    def _mean_vector(self, ids: Array) -> Array:
        self._half_done = True
        h: Array = _nnext.sum(self.in_layer.forward(ids), 1)
        h *= 1 / ids.shape[1]
        return h

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
        words, right = self._read(contexts, target)
        require_samples(words)
        loss = self.loss_layer.forward(self._mean_vector(words), right)
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
        dh = self.loss_layer.backward(dout)
        shape = np.shape(self.in_layer.idx)
        dh *= 1 / shape[1]
        self.in_layer.backward(np.broadcast_to(dh[:, None], (*shape, dh.shape[1])))


class SkipGram(_SampledModel):
    """Skip-gram, negative sampling: words by the one between them (ch. 4).

    The vector of the word, and `NegativeSamplingLoss` with each word of its context and drawn
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
    counts : array_like of integers, shape (V,), optional
        How often each word occurs, in place of `corpus`.
    sample_size : int
        How many wrong words to draw for each right one; fewer than there are words in the text.
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
        If a size is not a whole number of at least 1, the text has too few different words for
        `sample_size`, a count is below 0, or there are both `seed` and `rng`, or both `corpus` and
        `counts` or neither.
    TypeError
        If `rng` is no source of random numbers, `dtype` not one of floats, or `corpus` or `counts`
        hold no integers.
    IndexError
        If an id of `corpus` is not in [0, V).

    Attributes
    ----------
    in_layer : Embedding
        Of the vectors of the words, shape (V, H).
    loss_layer : NegativeSamplingLoss
        Of the words' other vectors, shape (V, H).
    """

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
        words, between = self._read(contexts, target)
        require_samples(words)
        self._half_done = True
        loss = self.loss_layer.forward(self.in_layer.forward(between), words)
        self._half_done = False
        return loss

    def _check_samples(self, x: Any, t: Any) -> None:
        with naming(contexts="x", target="t"):
            self._read(x, t)

    def backward(self, dout: float = 1) -> None:
        """Write the gradients of the last ``forward`` into ``grads``.

        Parameters
        ----------
        dout : float
            Gradient by the loss.
        """
        self._check_done()
        self.in_layer.backward(self.loss_layer.backward(dout))
