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

The rate may be a schedule, a function from the number of steps made (``iter``) to the rate of the
next (`nnext.schedules`); ``lr`` is that number then. Weight decay is decoupled from the gradient,
for every optimizer: a parameter is multiplied by ``1 - lr weight_decay`` before its step.
``groups`` give some parameters options of their own: ``groups=[{"params": [b], "weight_decay": 0,
"lr": 0.01}]``, with ``"params"`` a list of arrays or a function that says of an array whether it is
one (``lambda p: p.ndim < 2`` are biases). A parameter in several has the first one's; what a group
does not have it takes from the optimizer. `LearningRateSchedule` sets the optimizer's rate, not
that of a group that has its own.

The formulas are those of "Deep Learning from Scratch 2" (``common/optimizer.py``), with p for a
parameter and g for its gradient, the operations element by element; `Nesterov` and `AdamW` have
their sources below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import sqrt
from typing import Any

from nnext import _nnext
from nnext._optimizer_options import Number, Power
from nnext._optimizer_state import Optimizer, decay_of
from nnext._support import Array

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Momentum", "Nesterov", "RMSprop"]

Rate = float | Callable[[int], float]
Groups = Iterable[Mapping[str, Any]]

# What the book adds to a root before it divides by it.
_EPS = 1e-7


class SGD(Optimizer):
    """Stochastic gradient descent: ``p -= lr g``.

    Parameters
    ----------
    lr : float or callable, default 0.01
        The rate, finite and at least 0, or a schedule.
    weight_decay : float, default 0
        The part of each parameter that a step takes away first, before it is scaled by the rate.
    groups : iterable of dict, optional
        Options of some parameters; see the module.

    Attributes
    ----------
    lr : float
    master : list of ndarray or None
        float32 copies of the float16 and bfloat16 parameters, in order; None before the first
        `update`.
    """

    def __init__(self, lr: Rate = 0.01, *, weight_decay: float = 0.0, groups: Groups = ()) -> None:
        super().__init__(lr, weight_decay, groups)

    _core = staticmethod(_nnext.sgd_update)

    def _numbers_of(self, options: Any) -> tuple[float, ...]:
        rate = options.lr
        return rate, decay_of(rate, options)


class _Velocity(Optimizer):
    """What `Momentum` and `Nesterov` share."""

    momentum = Number("[0, 1)")
    v: list[Array] | None
    _state = ("v",)

    def __init__(
        self,
        lr: Rate = 0.01,
        momentum: float = 0.9,
        *,
        weight_decay: float = 0.0,
        groups: Groups = (),
    ) -> None:
        super().__init__(lr, weight_decay, groups)
        self.momentum = momentum

    def _numbers_of(self, options: Any) -> tuple[float, ...]:
        rate = options.lr
        return rate, options.momentum, decay_of(rate, options)


class Momentum(_Velocity):
    """SGD with momentum: ``v = momentum v - lr g; p += v``.

    Parameters
    ----------
    lr : float or callable, default 0.01
        The rate, finite and at least 0, or a schedule.
    momentum : float, default 0.9
        How much of the velocity is left after a step, in [0, 1).
    weight_decay : float, default 0
        The part of each parameter that a step takes away first, before it is scaled by the rate.
    groups : iterable of dict, optional
        Options of some parameters; see the module.

    Attributes
    ----------
    lr, momentum : float
    v : list of ndarray or None
        The velocity of each parameter; None before the first `update`.
    master : list of ndarray or None
        float32 copies of the float16 and bfloat16 parameters, in order; None before the first
        `update`.
    """

    _core = staticmethod(_nnext.momentum_update)


class Nesterov(_Velocity):
    """Nesterov's accelerated gradient, with m for the momentum.

    ``p += m² v - (1 + m) lr g``, then ``v = m v - lr g``: the classical method, whose gradient is
    taken ahead of where it stands, written in terms of the point ahead. The book puts the new
    velocity in the place of the old one, which is another method, stable for smaller rates only;
    `nnext.book.optimizer.Nesterov` is that one.

    Parameters
    ----------
    lr : float or callable, default 0.01
        The rate, finite and at least 0, or a schedule.
    momentum : float, default 0.9
        How much of the velocity is left after a step, in [0, 1).
    weight_decay : float, default 0
        The part of each parameter that a step takes away first, before it is scaled by the rate.
    groups : iterable of dict, optional
        Options of some parameters; see the module.

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

    _core = staticmethod(_nnext.nesterov_update)


class AdaGrad(Optimizer):
    """A rate that falls with the gradients seen: ``h += g²; p -= lr g / (√h + 1e-7)``.

    Parameters
    ----------
    lr : float or callable, default 0.01
        The rate, finite and at least 0, or a schedule.
    weight_decay : float, default 0
        The part of each parameter that a step takes away first, before it is scaled by the rate.
    groups : iterable of dict, optional
        Options of some parameters; see the module.

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

    def __init__(self, lr: Rate = 0.01, *, weight_decay: float = 0.0, groups: Groups = ()) -> None:
        super().__init__(lr, weight_decay, groups)

    _core = staticmethod(_nnext.adagrad_update)

    def _numbers_of(self, options: Any) -> tuple[float, ...]:
        rate = options.lr
        return rate, _EPS, decay_of(rate, options)


