"""The book's ``common/optimizer.py``: nnext's optimizers, and its own `Nesterov`.

What they remember belongs to places in the list of parameters, as in the book: a second model of
the same shapes goes on from it. (Those of `nnext.optimizer` refuse other arrays.)
"""

from typing import Any

import numpy as np

from nnext import _nnext, optimizer
from nnext._optimizer_state import Optimizer
from nnext.book.np import GPU
from nnext.optimizer import SGD

__all__ = ["GPU", "SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "np"]


class _ByPlace(Optimizer):
    """Whose state is that of whatever stands in the same places, in the same shapes."""

    def _adopted(self, params: list[Any], *others: Any) -> list[Any]:
        held = self._params
        if held is not None and [*map(np.shape, params)] == [*map(np.shape, held)]:
            self._params = None  # the state belongs to the next ones that it fits
        return super()._adopted(params, *others)

    @classmethod
    def _type_name(cls) -> str:  # in files: whose formulas it has, their states are the same
        return f"nnext.optimizer.{cls.__name__}"


class Momentum(_ByPlace, optimizer.Momentum):
    """`nnext.optimizer.Momentum`, whose velocities belong to places."""


class AdaGrad(_ByPlace, optimizer.AdaGrad):
    """`nnext.optimizer.AdaGrad`, whose sums of squares belong to places."""


class RMSprop(_ByPlace, optimizer.RMSprop):
    """`nnext.optimizer.RMSprop`, whose means of squares belong to places."""


class Adam(_ByPlace, optimizer.Adam):
    """`nnext.optimizer.Adam`, whose means belong to places."""


class Nesterov(_ByPlace, optimizer.Nesterov):
    """The book's variant of Nesterov's accelerated gradient, with m for the momentum.

    ``v = m v - lr g``, then ``p += m² v - (1 + m) lr g``. The paper that the book follows has the
    velocity from before this step in the second formula (`nnext.optimizer.Nesterov`); with the new
    one the method is another. On a parabola with momentum 0.9 it diverges once the rate times the
    curvature reaches 0.86, the paper's at 1.36. It is here so that the book's programs give the
    book's numbers, and for nothing else.

    Parameters
    ----------
    lr : float, default 0.01
        The rate, finite and at least 0.
    momentum : float, default 0.9
        How much of the velocity is left after a step, in [0, 1).

    Attributes
    ----------
    lr, momentum : float
    v : list of ndarray or None
        The velocity of each parameter; None before the first `update`.
    master : list of ndarray or None
        float32 copies of the float16 and bfloat16 parameters, in order; None before the first
        `update`.
    """

    _core = staticmethod(_nnext.book_nesterov_update)

    @classmethod
    def _type_name(cls) -> str:
        return f"{cls.__module__}.{cls.__qualname__}"
