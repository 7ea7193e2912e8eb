"""What nnext's own layers share."""

from typing import ClassVar

import numpy as np

from nnext._support import Array

# bfloat16 is not NumPy's own (ml_dtypes has it), so it is known by its name.
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class Layer:
    """What nnext's own layers share: the two lists. Other layers need not derive from it.

    Parameters
    ----------
    *params : ndarray of float16, bfloat16, float32 or float64
        The parameters, kept as they are; ``grads`` gets a zero array for each.

    Raises
    ------
    TypeError
        If a parameter is not a NumPy array of floats. An integer array cannot be trained.
    """

    skips_input_grad: ClassVar[bool] = False
    """Whether ``backward`` takes ``input_grad=False``, to leave the input's gradient out."""

    def __init__(self, *params: Array) -> None:
        for p in params:
            if not isinstance(p, np.ndarray):
                raise TypeError(f"a parameter must be a NumPy array, not {type(p).__name__}")
            if p.dtype.name not in _FLOATS:
                raise TypeError(f"a parameter must be an array of floats, not of {p.dtype}")
        self.params: list[Array] = list(params)
        self.grads: list[Array] = [np.zeros_like(p) for p in params]


def before_forward(layer: object) -> RuntimeError:
    """Return the error of a ``backward`` that has no ``forward`` to go back through."""
    name = type(layer).__name__
    return RuntimeError(f"{name}.backward was called before {name}.forward")
