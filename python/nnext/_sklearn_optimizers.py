"""The optimizers of the estimators: scikit-learn's formulas, on one array of all weights.

Those of `nnext.optimizer` compute the same, and check on the way whose state they hold, take groups
and schedules: that took a tenth of a step of a small network. Here the array is always the same.
"""

from __future__ import annotations

import copy
from math import sqrt
from typing import Any, Self

import numpy as np

from nnext import _nnext
from nnext._sklearn_options import Options
from nnext._support import Array, zeros_for


class _Stateful:
    """What has a list of arrays for each array of the parameters."""

    _state: tuple[str, ...]

    def copy(self) -> Self:
        """Return one with arrays of its own, which can be written."""
        made = copy.copy(self)
        for name in self._state:
            setattr(made, name, [np.array(a) for a in getattr(self, name)])
        return made


class Adam(_Stateful):
    """Adaptive moments, with ``epsilon`` added to the root.

    ``m += (1 - beta1) (g - m); v += (1 - beta2) (g² - v)``, then ``p -= lr_t m / (√v + epsilon)``
    with ``lr_t = lr √(1 - beta2^t) / (1 - beta1^t)`` at step t.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015),
    https://arxiv.org/abs/1412.6980
    """

    _state = ("m", "v")

    def __init__(self, lr: float, beta1: float, beta2: float, epsilon: float) -> None:
        self.lr = lr
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self._power1 = self._power2 = 1.0  # of the betas, by products: pow() depends on the system
        self.m: list[Array] = []
        self.v: list[Array] = []

    def update(self, params: list[Array], grads: list[Array]) -> None:
        """Move `params` in place by one step against `grads`."""
        if not self.m:
            self.m, self.v = [zeros_for(p) for p in params], [zeros_for(p) for p in params]
        beta1, beta2 = self.beta1, self.beta2
        self._power1 *= beta1
        self._power2 *= beta2
        step_size = self.lr * sqrt(1 - self._power2) / (1 - self._power1)
        _nnext.adam_update(
            params, grads, self.m, self.v, step_size, beta1, beta2, self.epsilon, 1.0
        )


class Velocity(_Stateful):
    """Descent with momentum, by Nesterov's method or not.

    ``v = momentum v - lr g``, then ``p += v``; by Nesterov's ``p += momentum v - lr g``, with the
    new velocity.
    """

    _state = ("v",)

    def __init__(self, lr: float, momentum: float, nesterov: bool) -> None:
        self.lr = lr
        self.momentum, self.nesterov = momentum, nesterov
        self.v: list[Array] = []

    def update(self, params: list[Array], grads: list[Array]) -> None:
        """Move `params` in place by one step against `grads`."""
        if not self.v:
            self.v = [zeros_for(p) for p in params]
        step: Any = _nnext.nesterov_update if self.nesterov else _nnext.momentum_update
        step(params, grads, self.v, self.lr, self.momentum)


def make_optimizer(options: Options) -> Adam | Velocity:
    """Make the optimizer of a stochastic solver."""
    rate = options.learning_rate_init
    if options.solver == "adam":
        return Adam(rate, options.beta_1, options.beta_2, options.epsilon)
    return Velocity(rate, options.momentum, options.nesterovs_momentum)
