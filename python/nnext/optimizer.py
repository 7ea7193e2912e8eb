"""The optimizers: ``update(params, grads)`` moves every parameter in place.

`params` and `grads` are lists of arrays, pairwise of one shape and one type. All of them are
checked before any is written (``ValueError`` for lengths, shapes and read-only arrays,
``TypeError`` for types), then the core goes once over each.

What an optimizer remembers of a parameter (`v`, `h`, `m`) is made, as zeros, at the first
``update`` and belongs to the memory of that parameter: other arrays are refused from then on, until
``reset()``. It is an attribute, may be read and set, and goes with all options through
``state_dict()`` and ``load_state_dict()``, `copy.deepcopy` and `pickle`; a run that was stored goes
on with the bits of one that was not. After each of these the state belongs to the parameters of the
next ``update``.

float16 and bfloat16 parameters are computed with in float32: they have a float32 state and a
float32 `master` copy each, which is rounded into the parameter once a step. (A step is often
smaller than half the distance of two neighbouring halves, so the rounded parameter alone would
stand still.) Who writes such a parameter between two steps is listened to: the master follows.

The options of an optimizer are attributes, and may be changed between two steps. They are checked
when they are set: a number outside its range, NaN included, is a ``ValueError``.

The formulas are those of "Deep Learning from Scratch 2" (``common/optimizer.py``), with p for a
parameter and g for its gradient, the operations element by element; `Nesterov` and `AdamW` have
their sources below.
"""

from __future__ import annotations

from math import sqrt

from nnext import _nnext
from nnext._optimizer_state import Arrays, Count, Number, Optimizer, Power
from nnext._support import Array

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Momentum", "Nesterov", "RMSprop"]

# What the book adds to a root before it divides by it.
_EPS = 1e-7


class SGD(Optimizer):
    """Stochastic gradient descent: ``p -= lr g``.

    Parameters
    ----------
    lr : float, default 0.01
        The rate, finite and at least 0.

    Attributes
    ----------
    lr : float
    master : list of ndarray or None
        float32 copies of the float16 and bfloat16 parameters, in order; None before the first
        `update`.
    """

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def _step(self, params: Arrays, grads: Arrays, state: list[list[Array]]) -> None:
        _nnext.sgd_update(params, grads, self.lr)


class _Velocity(Optimizer):
    """What `Momentum` and `Nesterov` share."""

    momentum = Number("[0, 1)")
    v: list[Array] | None
    _state = ("v",)

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(lr)
        self.momentum = momentum


