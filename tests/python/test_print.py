"""Pictures in print: what differs without colours, what can be read, nothing over anything else."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest

from nnext import ReLU, Sequential, affine, nodes
from nnext.callbacks import RecordParameters
from nnext.history import History
from nnext.models import TwoLayerNet

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Annotation, Text

from nnext import plotting

COLUMN, PAGE = 85 / 25.4, 170 / 25.4  # inches
RNG = np.random.default_rng(0)
MODEL_T, MODEL_X = np.arange(12) % 3, RNG.normal(size=(12, 2)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture.png"


def drawn_texts(figure):
    """The texts that show, and the middles and sizes of their boxes, turned as they are."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    hidden = set()  # ticks beyond the limits have texts too, which are not drawn
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high or not axis.axes.axison:
                hidden |= {tick.label1, tick.label2}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    found = [t for t in found if t not in hidden]
    boxes = []
    for text in found:
        angle = text.get_rotation()
        text.set_rotation(0)
        flat = text.get_window_extent(renderer)
        text.set_rotation(angle)
        box = text.get_window_extent(renderer)
        middle = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        boxes.append((middle, flat.width / 2, flat.height / 2, math.radians(angle)))
    return list(zip(found, boxes, strict=True))


def shadow(box, axis):
    (x, y), a, b, angle = box
    along = math.cos(angle) * axis[0] + math.sin(angle) * axis[1]
    across = -math.sin(angle) * axis[0] + math.cos(angle) * axis[1]
    middle, reach = x * axis[0] + y * axis[1], a * abs(along) + b * abs(across)
    return middle - reach, middle + reach


def overlap(first, second, slack=2.0):
    axes = [(math.cos(t + u), math.sin(t + u)) for *_, t in (first, second) for u in (0, np.pi / 2)]
    return all(
        min(shadow(first, axis)[1], shadow(second, axis)[1])
        > max(shadow(first, axis)[0], shadow(second, axis)[0]) + slack
        for axis in axes
    )


def assert_readable(figure, width):
    """No text lies over another or beyond the figure; printed so wide, all have seven points."""
    shown = drawn_texts(figure)
    for (one, a), (two, b) in combinations(shown, 2):
        assert not overlap(a, b), (one.get_text(), two.get_text())
    for text, box in shown:
        for axis, side in (((1, 0), figure.bbox.width), ((0, 1), figure.bbox.height)):
            low, high = shadow(box, axis)
            assert -2 <= low <= high <= side + 2, text.get_text()
        points = text.get_fontsize() * width / figure.get_size_inches()[0]
        assert points >= 6.95, (text.get_text(), points)


def test_the_overlap_of_turned_texts_is_found():
    level, turned = ((0, 0), 20, 2, 0.0), ((0, 12), 20, 2, math.pi / 4)
    assert overlap(level, ((0, 1), 5, 2, 0.0))
    assert not overlap(level, ((0, 5), 20, 2, 0.0))
    assert overlap(level, turned)
    assert not overlap(turned, ((-16, 16), 20, 2, math.pi / 4))  # though upright boxes would


# Losses


def history(epochs, **metrics):
    made = History()
    for epoch in range(epochs):
        for k in range(2):
            made.batches += 10
            made.add_point(2.0 / (1 + epoch + k / 2))
        made.add_epoch(1.0, 0.1)
        made.set_metrics({n: v[epoch] for n, v in metrics.items() if v[epoch] is not None})
    return made


def curves(epochs, count):
    return {f"metric_{k}": np.linspace(0.3, 0.9 + k / 99, epochs).tolist() for k in range(count)}


