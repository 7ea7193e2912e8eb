"""The drawing of a computational graph: values go forward, gradients come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext._figures import PathLike, figure_for, finish
from nnext._graph_layout import APART, LINE, Edge, Label, Node, beside, lay_out
from nnext._putting_back import putting_back
from nnext._support import has_parameter, require
from nnext._trace import Call, norm, tracing
from nnext.base_model import BaseModel, LayerLike, as_input

_FORWARD, _BACKWARD = "#222222", "#B34E00"  # the second colour, dark enough for small letters


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
    another returned is joined to it. What is wider than a printed page goes on in a row below.

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


def _graph_of(calls: list[Call], names: dict[int, str], sink: str) -> tuple[list[Node], list[Edge]]:
    """Return nodes with their columns, and edges; the bends of long edges are among the nodes."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    made: dict[int, tuple[Node, Call]] = {}  # who returned this array last
    given: dict[int, Node] = {}
    open_: dict[int, tuple[Node, Call, Any]] = {}  # returned, and taken by nobody yet
    for call in calls:
        node = _layer_node(call)
        nodes.append(node)
        for i, value in enumerate(call.inputs):
            shape = str(np.shape(value)) if np.ndim(value) else "number"
            grad = call.grads[i] if i < len(call.grads) else None
            edge = Edge([], shape, "" if grad is None else f"{norm(grad):.3g}")
            known = isinstance(value, np.ndarray | np.generic)
            if known and id(value) in made:
                source, _ = made[id(value)]
                open_.pop(id(value), None)
                node.column = max(node.column, source.column + 1)
            elif known and id(value) in given:
                source = given[id(value)]
            else:
                name = names.get(id(value), "input" if np.ndim(value) else f"{value:.4g}")
                source = Node([name], kind="value", column=-1)
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
        end = Node(shown, kind="value", column=node.column + 1)
        nodes.append(end)
        shape = str(np.shape(value)) if np.ndim(value) else "number"
        grad = "" if call.dout_norm is None else f"{call.dout_norm:.3g}"
        edges.append(Edge([node, end], shape, grad))
    for source in given.values():
        source.column = min(e.path[-1].column for e in edges if e.path[0] is source) - 1
    for edge in edges:
        first, last = edge.path
        bends = [Node([], kind="bend", column=c) for c in range(first.column + 1, last.column)]
        edge.path[1:1] = bends
        nodes += bends
    return nodes, edges


def _layer_node(call: Call) -> Node:
    kind: Any = type(call.layer)
    own = kind.__repr__ is not object.__repr__
    text = repr(call.layer) if own else kind.__name__
    shapes = [str(np.shape(p)) for p in getattr(call.layer, "params", [])]
    if shapes and len(call.grad_norms) == len(shapes):
        notes = [f"{s} grad {g:.3g}" for s, g in zip(shapes, call.grad_norms, strict=True)]
    else:
        notes = shapes
    return Node([text if len(text) <= 30 else kind.__name__], notes)


def _draw(nodes: list[Node], edges: list[Edge], path: PathLike | None, ax: Any) -> Any:
    labels, width, height = lay_out(nodes, edges)
    width, height = max(width, 5.2), height + 0.35
    given = ax
    if ax is None:
        figure = figure_for(path, (width, height))
        figure.set_layout_engine("none")
        ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(-height, 0), aspect="equal")
    ax.axis("off")
    for edge in edges:
        off = APART if edge.grad else 0.0
        _arrow(ax, beside(edge.line, off), _FORWARD, "-")
        if edge.grad:
            _arrow(ax, beside(edge.line, -off)[::-1], _BACKWARD, "--")
    for node in nodes:
        if node.kind != "bend":
            _draw_node(ax, node)
    for label in labels:
        _draw_label(ax, label)
    low = 0.18 - height
    ax.text(0.15, low, "\u2192 forward: shape", fontsize=8, color=_FORWARD, va="center")
    note = "\u2190 (dashed) backward: size (norm) of the gradient"
    ax.text(1.6, low, note, fontsize=8, color=_BACKWARD, va="center")
    return finish(ax.figure, path, given)


def _draw_node(ax: Any, node: Node) -> None:
    fancy = require("matplotlib.patches", "plot", "Drawing").FancyBboxPatch
    w, h = node.width, node.height
    style = "round,pad=0,rounding_size=0.2" if node.kind == "value" else "square,pad=0"
    face = "white" if node.kind == "value" else "#EEEEEE"
    box = {"boxstyle": style, "facecolor": face, "edgecolor": _FORWARD, "linewidth": 1.1}
    ax.add_patch(fancy((node.x - w / 2, node.y - h / 2), w, h, zorder=3, **box))
    lines = [(text, _FORWARD) for text in node.text] + [(text, _BACKWARD) for text in node.notes]
    for k, (text, color) in enumerate(lines):
        y = node.y + LINE * ((len(lines) - 1) / 2 - k)
        text = text.replace("$", r"\$")
        ax.text(node.x, y, text, fontsize=8, color=color, ha="center", va="center", zorder=4)


def _draw_label(ax: Any, label: Label) -> None:
    halo = require("matplotlib.patheffects", "plot", "Drawing").withStroke
    color = _FORWARD if label.forward else _BACKWARD
    middle = {"ha": "center", "va": "center_baseline", "rotation_mode": "anchor"}
    ax.text(
        *(label.x, label.y, label.text),
        fontsize=8,
        color=color,
        rotation=label.degrees,
        zorder=5,
        path_effects=[halo(linewidth=2, foreground="white")],  # where it must cross a line
        **middle,
    )


def _arrow(ax: Any, line: list[tuple[float, float]], color: str, style: str) -> None:
    points = np.array(line)
    ax.plot(*points[:-1].T, color=color, linestyle=style, linewidth=1.1)
    tip = {"arrowstyle": "-|>", "color": color, "linestyle": style, "linewidth": 1.1}
    tip |= {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
    ax.annotate("", xy=points[-1], xytext=points[-2], arrowprops=tip)
