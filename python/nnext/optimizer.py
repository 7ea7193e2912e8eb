"""The optimizers: ``update(params, grads)`` moves every parameter in place.

`params` and `grads` are lists of arrays, pairwise of one shape and one type. The core checks all
of them before it writes any (``ValueError`` for lengths, shapes and read-only arrays,
``TypeError`` for types), then goes once over each. What an optimizer remembers of a parameter is
made, as zeros, at the first ``update`` and belongs to the optimizer; from then on it takes lists
of those shapes only.

The formulas are those of "Deep Learning from Scratch 2" (``common/optimizer.py``), with p for a
parameter and g for its gradient, the operations element by element; `AdamW` has its source below.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from nnext import _nnext
from nnext._support import Array, check_numbers

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Momentum", "Nesterov", "RMSprop"]

Arrays = Sequence[Array]

# What the book adds to a root before it divides by it.
_EPS = 1e-7


def _zeros(params: list[Array]) -> list[Array]:
    return [np.zeros_like(p) for p in params]


class SGD:
    """Stochastic gradient descent: ``p -= lr g``."""

    def __init__(self, lr: float = 0.01) -> None:
        check_numbers(lr=lr)
        self.lr = lr

    def update(self, params: Arrays, grads: Arrays) -> None:
        """Move `params` in place by one step against `grads`."""
        _nnext.sgd_update(params, grads, self.lr)


class Momentum:
    """SGD with momentum: ``v = momentum v - lr g; p += v``."""

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        check_numbers(lr=lr, momentum=momentum)
        self.lr = lr
        self.momentum = momentum
        self.v: list[Array] | None = None

    def update(self, params: Arrays, grads: Arrays) -> None:
        """Move `params` in place by one step against `grads`."""
        v = self.v
        if v is None:
            params = list(params)
            v = _zeros(params)
        _nnext.momentum_update(params, grads, v, self.lr, self.momentum)
        self.v = v


class Nesterov:
    """Nesterov's accelerated gradient, with m for the momentum.

    ``v = m v - lr g; p += m² v - (1 + m) lr g``.

    References
    ----------
    Bengio, Boulanger-Lewandowski and Pascanu, "Advances in Optimizing Recurrent Networks" (2012),
    https://arxiv.org/abs/1212.0901
    """

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        check_numbers(lr=lr, momentum=momentum)
        self.lr = lr
        self.momentum = momentum
        self.v: list[Array] | None = None

    def update(self, params: Arrays, grads: Arrays) -> None:
        """Move `params` in place by one step against `grads`."""
        v = self.v
        if v is None:
            params = list(params)
            v = _zeros(params)
        _nnext.nesterov_update(params, grads, v, self.lr, self.momentum)
        self.v = v


class AdaGrad:
    """A rate that falls with the gradients seen: ``h += g²; p -= lr g / (√h + 1e-7)``.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", JMLR 12 (2011).
    """

    def __init__(self, lr: float = 0.01) -> None:
        check_numbers(lr=lr)
        self.lr = lr
        self.h: list[Array] | None = None

    def update(self, params: Arrays, grads: Arrays) -> None:
        """Move `params` in place by one step against `grads`."""
        h = self.h
        if h is None:
            params = list(params)
            h = _zeros(params)
        _nnext.adagrad_update(params, grads, h, self.lr, _EPS)
        self.h = h


class RMSprop:
    """AdaGrad that forgets, with d for the decay rate.

    ``h = d h + (1 - d) g²; p -= lr g / (√h + 1e-7)``.

    References
    ----------
    Tieleman and Hinton, "Neural Networks for Machine Learning", lecture 6.5 (2012).
    """

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        check_numbers(lr=lr, decay_rate=decay_rate)
        self.lr = lr
        self.decay_rate = decay_rate
        self.h: list[Array] | None = None

    def update(self, params: Arrays, grads: Arrays) -> None:
        """Move `params` in place by one step against `grads`."""
        h = self.h
        if h is None:
            params = list(params)
            h = _zeros(params)
        _nnext.rmsprop_update(params, grads, h, self.lr, self.decay_rate, _EPS)
        self.h = h


class _AdaptiveMoments:
    """The running means that `Adam` and `AdamW` share, and the powers of the two betas."""

    def __init__(self, lr: float, beta1: float, beta2: float) -> None:
        check_numbers(lr=lr, beta1=beta1, beta2=beta2)
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{name} must be in [0, 1), not {beta}")
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.iter = 0
        self.m: list[Array] | None = None
        self.v: list[Array] | None = None
        # Running products, since pow() rounds differently from one C library to the next.
        self._beta1_t = 1.0
        self._beta2_t = 1.0

    def update(self, params: Arrays, grads: Arrays) -> None:
        """Move `params` in place by one step against `grads`."""
        m, v = self.m, self.v
        if m is None or v is None:
            params = list(params)
            m, v = _zeros(params), _zeros(params)
        beta1_t = self._beta1_t * self.beta1
        beta2_t = self._beta2_t * self.beta2
        step_size, eps, v_scale, decay = self._step(1 - beta1_t, 1 - beta2_t)
        _nnext.adam_update(
            params, grads, m, v, step_size, self.beta1, self.beta2, eps, v_scale, decay
        )
        self.m, self.v = m, v
        self.iter += 1
        self._beta1_t, self._beta2_t = beta1_t, beta2_t

    def _step(self, correction1: float, correction2: float) -> tuple[float, float, float, float]:
        """Return a, eps, s, d of ``p -= d p + a m / (s √v + eps)``."""
        raise NotImplementedError


class Adam(_AdaptiveMoments):
    """Adaptive moments, in the book's form: both bias corrections are put into the rate.

    ``m += (1 - beta1) (g - m); v += (1 - beta2) (g² - v)``, then ``p -= lr_t m / (√v + 1e-7)``
    with ``lr_t = lr √(1 - beta2^t) / (1 - beta1^t)`` at step t.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015),
    https://arxiv.org/abs/1412.6980
    """

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__(lr, beta1, beta2)

    def _step(self, correction1: float, correction2: float) -> tuple[float, float, float, float]:
        return self.lr * sqrt(correction2) / correction1, _EPS, 1.0, 0.0


class AdamW(_AdaptiveMoments):
    """Adam with decoupled weight decay; the decay is scaled by the rate, as libraries do it.

    ``m`` and ``v`` as in `Adam`; with ``m̂ = m / (1 - beta1^t)`` and ``v̂ = v / (1 - beta2^t)`` at
    step t, ``p -= lr (m̂ / (√v̂ + eps) + weight_decay p)``.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019),
    https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, beta1, beta2)
        check_numbers(eps=eps, weight_decay=weight_decay)
        self.eps = eps
        self.weight_decay = weight_decay

    def _step(self, correction1: float, correction2: float) -> tuple[float, float, float, float]:
        return self.lr / correction1, self.eps, 1 / sqrt(correction2), self.lr * self.weight_decay