@pytest.mark.parametrize("epochs", [1, 12, 300])
@pytest.mark.parametrize("count", [2, 4, 5, 20])
def test_lines_differ_without_colours(path, epochs, count):
    figure = plotting.plot_loss(history(epochs, **curves(epochs, count)), path=path)
    lines = figure.axes[1].lines
    looks = {(line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == count
    if count > 4:
        assert all(np.size(line.get_markevery()) for line in lines)
        assert all(np.any(line.get_markevery()) for line in lines)


@pytest.mark.parametrize("epochs", [1, 12, 300])
def test_a_panel_of_losses_is_readable_in_a_column(path, epochs):
    values = np.linspace(1, 2, epochs).tolist()
    with_gaps = [None, *values[1:-1], math.nan] if epochs > 1 else values
    made = history(epochs, val_loss=values, accuracy=with_gaps, **curves(epochs, 7))
    figure = plotting.plot_loss(made, path=path)
    assert_readable(figure, 2 * COLUMN)
    one = plotting.plot_loss(history(epochs, val_loss=values), path=path)
    assert_readable(one, COLUMN)
    low, high = (ax.get_window_extent().height for ax in (figure.axes[1], one.axes[0]))
    assert low > 0.7 * high  # the legend takes no place of the lines


# Classes


@pytest.mark.parametrize("classes", [2, 3, 9, 12])
def test_classes_differ_without_colours(path, classes):
    angle = 2 * np.pi * np.arange(classes) / classes
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    model = Sequential([affine(2, classes, seed=0)])
    model.params[0][...] = 5 * x.T  # each class lies around its point
    figure = plotting.plot_decision_boundary(model, x, np.arange(classes), path=path)
    (ax,) = figure.axes
    looks = {
        (line.get_marker(), to_rgb(line.get_markerfacecolor()) == (1, 1, 1)) for line in ax.lines
    }
    assert len(looks) == classes
    numbers = {int(text.get_text()): text.get_position() for text in ax.texts}
    assert sorted(numbers) == list(range(classes))
    assert [model.predict(np.array([numbers[k]], np.float32))[0] for k in numbers] == [*numbers]
    for line, place in ((line, p) for line in ax.lines for p in numbers.values()):
        assert np.hypot(*(np.concatenate(line.get_data()) - place)) > 0.05
    grey = np.array([0.299, 0.587, 0.114])
    for line in ax.lines:
        face, edge = (
            np.dot(to_rgb(c), grey)
            for c in (line.get_markerfacecolor(), line.get_markeredgecolor())
        )
        assert abs(face - edge) > 0.25
    assert_readable(figure, COLUMN)


def test_a_region_without_room_has_no_number(path):
    model = Sequential([affine(2, 2, seed=0)])
    model.params[0][...], model.params[1][...] = [[0, 1], [0, 0]], [0, -0.9]
    x = np.array([[-1, -1], [1, 1]], np.float32)  # class 1 is what is beyond 0.9, up to 1.2
    (ax,) = plotting.plot_decision_boundary(model, x, [0, 0], path=path).axes
    assert [text.get_text() for text in ax.texts] == ["0", "1"]
    model.params[1][...] = [0, -1.15]
    (ax,) = plotting.plot_decision_boundary(model, x, [0, 0], path=path).axes
    assert [text.get_text() for text in ax.texts] == ["0"]


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize(("classes", "width"), [(2, COLUMN), (3, COLUMN), (10, PAGE), (30, PAGE)])
def test_a_confusion_matrix_is_readable(path, classes, width, names):
    t = RNG.integers(0, classes, 4000)
    y = np.where(RNG.random(4000) < 0.8, t, RNG.integers(0, classes, 4000))
    called = [f"a class with a name too long: {k}" for k in range(classes)] if names else None
    figure = plotting.plot_confusion_matrix(y, t, class_names=called, path=path)
    if names:
        # A name as long as this takes more than the matrix itself.
        width *= 1.5 if classes == 2 or classes == 3 else 1.25
        shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert shown[1] == "a class with\u2026too long: 1"
    assert_readable(figure, width)


@pytest.mark.parametrize("wrong", [0, 3, 40])
def test_predictions_are_readable_on_a_page(path, wrong):
    t, proba = np.zeros(60, int), np.tile(np.float32([0.75, 0.25]), (60, 1))
    proba[:wrong] = proba[:wrong, ::-1]
    figure = plotting.plot_predictions(RNG.random((60, 8, 8)), t, proba, path=path)
    assert_readable(figure, PAGE)
    said = [text.get_text() for text, _ in drawn_texts(figure)]
    assert said.count("0  (75 %)") == 40 - wrong
    assert said.count("1  (75 %)\ntrue: 0") == wrong + min(wrong, 20)  # words tell them, not red


# Numbers


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30, 1e299])
def test_residuals_of_every_size_are_readable(path, scale):
    t = scale * RNG.normal(size=50)
    figure = plotting.plot_residuals(t, 0.5 * t, unit="m", path=path)
    assert_readable(figure, COLUMN)
    size = float(figure._suptitle.get_text().split()[-1])
    assert size == pytest.approx(scale * np.sqrt(np.mean((t / (scale or 1) / 2) ** 2)), rel=0.01)
    with pytest.raises(ValueError, match=r"y: expected numbers up to 1e300, got 1e\+308"):
        plotting.plot_residuals([1.0], [-1e308], path=path)


