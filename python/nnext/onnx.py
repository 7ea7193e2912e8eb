"""Models as ONNX files, for other programs to compute with.

It needs the package onnx: ``pip install "nnext-core[onnx]"``. What is written is inference:
`Dropout` does nothing, `BatchNorm` goes by its running statistics, and the output are the scores.
Numbers agree up to rounding: other programs add in another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from nnext import _nnext, layers, loss_layers
from nnext._gathered import check_gathered
from nnext._names import layer_arrays, model_arrays, places, shared_names
from nnext._putting_back import putting_back
from nnext._support import Array, require, whole_number
from nnext._whole_files import PathLike, file_name, replacing
from nnext.models import Sequential

__all__ = ["export"]

# Old enough for programs of 2022, new enough for all that is here.
_OPSET, _IR = 17, 8

_LARGEST = 2**31 - 1  # bytes that the format can hold


def export(
    model: Sequential,
    path: PathLike,
    input_shape: Sequence[int | None],
    output: Literal["scores", "probabilities"] = "scores",
) -> None:
    """Write a chain of layers to an ONNX file.

    Parameters
    ----------
    model : Sequential
        Its parameters are all float32 or all float64.
    path : path-like
        The file's name, used as it is. It is written whole or not at all.
    input_shape : sequence of int or None
        That of `x`; None for an axis that may have any length, such as ``(None, 64)``.
    output : {"scores", "probabilities"}
        What the file computes: `BaseModel.scores` or `BaseModel.predict_proba`.

    Raises
    ------
    ImportError
        If onnx is not installed; the message says how to install it.
    TypeError
        If the model is no `Sequential`, has parameters of other types, or a layer that ONNX is not
        known for.
    ValueError
        If an option cannot be used, the loss knows no probabilities, `input_shape` is not the
        model's, or the file would be larger than the format allows (2 GB).
    OSError
        If the file cannot be written.
    """
    onnx = require("onnx", "onnx", "nnext.onnx.export")
    if not isinstance(model, Sequential):
        raise TypeError(f"model: expected a Sequential, got {type(model).__name__}")
    if output not in ["scores", "probabilities"]:
        raise ValueError(f'output: expected "scores" or "probabilities", got {output!r}')
    shape = [_check_length(i, n) for i, n in enumerate(input_shape)]
    check_gathered(model)
    path = file_name(path)
    graph = _Graph(onnx, model, len(shape))
    value = "x"
    for place, layer in places(model):
        if layer is not model.loss_layer:
            value = _find(_LAYERS, place, layer)(graph, place, layer, value)
    value = _find(_LOSSES, "loss_layer", model.loss_layer)(graph, model.loss_layer, value, output)
    graph.add("Identity", [value], output)
    content = graph.finished(shape, output, _output_shape(model, shape, graph.input_type()))
    with replacing(path) as file:
        file.write(content)


class _Graph:
    """The nodes and arrays of a file, as they are gathered."""

    def __init__(self, onnx: Any, model: Sequential, axes: int) -> None:
        self._onnx = onnx
        self.axes = axes  # of what the last layer gave
        self._nodes: list[Any] = []
        self._arrays: dict[str, Array] = {}
        self._named = model_arrays(model)
        self._shared = shared_names(self._named)
        types = sorted({array.dtype.newbyteorder("=").name for array in self._named.values()})
        if types not in ([], ["float32"], ["float64"]):
            raise TypeError(
                f"model: expected parameters of float32 or of float64, got {', '.join(types)}"
            )
        self.dtype = np.dtype(types[0] if types else np.float32)
        self.takes_indices = isinstance(model.layers[0], layers.Embedding)

    def add(self, kind: str, inputs: Sequence[str], name: str = "", **options: Any) -> str:
        """Add a node and return the name of its output."""
        name = name or f"{kind}_{len(self._nodes)}"
        node = self._onnx.helper.make_node(kind, list(inputs), [name], **options)
        self._nodes.append(node)
        return name

    def constant(self, value: float) -> str:
        """Return the name of a number, in the model's type."""
        name = f"constant_{len(self._arrays)}"
        self._arrays[name] = np.array(value, self.dtype)
        return name

    def array(self, name: str) -> str:
        """Return the name of an array of the model; one that is shared is there once."""
        first, turned = self._shared.get(name, (name, False))
        self._arrays[first] = self._named[first]
        return self.add("Transpose", [first]) if turned else first

    def input_type(self) -> np.dtype[Any]:
        """Return the type of ``"x"``."""
        return np.dtype(np.int64) if self.takes_indices else self.dtype

    def finished(
        self, shape: Sequence[int | str], output: str, output_shape: Sequence[int | str]
    ) -> bytes:
        """Return the file of a graph from ``"x"`` to `output`."""
        if sum(array.nbytes for array in self._arrays.values()) > _LARGEST:
            raise ValueError("model: its parameters are more than the 2 GB that an ONNX file holds")
        helper = self._onnx.helper
        taken, given = map(helper.np_dtype_to_tensor_dtype, (self.input_type(), self.dtype))
        graph = helper.make_graph(
            self._nodes,
            "nnext",
            [helper.make_tensor_value_info("x", taken, shape)],
            [helper.make_tensor_value_info(output, given, output_shape)],
            [
                self._onnx.numpy_helper.from_array(
                    np.asarray(array, array.dtype.newbyteorder("="), order="C"), name
                )
                for name, array in self._arrays.items()
            ],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR,
            producer_name="nnext",
            producer_version=_nnext.__version__,
        )
        self._onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content


