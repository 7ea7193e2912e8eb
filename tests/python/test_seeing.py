"""Pictures of models and what they learned, the summary with shapes, the history as a frame."""

import math
import sys

import numpy as np
import pytest

from nnext import SGD, Affine, Embedding, ReLU, Sequential, SigmoidWithLoss, Trainer, affine, nodes
from nnext.callbacks import RecordParameters
from nnext.history import History
from nnext.layers import Dropout
from nnext.models import TwoLayerNet

POINTS = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
LABELS = np.arange(12) % 3


@pytest.fixture
def plotting():
    pytest.importorskip("matplotlib")
    from nnext import plotting

    return plotting


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture.png"


def texts(ax):
    return [text.get_text() for text in ax.texts]


def state(model):
    """Return what a model remembers, as far as it can be compared."""
    layers = [*model.layers, model.loss_layer]
    return [(list(vars(layer)), [g.copy() for g in layer.grads]) for layer in layers]


def assert_untouched(model, before):
    for (names, grads), (kept, numbers) in zip(state(model), before, strict=True):
        assert names == kept
        for a, b in zip(grads, numbers, strict=True):
            np.testing.assert_array_equal(a, b)


# Confusion


def test_confusion_counts_and_shares_without_ignored_labels(plotting, path):
    t, y = [0, 0, 0, 1, 1, -1], [0, 0, 1, 1, 1, 0]
    figure = plotting.plot_confusion_matrix(y, t, class_names=["cat", "dog"], path=path)
    ax = figure.axes[0]
    assert texts(ax) == ["2\n67 %", "1\n33 %", "0\n0 %", "2\n100 %"]
    assert ax.get_title() == "4 of 5 right (80.0 %)"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "dog"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[200 / 3, 100 / 3], [0, 100]])


def test_confusion_of_a_model_is_that_of_its_predictions(plotting, path):
    model = TwoLayerNet(2, 5, 3, seed=0, weight_scale=1)
    of_model = plotting.plot_confusion_matrix(model, LABELS, POINTS, path=path)
    of_labels = plotting.plot_confusion_matrix(model.predict(POINTS), LABELS, path=path)
    assert texts(of_model.axes[0]) == texts(of_labels.axes[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 2], [0, 1], None, ["a", "b"]), "class_names: expected a name for each of 3 classes"),
        (([0, 1], [0]), r"t: has shape \(1,\), and predicted \(2,\)"),
        (([0], [-1]), "t: there is no label that counts"),
        (([-2], [0]), "t: expected class indices, got -2"),
        (([0], [0], POINTS), "x: of no use"),
        ((TwoLayerNet(2, 3, 3), [0]), "x: a model needs samples"),
    ],
)
def test_confusion_refuses(plotting, path, arguments, message):
    with pytest.raises(ValueError, match=message):
        plotting.plot_confusion_matrix(*arguments, path=path)
    with pytest.raises(TypeError, match="t: expected class indices, integers"):
        plotting.plot_confusion_matrix([0], [0.5], path=path)


# Decision boundaries


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_every_class_has_points_and_a_place_in_the_legend(plotting, path, classes):
    model = TwoLayerNet(2, 4, classes, seed=0, weight_scale=1)
    t = np.arange(12) % classes
    (ax,) = plotting.plot_decision_boundary(model, POINTS, t, path=path).axes
    assert [len(line.get_xdata()) for line in ax.lines] == np.bincount(t).tolist()
    assert len(ax.get_legend().get_texts()) == classes
    assert f"{100 * model.accuracy(POINTS, t):.1f} %" in ax.get_title()


@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_a_binary_loss_has_two_classes(plotting, path, shape):
    model = Sequential([affine(2, 1, seed=0)], SigmoidWithLoss())
    t = (np.arange(12) % 2).reshape(shape)
    (ax,) = plotting.plot_decision_boundary(model, POINTS, t, path=path).axes
    assert [len(line.get_xdata()) for line in ax.lines] == [6, 6]


def test_several_answers_for_one_point_are_refused(plotting, path):
    model = Sequential([affine(2, 3, seed=0)], SigmoidWithLoss())
    with pytest.raises(ValueError, match=r"model: expected one class for each point"):
        plotting.plot_decision_boundary(model, POINTS, np.zeros((12, 3)), path=path)
    with pytest.raises(ValueError, match=r"x: expected points in the plane, shape \(N, 2\)"):
        plotting.plot_decision_boundary(TwoLayerNet(3, 4, 2), np.zeros((4, 3)), [0] * 4, path=path)