def record(gradients, count=2):
    """Make up what was recorded, from the scale of the gradients of each epoch."""
    made = RecordParameters()
    made.epochs = list(range(1, len(gradients) + 1))
    made.names = [f"{k}: Affine (2, 4)" for k in range(count)]
    shape = np.array([-2, -1, -0.5, 0, 0.5, 1, 2])
    made.values = [[shape + k for _ in gradients] for k in range(count)]
    scaled = [s * shape if np.isfinite(s) else np.full(7, s) for s in gradients]
    made.gradients = [scaled for _ in range(count)]
    return made


@pytest.mark.parametrize(
    ("gradients", "scale"),
    [
        ([0.0, 0.0, 0.0], "linear"),
        ([1e-30, 2e-30, 1e-30], "linear"),
        ([1e30, 2e30, 1e30], "linear"),
        ([1.0, 0.0, 1e3], "linear"),
        ([1e30, 1.0, 1e-30], "symlog"),
        ([1.0, 0.0, 1.1e3], "symlog"),
        ([math.inf, math.nan, math.nan], "linear"),
        ([1.0], "linear"),
    ],
)
def test_gradients_of_every_size_are_readable(path, gradients, scale):
    figure = plotting.plot_parameters(record(gradients), path=path)
    assert figure.axes[1].get_yscale() == scale
    assert_readable(figure, PAGE)
    nowhere = not np.isfinite(gradients).any()
    assert [t.get_text() for t in figure.axes[1].texts] == ["nowhere finite"] * nowhere


def test_an_epoch_between_gaps_is_seen(path):
    figure = plotting.plot_parameters(record([1.0, math.nan, 2.0, math.inf, 1.0, 1.0]), path=path)
    ax = figure.axes[1]
    x, y = ax.lines[0].get_data()
    there = np.isfinite(y)
    np.testing.assert_allclose(x[there], [0.7, 1.3, 2.7, 3.3, 5, 6])
    np.testing.assert_allclose(ax.collections[0].get_datalim(ax.transData).y1, 4)


def test_many_parameters_go_into_columns_of_a_picture_that_can_be_written(path):
    figure = plotting.plot_parameters(record([1.0, 2.0], count=13), path=path)
    titles = [ax.get_title("right") for ax in figure.axes if ax.axison]
    assert len(titles) == 26
    assert set(titles) == {f"{k}: Affine (2, 4)" for k in range(13)}
    assert sum(ax.get_xlabel() == "epochs" for ax in figure.axes) == 4
    assert figure.get_size_inches()[1] < 16


def test_a_picture_is_written_however_tall(tmp_path):
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    from nnext._figures import finish

    finish(Figure((1, 400)), tmp_path / "tall.png")
    assert imread(tmp_path / "tall.png").shape[0] == 30_000