class RMSprop(Optimizer):
    """AdaGrad that forgets, with d for the decay rate.

    ``h = d h + (1 - d) g²; p -= lr g / (√h + 1e-7)``.

    Parameters
    ----------
    lr : float or callable, default 0.01
        The rate, finite and at least 0, or a schedule.
    decay_rate : float, default 0.99
        How much of the mean is left after a step, in [0, 1].
    weight_decay : float, default 0
        The part of each parameter that a step takes away first, before it is scaled by the rate.
    groups : iterable of dict, optional
        Options of some parameters; see the module.

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

    def __init__(
        self,
        lr: Rate = 0.01,
        decay_rate: float = 0.99,
        *,
        weight_decay: float = 0.0,
        groups: Groups = (),
    ) -> None:
        super().__init__(lr, weight_decay, groups)
        self.decay_rate = decay_rate

    _core = staticmethod(_nnext.rmsprop_update)

    def _numbers_of(self, options: Any) -> tuple[float, ...]:
        rate = options.lr
        return rate, options.decay_rate, _EPS, decay_of(rate, options)


class _AdaptiveMoments(Optimizer):
    """The running means that `Adam` and `AdamW` share, and the powers of the two betas."""

    beta1 = Number("[0, 1)")
    beta2 = Number("[0, 1)")
    m: list[Array] | None
    v: list[Array] | None
    _core = staticmethod(_nnext.adam_update)
    _state = ("m", "v")

    def __init__(
        self,
        lr: Rate,
        beta1: float,
        beta2: float,
        weight_decay: float,
        groups: Groups,
    ) -> None:
        super().__init__(lr, weight_decay, groups)
        self.beta1 = beta1
        self.beta2 = beta2
        self._powers: dict[float, Power] = {}

    def _correction(self, beta: float) -> float:
        """Return what the mean of the next step is to be divided by."""
        if beta not in self._powers:
            self._powers = {beta: Power()} if len(self._powers) > 8 else self._powers
            self._powers.setdefault(beta, Power())
        return 1 - self._powers[beta](beta, self.iter + 1)

    def _numbers_of(self, options: Any) -> tuple[float, ...]:
        beta1, beta2 = options.beta1, options.beta2
        rate = options.lr
        step_size, eps, v_scale = self._terms(
            options, rate, self._correction(beta1), self._correction(beta2)
        )
        return step_size, beta1, beta2, eps, v_scale, decay_of(rate, options)

    def _terms(
        self, options: Any, rate: float, correction1: float, correction2: float
    ) -> tuple[float, float, float]:
        """Return a, eps, s of ``p -= a m / (s √v + eps)``."""
        raise NotImplementedError


class Adam(_AdaptiveMoments):
    """Adaptive moments, in the book's form: both bias corrections are put into the rate.

    ``m += (1 - beta1) (g - m); v += (1 - beta2) (g² - v)``, then ``p -= lr_t m / (√v + 1e-7)``
    with ``lr_t = lr √(1 - beta2^t) / (1 - beta1^t)`` at step t.

    Parameters
    ----------
    lr : float or callable, default 0.001
        The rate, finite and at least 0, or a schedule.
    beta1 : float, default 0.9
        How much of the mean of the gradients is left after a step, in [0, 1).
    beta2 : float, default 0.999
        How much of the mean of their squares is left after a step, in [0, 1).
    weight_decay : float, default 0
        The part of each parameter that a step takes away first, before it is scaled by the rate.
    groups : iterable of dict, optional
        Options of some parameters; see the module.

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

    def __init__(
        self,
        lr: Rate = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        *,
        weight_decay: float = 0.0,
        groups: Groups = (),
    ) -> None:
        super().__init__(lr, beta1, beta2, weight_decay, groups)

    def _terms(
        self, options: Any, rate: float, correction1: float, correction2: float
    ) -> tuple[float, float, float]:
        return rate * sqrt(correction2) / correction1, _EPS, 1.0


class AdamW(_AdaptiveMoments):
    """Adam with decoupled weight decay; the decay is scaled by the rate, as libraries do it.

    ``m`` and ``v`` as in `Adam`; with ``m̂ = m / (1 - beta1^t)`` and ``v̂ = v / (1 - beta2^t)`` at
    step t, ``p -= lr (m̂ / (√v̂ + eps) + weight_decay p)``.

    Parameters
    ----------
    lr : float or callable, default 0.001
        The rate, finite and at least 0, or a schedule.
    beta1 : float, default 0.9
        How much of the mean of the gradients is left after a step, in [0, 1).
    beta2 : float, default 0.999
        How much of the mean of their squares is left after a step, in [0, 1).
    eps : float, default 1e-8
        What is added to the root that is divided by, finite and above 0.
    weight_decay : float, default 0.01
        The part of the parameter that a step takes away, before it is scaled by the rate; finite
        and at least 0.
    groups : iterable of dict, optional
        Options of some parameters; see the module.

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

    def __init__(
        self,
        lr: Rate = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        groups: Groups = (),
    ) -> None:
        super().__init__(lr, beta1, beta2, weight_decay, groups)
        self.eps = eps

    def _terms(
        self, options: Any, rate: float, correction1: float, correction2: float
    ) -> tuple[float, float, float]:
        return rate / correction1, options.eps, 1 / sqrt(correction2)