def test_given_axes_are_drawn_into_and_no_window_opens(plotting):
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.subplots()
    model = TwoLayerNet(2, 3, 3, seed=0)
    assert plotting.plot_decision_boundary(model, POINTS, LABELS, ax=ax) is figure
    assert len(ax.lines) == 3


# Residuals


def test_residuals_are_target_minus_prediction(plotting, path):
    figure = plotting.plot_residuals([1.0, 2.0, 4.0], [1.5, 2.0, 3.0], unit="m", path=path)
    left, right = figure.axes
    assert left.lines[0].get_xdata().tolist() == [1.5, 2.0, 3.0]
    assert left.lines[0].get_ydata().tolist() == [-0.5, 0.0, 1.0]
    assert sum(bar.get_width() for bar in right.patches) == 3
    assert left.get_xlabel() == "prediction (m)"


@pytest.mark.parametrize(
    ("t", "y", "message"),
    [
        ([1.0], [1.0, 2.0], r"y: expected the shape of t, \(1,\), got shape \(2,\)"),
        ([], [], "t: expected at least one number"),
        ([1.0], [math.nan], "y: expected finite numbers"),
    ],
)
def test_residuals_refuse(plotting, path, t, y, message):
    with pytest.raises(ValueError, match=message):
        plotting.plot_residuals(t, y, path=path)


# Parameters over a training


def test_quantiles_are_those_of_parameters_and_gradients():
    model, record = TwoLayerNet(2, 4, 3, seed=0), RecordParameters((0, 0.5, 1))
    trainer = Trainer(model, SGD(lr=1.0), seed=0)
    for _ in range(2):
        trainer.fit(POINTS, LABELS, 2, 4, callbacks=[record], progress="none")
    assert record.epochs == [1, 2, 3, 4]
    names = ["0: Affine (2, 4)", "0: Affine (4,)", "2: Affine (4, 3)", "2: Affine (3,)"]
    assert record.names == names
    for recorded, arrays in ((record.values, model.params), (record.gradients, model.grads)):
        for rows, array in zip(recorded, arrays, strict=True):
            assert len(rows) == 4
            np.testing.assert_allclose(rows[-1], np.quantile(array, [0, 0.5, 1]), rtol=1e-6)


def test_quantiles_are_drawn(plotting, path):
    model, record = TwoLayerNet(2, 4, 3, seed=0), RecordParameters()
    Trainer(model, SGD(), seed=0).fit(POINTS, LABELS, 3, callbacks=[record], progress="none")
    axes = plotting.plot_parameters(record, path=path).axes
    assert len(axes) == 8
    medians = [row[3] for row in record.gradients[0]]
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), medians)
    assert len(axes[1].collections) == 3


def test_recording_refuses(plotting, path):
    with pytest.raises(ValueError, match="record: nothing was recorded"):
        plotting.plot_parameters(RecordParameters(), path=path)
    for wrong in ((), (0.5, 0.5), (-0.1,), (0.5, math.nan)):
        with pytest.raises(ValueError, match="quantiles: expected rising shares"):
            RecordParameters(wrong)
    record = RecordParameters()
    for hidden, error in ((3, None), (4, "has recorded another model")):
        trainer = Trainer(TwoLayerNet(2, hidden, 3), SGD())
        if error is None:
            trainer.fit(POINTS, LABELS, 1, callbacks=[record], progress="none")
        else:
            with pytest.raises(ValueError, match=error):
                trainer.fit(POINTS, LABELS, 1, callbacks=[record], progress="none")


# Graphs


def test_the_graph_of_a_model_has_shapes_and_gradients(plotting, path):
    model = Sequential([affine(2, 4, seed=0), Dropout(0.5, seed=1), ReLU(), affine(4, 3, seed=1)])
    before, offset = state(model), model[1].offset
    (ax,) = plotting.plot_graph(model, POINTS[:5], LABELS[:5], path=path).axes
    assert_untouched(model, before)
    assert model[1].offset == offset
    shown = texts(ax)
    loss = model.forward(POINTS[:5], LABELS[:5])
    dx = model.backward(input_grad=True)
    for text in ("x", "t", "loss", "(5, 2)", "(5, 3)", "(5,)", "ReLU()", f"{loss:.4g}"):
        assert text in shown, text
    assert shown.count("(5, 4)") == 3
    assert f"{np.linalg.norm(dx):.3g}" in shown
    assert f"(2, 4) grad {np.linalg.norm(model.grads[0]):.3g}" in shown