# Graphs


def chain(count):
    layers = [affine(2, 8, seed=0)]
    while len(layers) < count - 1:
        layers += [ReLU(), affine(8, 8, seed=len(layers))]
    return Sequential([*layers[: count - 1], affine(8, 3, seed=1)])


def three_inputs():
    first, second, third = nodes.Add(), nodes.Multiply(), nodes.Add()
    x, y, z = RNG.normal(size=(3, 3, 4))

    def run():
        third.forward(second.forward(first.forward(x, y), z), x)
        dout, _ = third.backward(np.ones((3, 4)))
        first.backward(second.backward(dout)[0])

    return [first, second, third], run


def branches(ways=3, long=2):
    branch, joins = nodes.Branch(ways), [nodes.Add() for _ in range(ways - 1)]
    own = [[nodes.Multiply(), *(nodes.Repeat(1) for _ in range(long * k))] for k in range(ways)]
    x, weights = RNG.normal(size=(1, 4)), RNG.normal(size=(ways, 1, 4))

    def run():
        ends = []
        for value, (first, *rest), w in zip(branch.forward(x), own, weights, strict=True):
            y = first.forward(value, w)
            for node in rest:
                y = node.forward(y)
            ends.append(y)
        y = ends[0]
        for join, end in zip(joins, ends[1:], strict=True):
            y = join.forward(y, end)
        back, dout = [], np.ones_like(y)
        for join in joins[::-1]:
            dout, last = join.backward(dout)
            back.insert(0, last)
        douts = []
        for (first, *rest), dy in zip(own, [dout, *back], strict=True):
            for node in rest[::-1]:
                dy = node.backward(dy)
            douts.append(first.backward(dy)[0])
        branch.backward(*douts)

    return [branch, *joins, *(node for way in own for node in way)], run


def graph(what, path):
    if isinstance(what, Sequential):
        return plotting.plot_graph(what, MODEL_X, MODEL_T, path=path)
    listed, run = what
    return plotting.plot_graph(listed, run=run, path=path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TwoLayerNet(2, 4, 3, seed=0),
        lambda: chain(40),
        three_inputs,
        branches,
        lambda: branches(2, 12),
        lambda: branches(4, 3),
    ],
    ids=["two layers", "forty layers", "three inputs", "branches", "a long branch", "four ways"],
)
def test_a_graph_is_readable_on_a_page(path, make):
    figure = graph(make(), path)
    assert_readable(figure, PAGE)
    shown = drawn_texts(figure)
    (ax,) = figure.axes
    extents = [box.get_window_extent() for box in ax.patches]
    boxes = [
        (((b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2), b.width / 2, b.height / 2, 0.0) for b in extents
    ]
    for one, two in combinations(boxes, 2):
        assert not overlap(one, two)
    drawn = [np.column_stack(line.get_data()) for line in ax.lines]
    arrows = [tip for tip in ax.texts if isinstance(tip, Annotation)]
    drawn += [np.array([tip.xyann, tip.xy]) for tip in arrows]
    stretches = []
    for first, last in (pair for line in drawn for pair in pairwise(ax.transData.transform(line))):
        along = last - first
        angle = math.atan2(along[1], along[0])
        stretches.append(((first + last) / 2, np.hypot(*along) / 2, 0.5, angle))
    assert len(stretches) >= len(boxes) - 1
    for stretch in stretches:  # arrows end at the boxes of their nodes, and go through no number
        assert not any(overlap(stretch, box) for box in boxes)
        for text, box in shown:
            assert not overlap(stretch, box, slack=0.0), text.get_text()


def test_a_long_model_goes_on_in_rows(path):
    figure = graph(chain(40), path)
    width, height = figure.get_size_inches()
    assert width <= 7.25
    assert height > 2 * width
    boxes = [box.get_extents() for box in figure.axes[0].patches]
    assert len(boxes) == 40 + 39 - 39 + 4  # layers, loss layer, x, t and loss