def _check_length(i: int, n: Any) -> int | str:
    if n is None:
        return f"axis{i}" if i else "N"
    length = whole_number(f"input_shape[{i}]", n, "a whole number or None")
    if length < 1:
        raise ValueError(f"input_shape[{i}]: expected a length of at least 1 or None, got {n}")
    return length


def _output_shape(
    model: Sequential, shape: Sequence[int | str], dtype: np.dtype[Any]
) -> list[int | str]:
    """Return the shape of the scores, from those of two inputs of other lengths."""
    with putting_back(model):
        found = [
            model.scores(np.zeros([free if isinstance(n, str) else n for n in shape], dtype)).shape
            for free in (1, 2)
        ]
    names = [n if isinstance(n, str) else "" for n in shape] + [""] * len(found[0])
    pairs = enumerate(zip(*found, strict=True))
    return [int(a) if a == b else names[i] or f"output_axis{i}" for i, (a, b) in pairs]


def _find(table: dict[type, Any], place: str, layer: Any) -> Any:
    """Return what writes a layer. A subclass is not taken for its parent."""
    if type(layer) not in table:
        raise TypeError(f"{place}: {type(layer).__name__} is a layer that ONNX is not known for")
    return table[type(layer)]


# Layers: each function adds nodes and returns the name of the output

_Writer = Callable[[_Graph, str, Any, str], str]


def _plain(kind: str, **options: Any) -> _Writer:
    def write(graph: _Graph, place: str, layer: Any, x: str) -> str:
        return graph.add(kind, [x], **options)

    return write


def _linear(graph: _Graph, place: str, layer: Any, x: str) -> str:
    W, *b = layer_arrays(layer)
    y = graph.add("MatMul", [x, graph.array(f"{place}.{W}")])
    return graph.add("Add", [y, graph.array(f"{place}.{b[0]}")]) if b else y


def _embedding(graph: _Graph, place: str, layer: Any, x: str) -> str:
    graph.axes += 1
    return graph.add("Gather", [graph.array(f"{place}.W"), x], axis=0)


def _flatten(graph: _Graph, place: str, layer: Any, x: str) -> str:
    graph.axes = 2
    return graph.add("Flatten", [x], axis=1)


def _layer_norm(graph: _Graph, place: str, layer: Any, x: str) -> str:
    arrays = [graph.array(f"{place}.{name}") for name in layer_arrays(layer)]
    return graph.add("LayerNormalization", [x, *arrays], axis=-1, epsilon=layer.eps)


