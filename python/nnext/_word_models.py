"""What models that learn the vectors of words share, whatever they take words as."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nnext._drawn_layers import Rng
from nnext._fit_data import Samples
from nnext._nnext import EmptyBatchError
from nnext._support import Array, check_count, given_source
from nnext.base_model import BaseModel, LayerLike
from nnext.init import float_type


class WordModel(BaseModel):
    """What they share: a layer whose weights are the vectors, and contexts with their targets."""

    _half_done = False  # layers may remember parts of different batches

    def __init__(self, in_layer: LayerLike, others: list[LayerLike], loss_layer: LayerLike) -> None:
        super().__init__([in_layer, *others], loss_layer)
        self.in_layer: Any = in_layer

    @property
    def word_vecs(self) -> Array:
        """The vector of each word, shape (V, H): the weights of the first layer themselves."""
        vectors: Array = self.in_layer.params[0]
        return vectors

    def config(self) -> dict[str, Any]:
        """Return the sizes and the type, which make such a model."""
        V, H = self.word_vecs.shape
        return {"vocab_size": V, "hidden_size": H, "dtype": self.word_vecs.dtype.name}

    def _check_done(self) -> None:
        if self._half_done:
            name = type(self).__name__
            raise RuntimeError(
                f"{name}.backward was called after a {name}.forward that failed, or after scores, "
                "which the layers remember: call forward first"
            )

    def _evaluate(self, batch: Samples) -> tuple[Any, float]:
        # Which of the two a model predicts is its own affair, so there is no other way to its loss.
        return self.forward(batch.x, batch.t), float(len(batch))


def require_samples(contexts: Array) -> None:
    """Refuse to compute a mean loss over nothing."""
    if not len(contexts):
        raise EmptyBatchError(
            f"contexts: expected at least 1 sample for a mean loss, got shape {np.shape(contexts)}"
        )


def draw_weights(
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


def check_lengths(contexts: Array, target: Array) -> None:
    """Refuse a batch whose contexts and targets are not equally many."""
    if len(contexts) != len(target):
        raise ValueError(
            f"target: expected one for each of the {len(contexts)} contexts, got {len(target)}"
        )
