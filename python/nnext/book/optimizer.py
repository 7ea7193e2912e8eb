"""The book's ``common/optimizer.py``: nnext's optimizers, and its own `Nesterov`."""

from nnext import _nnext, optimizer
from nnext.book.np import GPU, np
from nnext.optimizer import SGD, AdaGrad, Adam, Momentum, RMSprop

__all__ = ["GPU", "SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "np"]


class Nesterov(optimizer.Nesterov):
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
