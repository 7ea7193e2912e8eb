"""What layers take and return while something runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Call:
    """One call of a layer's ``forward``, and of the ``backward`` that followed it.

    The arrays themselves are kept: who made what another took is told by identity.
    """

    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    grads: tuple[Any, ...] = ()  # what `backward` returned, one for each input that has one
    grad_norms: list[float] = field(default_factory=list)  # of the parameters' gradients
    dout_norm: float | None = None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the (first) output."""
        return np.shape(self.outputs[0])


@contextmanager
def tracing(layers: Iterable[Any]) -> Iterator[list[Call]]:
    """Give the list that calls of these layers go into; their methods are put back at the end.

    Raises
    ------
    TypeError
        If a layer takes no attribute, so that nothing can listen.
    """
    calls: list[Call] = []
    names = ("forward", "backward")
    layers = list({id(layer): layer for layer in layers}.values())
    before: list[dict[str, Any]] = []
    try:
        for layer in layers:
            if not hasattr(layer, "__dict__"):
                raise TypeError(f"{layer!r} has __slots__ and cannot be listened to")
            before.append({name: vars(layer)[name] for name in names if name in vars(layer)})
            layer.forward = _forward(layer, layer.forward, calls)
            layer.backward = _backward(layer, layer.backward, calls)
        yield calls
    finally:
        for layer, own in zip(layers, before, strict=False):
            for name in names:
                vars(layer).pop(name, None)
            vars(layer).update(own)


def norm(value: Any) -> float:
    """Return the Euclidean norm of any numbers, NaN if they are none."""
    try:
        return float(np.linalg.norm(np.asarray(value, np.float64).ravel()))
    except (TypeError, ValueError):
        return float("nan")


def _forward(layer: Any, forward: Callable[..., Any], calls: list[Call]) -> Callable[..., Any]:
    def traced(*args: Any, **options: Any) -> Any:
        returned = forward(*args, **options)
        outputs = returned if isinstance(returned, tuple) else (returned,)
        calls.append(Call(layer, args, outputs))
        return returned

    return traced


def _backward(layer: Any, backward: Callable[..., Any], calls: list[Call]) -> Callable[..., Any]:
    def traced(*douts: Any, **options: Any) -> Any:
        returned = backward(*douts, **options)
        call = next((c for c in reversed(calls) if c.layer is layer), None)
        if call is not None:
            call.grads = returned if isinstance(returned, tuple) else (returned,)
            call.grad_norms = [norm(grad) for grad in getattr(layer, "grads", [])]
            call.dout_norm = norm(douts[0] if douts else 1.0)
        return returned

    return traced
