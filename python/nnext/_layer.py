"""What nnext's own layers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from nnext._names import Unmatched, layer_arrays, load_state, state_of
from nnext._support import (
    Array,
    find_shared,
    has_parameter,
    make_array,
    refuse_masked,
    zeros_for,
)


class Layer:
    """What nnext's own layers share: the lists. Other layers need not derive from it.

    ``params`` are trained; ``buffers`` are arrays that are saved and not trained, such as running
    statistics: none in most layers. One that has some puts them there after ``super().__init__``,
    names them in ``buffer_names`` and writes into them in place.

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

    param_names: ClassVar[tuple[str, ...]] = ()
    """What the parameters are called in files, in order; ``params.0`` and so on without."""

    buffer_names: ClassVar[tuple[str, ...]] = ()
    """What the ``buffers`` are called, in order; ``buffers.0`` and so on without."""

    counter_names: ClassVar[tuple[str, ...]] = ()
    """Attributes beside arrays that training changes, whole numbers, which checkpoints keep."""

    state_names: ClassVar[tuple[str, ...]] = ()
    """Attributes in which a run goes on from batch to batch, which checkpoints of it keep.

    Each is an array or None, which is a beginning, replaced and never written into, or one of
    NumPy's generators.
    """

    def __init__(self, *params: Array) -> None:
        for i, p in enumerate(params):
            check_parameter(f"params[{i}]", p)
        self.params: list[Array] = list(params)
        self.grads: list[Array] = [zeros_for(p) for p in params]
        self.buffers: list[Array] = []

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output and remember what ``backward`` needs."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def backward(self, *args: Any, **kwargs: Any) -> Any:
        """Write the gradients into ``grads`` and return the input's."""
        raise NotImplementedError(f"{type(self).__name__} does not define backward")

    def config(self) -> dict[str, Any]:
        """Return the options that make such a layer: ``type(layer)(*arrays, **layer.config())``.

        Returns
        -------
        dict
            Of what JSON knows: numbers, text, True, False, None, lists and dicts of these. Here
            they are the attributes that are named as arguments of the constructor. The arrays are
            ``params`` and then, where there are any, ``buffers``.
        """
        kept = {n: vars(self)[n] for n in signature(type(self)).parameters if n in vars(self)}
        return {name: value for name, value in kept.items() if not isinstance(value, np.ndarray)}

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the parameters and buffers by their names, such as ``"W"``."""
        return state_of(layer_arrays(self))

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Unmatched:
        """Write the numbers of a `state_dict` into the layer's own arrays.

        Parameters
        ----------
        state : mapping of str to array_like
        strict : bool
            Whether names that are missing or unexpected are an error.

        Returns
        -------
        Unmatched
            The names that were ``missing`` and ``unexpected``.

        Raises
        ------
        ValueError
            With all that does not fit: names, shapes, types, read-only arrays. Nothing has
            changed then.
        TypeError
            If `state` is no mapping.
        """
        return load_state(layer_arrays(self), state, strict, what=type(self).__name__)

    def _arguments(self) -> str:
        """Say what stands between the parentheses of ``repr``: here the sizes of the weights."""
        return ", ".join(map(str, self.params[0].shape)) if self.params else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._arguments()})"


class Joined(Layer):
    """A layer that is made of others: its arrays are theirs, in the order of `_parts`."""

    def _parts(self) -> Sequence[Layer]:
        raise NotImplementedError

    def _gather(self) -> None:
        """Take the parts' arrays; to be called when they are there."""
        self.params = [p for part in self._parts() for p in part.params]
        self.grads = [grad for part in self._parts() for grad in part.grads]

    # A copy takes the arrays of its own parts: joblib knows no two places of one array.
    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("params", "grads")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._gather()


