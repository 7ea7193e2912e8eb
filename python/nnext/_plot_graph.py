"""The drawing of a computational graph: values go forward, gradients come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext._figures import COLORS, PathLike, figure_for, finish
from nnext._putting_back import putting_back
from nnext._support import has_parameter, require
from nnext._trace import Call, norm, tracing
from nnext.base_model import BaseModel, LayerLike, as_input

# A unit of the drawing is an inch, so that what a text takes is known.
_LETTER, _LINE, _ROW = 0.078, 0.17, 1.15
_FORWARD, _BACKWARD = "#222222", COLORS[1]


@dataclass
class _Node:
    text: list[str]
    notes: list[str] = field(default_factory=list)  # of gradients, in their colour
    column: int = 0
    y: float = 0.0
    kind: str = "layer"  # or "value", or "bend": a place that a long edge goes through

    @property
    def width(self) -> float:
        if self.kind == "bend":
            return 0.0
        return max(0.5, _LETTER * max(map(len, self.text + self.notes)) + 0.24)

    @property
    def height(self) -> float:
        return 0.0 if self.kind == "bend" else _LINE * len(self.text + self.notes) + 0.2


@dataclass
class _Edge:
    path: list[_Node]  # from where, bends, to where
    shape: str
    grad: str = ""


def plot_graph(
    model: BaseModel | Iterable[LayerLike],
    x: ArrayLike | None = None,
    t: ArrayLike | None = None,
    *,
    run: Callable[[], Any] | None = None,
    path: PathLike | None = None,
    ax: Any = None,
) -> Any:
    """Draw the computational graph of a model, or of nodes, as the book does.

    Black arrows go forward, with the shape of what goes along. Dashed ones in a second colour come
    back, with the size of the gradient, its Euclidean norm. Boxes are layers with the shapes of
    their parameters, each with the size of its gradient below. Whoever takes the very array that
    another returned is joined to it.

    Parameters
    ----------
    model : BaseModel, or iterable of nodes
        Run once in training mode, forward and back, and left as it was.
    x, t : array_like
        A few samples and their labels, for a model.
    run : callable, optional
        For nodes: what calls their ``forward`` and, for gradients, their ``backward``.
    path : path-like, optional
        The picture to write; left out, a window opens.
    ax : matplotlib.axes.Axes, optional
        Draw there.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError, TypeError
        If what is to be run is missing, or no node was.

    Examples
    --------
    >>> from nnext.nodes import Multiply
    >>> node = Multiply()
    >>> def run():
    ...     node.forward(2.0, 3.0)
    ...     node.backward(1.0)
    >>> figure = plot_graph([node], run=run)  # doctest: +SKIP
    """
    names: dict[int, str] = {}
    if isinstance(model, BaseModel):
        if x is None or t is None or run is not None:
            raise ValueError("x, t: a model needs both, a few samples and their labels, and no run")
        inputs, labels = as_input(x, model.params), np.asarray(t)
        names = {id(inputs): "x", id(labels): "t"}
        layers = [*model.layers, model.loss_layer]
        whole, sink = [model, *layers], "loss"
        runs = _training(model, inputs, labels)
    else:
        layers = list(model)
        if run is None or x is not None or t is not None:
            raise ValueError("run: nodes need a function that calls them, and neither x nor t")
        whole, sink, runs = layers, "output", run
    with ExitStack() as stack:
        for part in whole:
            stack.enter_context(putting_back(part))
            for grad in getattr(part, "grads", []):
                stack.callback(np.copyto, grad, np.array(grad))
        calls = stack.enter_context(tracing(layers))
        runs()
    if not calls:
        raise ValueError("run: no forward of the nodes was called")
    nodes, edges = _graph_of(calls, names, sink)
    return _draw(nodes, edges, path, ax)


def _training(model: BaseModel, x: Any, t: Any) -> Callable[[], Any]:
    options = {"input_grad": True} if has_parameter(model.backward, "input_grad") else {}

    def run() -> None:
        model.forward(x, t)
        model.backward(**options)

    return run


def _graph_of(
    calls: list[Call], names: dict[int, str], sink: str
) -> tuple[list[_Node], list[_Edge]]:
    """Return nodes with their columns, and edges; the bends of long edges are among the nodes."""
    nodes: list[_Node] = []
    edges: list[_Edge] = []
    made: dict[int, tuple[_Node, Call]] = {}  # who returned this array last
    given: dict[int, _Node] = {}
    open_: dict[int, tuple[_Node, Call, Any]] = {}  # returned, and taken by nobody yet
    for call in calls:
        node = _layer_node(call)
        nodes.append(node)
        for i, value in enumerate(call.inputs):
            shape = str(np.shape(value)) if np.ndim(value) else "number"
            grad = call.grads[i] if i < len(call.grads) else None
            edge = _Edge([], shape, "" if grad is None else f"{norm(grad):.3g}")
            known = isinstance(value, np.ndarray | np.generic)
            if known and id(value) in made:
                source, _ = made[id(value)]
                open_.pop(id(value), None)
                node.column = max(node.column, source.column + 1)
            elif known and id(value) in given:
                source = given[id(value)]
            else:
                name = names.get(id(value), "input" if np.ndim(value) else f"{value:.4g}")
                source = _Node([name], kind="value", column=-1)
                nodes.append(source)
                given[id(value)] = source
            edge.path = [source, node]
            edges.append(edge)
        node.column = max(node.column, 1)
        for value in call.outputs:
            made[id(value)] = node, call
            open_[id(value)] = node, call, value
    for node, call, value in open_.values():
        shown = [sink] if np.ndim(value) else [sink, f"{float(value):.4g}"]
        end = _Node(shown, kind="value", column=node.column + 1)
        nodes.append(end)
        shape = str(np.shape(value)) if np.ndim(value) else "number"
        grad = "" if call.dout_norm is None else f"{call.dout_norm:.3g}"
        edges.append(_Edge([node, end], shape, grad))
    for source in given.values():
        source.column = min(e.path[-1].column for e in edges if e.path[0] is source) - 1
    for edge in edges:
        first, last = edge.path
        bends = [_Node([], kind="bend", column=c) for c in range(first.column + 1, last.column)]
        edge.path[1:1] = bends
        nodes += bends
    return nodes, edges


def _layer_node(call: Call) -> _Node:
    kind: Any = type(call.layer)
    own = kind.__repr__ is not object.__repr__
    text = repr(call.layer) if own else kind.__name__
    shapes = [str(np.shape(p)) for p in getattr(call.layer, "params", [])]
    if shapes and len(call.grad_norms) == len(shapes):
        notes = [f"{s} grad {g:.3g}" for s, g in zip(shapes, call.grad_norms, strict=True)]
    else:
        notes = shapes
    return _Node([text if len(text) <= 30 else kind.__name__], notes)


def _place(nodes: list[_Node], edges: list[_Edge]) -> tuple[dict[int, float], float]:
    """Set the heights of the nodes; return the middles of the columns, and the whole width."""
    columns: dict[int, list[_Node]] = {}
    before: dict[int, list[_Node]] = {id(node): [] for node in nodes}
    for node in nodes:
        columns.setdefault(node.column, []).append(node)
    for edge in edges:
        for first, second in zip(edge.path, edge.path[1:], strict=False):
            before[id(second)].append(first)
    apart = max(_ROW, 0.35 + max(node.height for node in nodes))
    for number in sorted(columns):
        wanted: dict[int, float] = {}
        for node in columns[number]:
            # Level with where it comes from; a value from nowhere is to bend no chain.
            given = before[id(node)]
            chain = [n.y for n in given if n.kind != "value"] or [n.y for n in given]
            wanted[id(node)] = sum(chain) / len(chain) if chain else -math.inf
        columns[number].sort(key=lambda node, wanted=wanted: -wanted[id(node)])  # type: ignore[misc]
        lowest = math.inf
        for node in columns[number]:
            free = lowest - apart if math.isfinite(lowest) else math.inf
            node.y = min(wanted[id(node)], free)
            if math.isinf(node.y):
                node.y = 0.0 if math.isinf(free) else free
            lowest = node.y
    label = max(_LETTER * len(text) for e in edges for text in (e.shape, e.grad))
    middles, right = {}, 0.15
    for number in sorted(columns):
        width = max(node.width for node in columns[number])
        middles[number] = right + width / 2
        right += width + label + 0.45
    return middles, right - label - 0.3


def _draw(nodes: list[_Node], edges: list[_Edge], path: PathLike | None, ax: Any) -> Any:
    middles, width = _place(nodes, edges)
    width = max(width, 5.2)
    top = 0.3 + max(node.y + node.height / 2 for node in nodes)
    low = min(node.y - node.height / 2 for node in nodes) - 0.4
    given = ax
    if ax is None:
        figure = figure_for(path, (width, top - low + 0.2))
        figure.set_layout_engine("none")
        ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(low - 0.2, top), aspect="equal")
    ax.axis("off")
    for edge in edges:
        _draw_edge(ax, edge, middles)
    for node in nodes:
        if node.kind != "bend":
            _draw_node(ax, node, middles[node.column])
    ax.text(0.15, low, "\u2192 forward: shape", fontsize=8, color=_FORWARD, va="center")
    note = "\u2190 (dashed) backward: size (norm) of the gradient"
    ax.text(1.6, low, note, fontsize=8, color=_BACKWARD, va="center")
    return finish(ax.figure, path, given)


def _draw_node(ax: Any, node: _Node, x: float) -> None:
    w, h = node.width, node.height
    style = "round,pad=0,rounding_size=0.2" if node.kind == "value" else "square,pad=0"
    face = "white" if node.kind == "value" else "#EEEEEE"
    box = {"boxstyle": style, "facecolor": face, "edgecolor": _FORWARD, "linewidth": 1.1}
    corner, fancy = (
        (x - w / 2, node.y - h / 2),
        require("matplotlib.patches", "plot", "Drawing").FancyBboxPatch,
    )
    ax.add_patch(fancy(corner, w, h, zorder=3, **box))
    lines = [(text, _FORWARD) for text in node.text] + [(text, _BACKWARD) for text in node.notes]
    for k, (text, color) in enumerate(lines):
        y = node.y + _LINE * ((len(lines) - 1) / 2 - k)
        text = text.replace("$", r"\$")
        ax.text(x, y, text, fontsize=8, color=color, ha="center", va="center", zorder=4)


def _draw_edge(ax: Any, edge: _Edge, middles: dict[int, float]) -> None:
    """Draw both ways side by side, and the labels along the first stretch."""
    points = []
    for node in edge.path[:-1]:
        points.append((middles[node.column] + node.width / 2, node.y))
    last = edge.path[-1]
    points.append((middles[last.column] - last.width / 2, last.y))
    line = np.array(points)
    along = line[1] - line[0]
    angle = float(np.degrees(np.arctan2(along[1], along[0])))
    across = np.array([-along[1], along[0]]) / np.hypot(*along)
    off = 0.045 * across if edge.grad else 0.0 * across
    _arrow(ax, line + off, _FORWARD, "-")
    options = {"fontsize": 8, "ha": "center", "rotation": angle, "rotation_mode": "anchor"}
    middle = (line[0] + line[1]) / 2
    ax.text(*(middle + off + 0.05 * across), edge.shape, color=_FORWARD, va="bottom", **options)
    if edge.grad:
        _arrow(ax, (line - off)[::-1], _BACKWARD, "--")
        ax.text(*(middle - off - 0.05 * across), edge.grad, color=_BACKWARD, va="top", **options)


def _arrow(ax: Any, line: Any, color: str, style: str) -> None:
    ax.plot(*line[:-1].T, color=color, linestyle=style, linewidth=1.1)
    tip = {"arrowstyle": "-|>", "color": color, "linestyle": style, "linewidth": 1.1}
    tip |= {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
    ax.annotate("", xy=line[-1], xytext=line[-2], arrowprops=tip)