def _batch_norm(graph: _Graph, place: str, layer: Any, x: str) -> str:
    """Add BatchNormalization, whose columns are the axis after the batch's, the last one here."""
    arrays = [graph.array(f"{place}.{name}") for name in layer_arrays(layer)]
    options = {"epsilon": layer.eps, "momentum": layer.momentum}
    last = graph.axes - 1
    if last == 1:
        return graph.add("BatchNormalization", [x, *arrays], **options)
    order = [0, last, *range(1, last)]
    turned = graph.add("Transpose", [x], perm=order)
    y = graph.add("BatchNormalization", [turned, *arrays], **options)
    return graph.add("Transpose", [y], perm=[order.index(i) for i in range(last + 1)])


def _leaky_relu(graph: _Graph, place: str, layer: Any, x: str) -> str:
    return graph.add("LeakyRelu", [x], alpha=layer.negative_slope)


def _silu(graph: _Graph, place: str, layer: Any, x: str) -> str:
    return graph.add("Mul", [x, graph.add("Sigmoid", [x])])


def _gelu(graph: _Graph, place: str, layer: Any, x: str) -> str:
    """Add ``x (1 + erf(x / √2)) / 2``, or the formula with tanh: Gelu itself is of opset 20."""
    if layer.approximate == "tanh":
        cube = graph.add("Mul", [x, graph.add("Mul", [x, x])])
        sum_ = graph.add("Add", [x, graph.add("Mul", [graph.constant(0.044715), cube])])
        scaled = graph.add("Mul", [graph.constant(math.sqrt(2 / math.pi)), sum_])
        bent = graph.add("Tanh", [scaled])
    else:
        bent = graph.add("Erf", [graph.add("Mul", [graph.constant(math.sqrt(0.5)), x])])
    half = graph.add("Mul", [graph.constant(0.5), x])
    return graph.add("Mul", [half, graph.add("Add", [graph.constant(1.0), bent])])


_LAYERS: dict[type, _Writer] = {
    layers.Affine: _linear,
    layers.BatchNorm: _batch_norm,
    layers.Dropout: _plain("Identity"),
    layers.Embedding: _embedding,
    layers.Flatten: _flatten,
    layers.GELU: _gelu,
    layers.LayerNorm: _layer_norm,
    layers.LeakyReLU: _leaky_relu,
    layers.MatMul: _linear,
    layers.ReLU: _plain("Relu"),
    layers.SiLU: _silu,
    layers.Sigmoid: _plain("Sigmoid"),
    layers.Softmax: _plain("Softmax", axis=-1),
    layers.Tanh: _plain("Tanh"),
}


# Losses: from what the last layer gives to the scores or probabilities


def _capped(graph: _Graph, softcap: float | None, scores: str) -> str:
    """Add ``softcap · tanh(scores / softcap)``."""
    if softcap is None:
        return scores
    cap = graph.constant(softcap)
    return graph.add("Mul", [cap, graph.add("Tanh", [graph.add("Div", [scores, cap])])])


def _softmax_loss(graph: _Graph, loss: Any, h: str, output: str) -> str:
    if output == "scores":
        return h
    return graph.add("Softmax", [_capped(graph, loss.options.softcap, h)], axis=-1)


def _linear_softmax_loss(graph: _Graph, loss: Any, h: str, output: str) -> str:
    scores = _capped(graph, loss.options.softcap, _linear(graph, "loss_layer", loss, h))
    return scores if output == "scores" else graph.add("Softmax", [scores], axis=-1)


def _sigmoid_loss(graph: _Graph, loss: Any, h: str, output: str) -> str:
    return h if output == "scores" else graph.add("Sigmoid", [h])


def _regression(graph: _Graph, loss: Any, h: str, output: str) -> str:
    if output != "scores":
        raise ValueError(f"output: the loss {type(loss).__name__} knows no probabilities")
    return h


_LOSSES: dict[type, Callable[[_Graph, Any, str, str], str]] = {
    loss_layers.AffineSoftmaxWithLoss: _linear_softmax_loss,
    loss_layers.SigmoidWithLoss: _sigmoid_loss,
    loss_layers.SoftmaxWithLoss: _softmax_loss,
    **dict.fromkeys(
        (
            loss_layers.AbsoluteError,
            loss_layers.HuberLoss,
            loss_layers.PoissonLoss,
            loss_layers.SquaredError,
        ),
        _regression,
    ),
}