def is_float(dtype: np.dtype[Any]) -> bool:
    """Say whether nnext can compute in this type, or stores it and computes in float32."""
    if dtype.kind == "f":  # the name of a type takes a microsecond
        return dtype.itemsize <= 8
    return dtype.kind == "V" and dtype.name == "bfloat16"


def as_numbers(name: str, value: ArrayLike) -> Array:
    """Return what the core could compute with as an array of its type, or raise a TypeError."""
    refuse_masked(name, value)
    array = make_array(name, value)
    if array.dtype.kind not in "biu" and not is_float(array.dtype):
        raise TypeError(
            f"{name}: cannot compute with type {array.dtype}; expected float32, float64, float16, "
            f"bfloat16, integers or booleans{'' if array.ndim else f', got {value!r}'}"
        )
    return array


def as_floats(name: str, value: ArrayLike) -> Array:
    """Return the same with whole numbers in float64: the very array if it is one of floats."""
    array = as_numbers(name, value)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


def as_shaped(name: str, value: ArrayLike, shape: tuple[int, ...], what: str) -> Array:
    """Return an array of floats of this shape, or raise a ValueError that says what it is of."""
    array = as_floats(name, value)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, {what}, got shape {array.shape}")
    return array


def check_parameter(name: str, p: Any) -> None:
    """Raise a TypeError that names the argument if `p` is not a NumPy array of floats."""
    refuse_masked(name, p)
    if not isinstance(p, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array of floats, got {type(p).__name__}")
    if not is_float(p.dtype):
        raise TypeError(f"{name}: expected a NumPy array of floats, got one of {p.dtype}")


def has_methods_of(thing: object, owner: type, *names: str) -> bool:
    """Say whether methods of an object are those of a class: not of a subclass, or its own."""
    kind, own = type(thing), vars(thing)
    return all(n not in own and getattr(kind, n) is getattr(owner, n) for n in names)


def check_weights(W: Array, b: Array | None = None) -> None:
    """Raise a TypeError or ValueError if `W` is not a matrix, or `b` not as long as its rows."""
    check_parameter("W", W)
    if W.ndim != 2:
        raise ValueError(f"W: expected a matrix, two dimensions, got shape {W.shape}")
    if b is None:
        return
    check_parameter("b", b)
    if b.shape != W.shape[1:]:
        raise ValueError(
            f"b: expected shape {W.shape[1:]}, one number for each column of W {W.shape}, "
            f"got shape {b.shape}"
        )


def no_attribute(module: str, name: str) -> AttributeError:
    """Return the error of a name that a module lacks, with what it is called here if it is known.

    Modules call it from their ``__getattr__``, which they hide from type checkers: these would take
    every name for one that is there.
    """
    message = f"module {module!r} has no attribute {name!r}"
    if name in ("Linear", "Dense"):
        message += (
            ": nnext.affine(input_size, output_size) makes such a layer with random weights, "
            "nnext.Affine(W, b) one of given arrays"
        )
    return AttributeError(message, name=name)


def adding_backward(layer: Any) -> Callable[..., Any]:
    """Return a ``backward`` that adds to a layer's gradients, whose own may write over them."""
    backward: Callable[..., Any] = layer.backward
    if not layer.params:
        return backward
    if has_parameter(backward, "accumulate"):
        return partial(backward, accumulate=True)

    def add(*dout: Any, **options: Any) -> Any:
        held = [(grad, grad.copy()) for grad in distinct(layer.grads)]
        dx = backward(*dout, **options)
        for grad, before in held:
            grad += before
        return dx

    return add


def distinct(grads: Sequence[Array]) -> list[Array]:
    """Return the arrays without those that are the memory of one before (of shared weights)."""
    return [grads[i] for i, (first, _) in enumerate(find_shared(grads)) if first == i]


def before_forward(layer: object) -> RuntimeError:
    """Return the error of a ``backward`` that has no ``forward`` to go back through."""
    name = type(layer).__name__
    return RuntimeError(f"{name}.backward was called before {name}.forward")