class Momentum(_Velocity):
    """SGD with momentum: ``v = momentum v - lr g; p += v``.

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

    def _step(self, params: Arrays, grads: Arrays, state: list[list[Array]]) -> None:
        [v] = state
        _nnext.momentum_update(params, grads, v, self.lr, self.momentum)


class Nesterov(_Velocity):
    """Nesterov's accelerated gradient, with m for the momentum.

    ``p += m² v - (1 + m) lr g``, then ``v = m v - lr g``: the classical method, whose gradient is
    taken ahead of where it stands, written in terms of the point ahead. The book puts the new
    velocity in the place of the old one, which is another method, stable for smaller rates only;
    `nnext.book.optimizer.Nesterov` is that one.

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

    References
    ----------
    Bengio, Boulanger-Lewandowski and Pascanu, "Advances in Optimizing Recurrent Networks" (2012),
    https://arxiv.org/abs/1212.0901, section 3.5
    """

    def _step(self, params: Arrays, grads: Arrays, state: list[list[Array]]) -> None:
        [v] = state
        _nnext.nesterov_update(params, grads, v, self.lr, self.momentum)


class AdaGrad(Optimizer):
    """A rate that falls with the gradients seen: ``h += g²; p -= lr g / (√h + 1e-7)``.

    Parameters
    ----------
    lr : float, default 0.01
        The rate, finite and at least 0.

    Attributes
    ----------
    lr : float
    h : list of ndarray or None
        The sum of the squared gradients of each parameter; None before the first `update`.
    master : list of ndarray or None
        float32 copies of the float16 and bfloat16 parameters, in order; None before the first
        `update`.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", JMLR 12 (2011).
    """

    h: list[Array] | None
    _state = ("h",)

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def _step(self, params: Arrays, grads: Arrays, state: list[list[Array]]) -> None:
        [h] = state
        _nnext.adagrad_update(params, grads, h, self.lr, _EPS)


class RMSprop(Optimizer):
    """AdaGrad that forgets, with d for the decay rate.

    ``h = d h + (1 - d) g²; p -= lr g / (√h + 1e-7)``.

    Parameters
    ----------
    lr : float, default 0.01
        The rate, finite and at least 0.
    decay_rate : float, default 0.99
        How much of the mean is left after a step, in [0, 1].

    Attributes
    ----------
    lr, decay_rate : float
    h : list of ndarray or None
        The running mean of the squared gradients of each parameter; None before the first `update`.
    master : list of ndarray or None
        float32 copies of the float16 and bfloat16 parameters, in order; None before the first
        `update`.

    References
    ----------
    Tieleman and Hinton, "Neural Networks for Machine Learning", lecture 6.5 (2012).
    """

    decay_rate = Number("[0, 1]")
    h: list[Array] | None
    _state = ("h",)

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        super().__init__(lr)
        self.decay_rate = decay_rate

    def _step(self, params: Arrays, grads: Arrays, state: list[list[Array]]) -> None:
        [h] = state
        _nnext.rmsprop_update(params, grads, h, self.lr, self.decay_rate, _EPS)


class _AdaptiveMoments(Optimizer):
    """The running means that `Adam` and `AdamW` share, and the powers of the two betas."""

    beta1 = Number("[0, 1)")
    beta2 = Number("[0, 1)")
    iter = Count()
    m: list[Array] | None
    v: list[Array] | None
    _state = ("m", "v")

    def __init__(self, lr: float, beta1: float, beta2: float) -> None:
        super().__init__(lr)
        self.beta1 = beta1
        self.beta2 = beta2
        self._power1 = Power()
        self._power2 = Power()

    def _forget(self) -> None:
        super()._forget()
        self.iter = 0

    def _step(self, params: Arrays, grads: Arrays, state: list[list[Array]]) -> None:
        m, v = state
        t = self.iter + 1
        correction1 = 1 - self._power1(self.beta1, t)
        correction2 = 1 - self._power2(self.beta2, t)
        step_size, eps, v_scale, decay = self._terms(correction1, correction2)
        _nnext.adam_update(
            params, grads, m, v, step_size, self.beta1, self.beta2, eps, v_scale, decay
        )
        self.iter = t

    def _terms(self, correction1: float, correction2: float) -> tuple[float, float, float, float]:
        """Return a, eps, s, d of ``p -= d p + a m / (s √v + eps)``."""
        raise NotImplementedError


class Adam(_AdaptiveMoments):
    """Adaptive moments, in the book's form: both bias corrections are put into the rate.

    ``m += (1 - beta1) (g - m); v += (1 - beta2) (g² - v)``, then ``p -= lr_t m / (√v + 1e-7)``
    with ``lr_t = lr √(1 - beta2^t) / (1 - beta1^t)`` at step t.

    Parameters
    ----------
    lr : float, default 0.001
        The rate, finite and at least 0.
    beta1 : float, default 0.9
        How much of the mean of the gradients is left after a step, in [0, 1).
    beta2 : float, default 0.999
        How much of the mean of their squares is left after a step, in [0, 1).

    Attributes
    ----------
    lr, beta1, beta2 : float
    iter : int
        The number of steps made: t - 1 of the next step.
    m, v : list of ndarray or None
        The running means of the gradients and of their squares for each parameter; None before the
        first `update`.
    master : list of ndarray or None
        float32 copies of the float16 and bfloat16 parameters, in order; None before the first
        `update`.

    References
    ----------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015),
    https://arxiv.org/abs/1412.6980
    """

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__(lr, beta1, beta2)

    def _terms(self, correction1: float, correction2: float) -> tuple[float, float, float, float]:
        return self.lr * sqrt(correction2) / correction1, _EPS, 1.0, 0.0


class AdamW(_AdaptiveMoments):
    """Adam with decoupled weight decay; the decay is scaled by the rate, as libraries do it.

    ``m`` and ``v`` as in `Adam`; with ``m̂ = m / (1 - beta1^t)`` and ``v̂ = v / (1 - beta2^t)`` at
    step t, ``p -= lr (m̂ / (√v̂ + eps) + weight_decay p)``.

    Parameters
    ----------
    lr : float, default 0.001
        The rate, finite and at least 0.
    beta1 : float, default 0.9
        How much of the mean of the gradients is left after a step, in [0, 1).
    beta2 : float, default 0.999
        How much of the mean of their squares is left after a step, in [0, 1).
    eps : float, default 1e-8
        What is added to the root that is divided by, finite and above 0.
    weight_decay : float, default 0.01
        The part of the parameter that a step takes away, before it is scaled by the rate; finite
        and at least 0.

    Attributes
    ----------
    lr, beta1, beta2, eps, weight_decay : float
    iter : int
        The number of steps made: t - 1 of the next step.
    m, v : list of ndarray or None
        The running means of the gradients and of their squares for each parameter; None before the
        first `update`.
    master : list of ndarray or None
        float32 copies of the float16 and bfloat16 parameters, in order; None before the first
        `update`.

    References
    ----------
    Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019),
    https://arxiv.org/abs/1711.05101
    """

    eps = Number("(0, inf)")
    weight_decay = Number("[0, inf)")

    def __init__(
        self,
        lr: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, beta1, beta2)
        self.eps = eps
        self.weight_decay = weight_decay

    def _terms(self, correction1: float, correction2: float) -> tuple[float, float, float, float]:
        return self.lr / correction1, self.eps, 1 / sqrt(correction2), self.lr * self.weight_decay
