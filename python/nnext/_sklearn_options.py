"""The parameters of the estimators as a fit reads them: checked, whatever they were set to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from nnext._optimizer_options import Number
from nnext._support import check_count, check_flag, whole_number

_CHOICES = {
    "activation": ("identity", "logistic", "tanh", "relu"),
    "solver": ("lbfgs", "sgd", "adam"),
    "learning_rate": ("constant", "invscaling", "adaptive"),
    "loss": ("squared_error", "poisson"),
}
_COUNTS = ("max_iter", "max_fun")
_FLAGS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")


class Options:
    """The parameters of an estimator, each an attribute of its name.

    scikit-learn has parameters checked when they are used, not when they are set.

    Parameters
    ----------
    params : mapping
        What ``get_params()`` returns.

    Attributes
    ----------
    hidden_layer_sizes : tuple of int
    batch_size : int or None
        None for ``"auto"``.
    random_state : RandomState
    dtype : tuple of numpy.dtype
        The types that X may keep.

    Raises
    ------
    ValueError, TypeError
        For the first that cannot be used; the message names it.
    """

    alpha = Number("[0, inf)")
    learning_rate_init = Number("(0, inf)")
    power_t = Number("[0, inf)")
    tol = Number("[0, inf)")
    momentum = Number("[0, 1]")
    validation_fraction = Number("[0, 1)")
    beta_1 = Number("[0, 1)")
    beta_2 = Number("[0, 1)")
    epsilon = Number("(0, inf)")
    dropout = Number("[0, 1)")

    activation: str
    solver: str
    learning_rate: str
    max_iter: int
    max_fun: int
    shuffle: bool
    warm_start: bool
    nesterovs_momentum: bool
    early_stopping: bool

    def __init__(self, params: Mapping[str, Any]) -> None:
        for name, kind in vars(Options).items():
            if isinstance(kind, Number):
                setattr(self, name, params[name])
        for name, choices in _CHOICES.items():
            if name in params:
                setattr(self, name, _one_of(name, params[name], choices))
        for name in _COUNTS:
            setattr(self, name, check_count(name, params[name]))
        for name in _FLAGS:
            setattr(self, name, check_flag(name, params[name]))
        self.hidden_layer_sizes = _sizes(params["hidden_layer_sizes"])
        self.batch_size = _batch_size(params["batch_size"])
        self.n_iter_no_change = _patience(params["n_iter_no_change"])
        self.verbose = _verbosity(params["verbose"]) > 0
        self.dtype = _types(params["dtype"])
        self.callbacks = () if params["callbacks"] is None else params["callbacks"]
        if isinstance(self.callbacks, Iterator):
            raise TypeError(
                "callbacks: expected a list of callbacks, which every fit can go through, got "
                f"{self.callbacks!r}"
            )
        self.random_state = _random(params["random_state"])
        self.class_weight = params.get("class_weight")
        if not (self.class_weight is None or isinstance(self.class_weight, Mapping)):
            _one_of("class_weight", self.class_weight, ("balanced",), " or a dict or None")
        if self.dropout and not self.is_stochastic:
            raise ValueError(
                f"dropout: solver='lbfgs' needs the same loss at each call, got {self.dropout}"
            )

    @property
    def is_stochastic(self) -> bool:
        """Whether the solver goes through batches."""
        return self.solver != "lbfgs"


def _one_of(name: str, value: Any, choices: tuple[str, ...], more: str = "") -> Any:
    if not (isinstance(value, str) and value in choices):
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{name}: expected {known}{more}, got {value!r}")
    return value


def _sizes(value: Any) -> tuple[int, ...]:
    try:
        dimensions = np.ndim(value)
    except ValueError:  # lists of unequal lengths
        dimensions = 2
    if isinstance(value, str) or dimensions > 1:
        raise ValueError(f"hidden_layer_sizes: expected whole numbers, got {value!r}")
    sizes = value if dimensions else [value]
    return tuple(check_count("hidden_layer_sizes", size) for size in sizes)


def _batch_size(value: Any) -> int | None:
    return None if isinstance(value, str) and value == "auto" else check_count("batch_size", value)


def _patience(value: Any) -> float:
    if isinstance(value, float | np.floating) and value == math.inf:
        return math.inf
    return check_count("n_iter_no_change", value)


def _verbosity(value: Any) -> int:
    if isinstance(value, bool | np.bool):
        return int(value)
    number = whole_number("verbose", value, "True, False or a whole number")
    if number < 0:
        raise ValueError(f"verbose: expected a number of at least 0, got {number}")
    return number


def _random(value: Any) -> np.random.RandomState:
    try:
        return check_random_state(value)  # type: ignore[no-any-return]
    except ValueError:
        raise ValueError(
            "random_state: expected None, a whole number from 0 to 2**32 - 1 or a "
            f"numpy.random.RandomState, got {value!r}"
        ) from None


def _types(value: Any) -> tuple[np.dtype[Any], ...]:
    both = np.dtype(np.float64), np.dtype(np.float32)
    if value is None:
        return both
    try:
        return (both[both.index(np.dtype(value))],)
    except (TypeError, ValueError):
        expected = "dtype: expected 'float32', 'float64' or None"
        raise ValueError(f"{expected}, got {value!r}") from None