def test_the_graph_of_nodes_is_the_books(plotting, path):
    apple, orange, total = nodes.Multiply(), nodes.Multiply(), nodes.Add()

    def run():
        total.forward(apple.forward(100.0, 2.0), orange.forward(150.0, 3.0))
        first, second = total.backward(1.1)
        apple.backward(first)
        orange.backward(second)

    shown = texts(plotting.plot_graph([apple, orange, total], run=run, path=path).axes[0])
    for text in ("100", "2", "150", "3", "650", "2.2", "110", "3.3", "165"):
        assert text in shown, text
    assert (apple.x, total.shape) == (None, None)
    assert "forward" not in vars(apple)


def test_without_backward_there_are_no_gradients(plotting, path):
    node = nodes.Repeat(3)
    figure = plotting.plot_graph([node], run=lambda: node.forward(np.ones((1, 2))), path=path)
    shown = texts(figure.axes[0])
    assert {"(1, 2)", "(3, 2)", "Repeat(3)", "input", "output"} <= set(shown)


def test_a_graph_that_cannot_be_run_is_refused(plotting, path):
    model = TwoLayerNet(2, 3, 3)
    before = state(model)
    with pytest.raises(ValueError, match="x, t: a model needs both"):
        plotting.plot_graph(model, path=path)
    with pytest.raises(ValueError, match="run: nodes need a function"):
        plotting.plot_graph([nodes.Add()], path=path)
    with pytest.raises(ValueError, match="run: no forward"):
        plotting.plot_graph([nodes.Add()], run=lambda: None, path=path)
    with pytest.raises(ValueError, match="shape"):
        plotting.plot_graph(model, np.zeros((2, 5), np.float32), [0, 1], path=path)
    assert_untouched(model, before)


# The ring at the lowest validation loss


@pytest.mark.parametrize(("values", "best"), [([3.0, 1.0, 2.0], 2), ([math.nan, 5.0], 2)])
def test_a_ring_marks_the_lowest_validation_loss(plotting, path, values, best):
    made = History()
    for value in values:
        made.batches += 10
        made.add_point(1.0)
        made.add_epoch(1.0, 0.1)
        made.set_metrics({"val_loss": value})
    (ax,) = plotting.plot_loss(made, path=path).axes
    (ring,) = ax.collections
    assert ring.get_offsets().tolist() == [[10 * best, values[best - 1]]]
    assert ax.get_legend().get_texts()[-1].get_text() == f"lowest: epoch {best}"


# The summary


def test_a_summary_tells_the_output_of_each_layer():
    model = TwoLayerNet(2, 10, 3, seed=0)
    before = state(model)
    rows = [line.split("  ") for line in model.summary((2,)).splitlines()]
    assert [[cell.strip() for cell in row if cell][1] for row in rows[4:8]] == [
        *("(N, 10)", "(N, 10)", "(N, 3)", "-")
    ]
    assert_untouched(model, before)
    assert "output" not in model.summary()


def test_a_summary_of_words_runs_on_indices():
    words = Embedding(np.ones((7, 4), np.float32))
    layer = Affine(np.ones((4, 3), np.float32), np.zeros(3, np.float32))
    text = Sequential([words, layer]).summary((5,))
    assert "(N, 5, 4)" in text
    assert "(N, 5, 3)" in text


def test_a_shape_that_does_not_fit_is_refused():
    model = TwoLayerNet(2, 10, 3)
    with pytest.raises(ValueError, match=r"input_shape: the model does not take .* shape \(5,\)"):
        model.summary((5,))
    for wrong in (2, (-1,), (1.5,), "ab"):
        with pytest.raises(ValueError, match="input_shape: expected the shape of a sample"):
            model.summary(wrong)
    assert "forward" not in vars(model[0])


# The history as a frame


def two_epochs():
    made = History()
    made.add_epoch(2.0, 0.5)
    made.add_epoch(1.0, 0.25)
    made.set_metrics({"accuracy": 0.9})
    return made


def test_a_frame_has_a_row_for_each_epoch():
    pytest.importorskip("pandas")
    frame = two_epochs().to_frame()
    assert frame.index.name == "epoch"
    assert frame.index.tolist() == [1, 2]
    assert frame.columns.tolist() == ["loss", "seconds", "accuracy"]
    np.testing.assert_array_equal(frame, [[2.0, 0.5, math.nan], [1.0, 0.25, 0.9]])
    assert History().to_frame().shape == (0, 2)
    clash = two_epochs()
    clash.set_metrics({"seconds": 1.0})
    with pytest.raises(ValueError, match="metrics: 'seconds' is the name of a column"):
        clash.to_frame()


def test_without_pandas_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"History.to_frame needs pandas.*\[pandas\]"):
        two_epochs().to_frame()
