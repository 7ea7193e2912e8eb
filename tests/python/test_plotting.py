"""The picture of a training, stated on matplotlib's figure: panels, lines, scales, limits."""

import math

import numpy as np
import pytest

from nnext import plotting
from nnext.history import History
from nnext.models import TwoLayerNet
from nnext.optimizer import SGD
from nnext.trainer import Trainer

pytest.importorskip("matplotlib")
NAN, INF = math.nan, math.inf


@pytest.fixture
def draw(saved_figures, tmp_path):
    """Draw into a file, a history if no other function is named; return the figure."""

    def drawn(*what, function=plotting.plot_loss, **options):
        function(*what, path=tmp_path / "picture.png", **options)
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        return saved_figures[-1]

    return drawn


def history(loss, **metrics):
    """Make a history with a point of the loss every ten batches, and epochs of twenty."""
    made = History()
    for value in loss:
        made.batches += 10
        made.add_point(value)
    made.batches = 0
    for epoch in range(max([1, *map(len, metrics.values())])):
        made.batches += 20
        made.add_epoch(0.0, 0.1)
        made.set_metrics({name: values[epoch] for name, values in metrics.items()})
    return made


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def dots(line):
    """Return where a line has dots."""
    return [] if line.get_marker() == "" else line.get_xdata()[line.get_markevery()].tolist()


# The loss axis


@pytest.mark.parametrize("loss", [[-1.0, -5.0], [1.0, 0.5, -0.5], [-3.0]])
def test_negative_losses_lie_within_a_linear_axis(draw, loss):
    (ax,) = draw(history(loss)).axes
    assert ax.get_yscale() == "linear"
    low, high = ax.get_ylim()
    assert low < min(loss) <= max(loss) < high


@pytest.mark.parametrize("loss", [[2.0], [2.0, 1.0], [3.0, 0.0]])
def test_losses_none_of_which_is_negative_start_at_zero(draw, loss):
    (ax,) = draw(history(loss)).axes
    assert ax.get_ylim() == (0, pytest.approx(1.05 * max(loss)))


def test_a_loss_of_zero_is_not_hidden_by_the_frame(draw):
    (ax,) = draw(history([0.0, 0.0])).axes
    assert ax.get_ylim()[0] < 0 < ax.get_ylim()[1]


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        ([1000.0, 1.0], "linear"),
        ([1001.0, 1.0], "log"),
        ([1e3, 1e-3], "log"),
        ([1e6, 0.0], "linear"),
        ([1e6, -1.0], "linear"),
        ([1e6, NAN, 1.0, INF], "log"),
    ],
)
def test_positive_losses_over_more_than_three_decades_get_a_logarithmic_axis(draw, loss, scale):
    (ax,) = draw(history(loss)).axes
    assert ax.get_yscale() == scale
    low, high = ax.get_ylim()
    finite = [value for value in loss if math.isfinite(value)]
    assert low <= min(finite) < max(finite) < high


def test_a_given_range_is_that_of_a_linear_axis(draw):
    (ax,) = draw(history([1e6, 1.0]), ylim=(-1, 9)).axes
    assert (ax.get_yscale(), ax.get_ylim()) == ("linear", (-1, 9))


def test_what_is_not_finite_leaves_a_gap_and_a_point_alone_gets_a_dot(draw):
    (ax,) = draw(history([4.0, 3.0, NAN, 2.0, -INF, 1.0, 0.5, INF, 0.25])).axes
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), [4.0, 3.0, NAN, 2.0, NAN, 1.0, 0.5, NAN, 0.25])
    assert dots(line) == [40, 90]
    assert ax.get_ylim() == (0, pytest.approx(4.2))


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_loss_that_is_nowhere_finite_is_said_to_be(draw, value):
    (ax,) = draw(history([value, value])).axes
    assert legend(ax) == ["training loss (nowhere finite)"]
    assert ax.get_xlim() == (0, pytest.approx(20.6))


# What stands beside the training loss, and what does not


def test_validation_losses_share_the_axis_of_the_training_loss(draw):
    made = history([3.0, 2.0, 1.5, 1.0], val_loss=[2.5, -2.0], **{"Loss of others": [9.0, 8.0]})
    (ax,) = draw(made).axes
    assert legend(ax) == ["training loss", "val_loss", "Loss of others", "lowest: epoch 2"]
    training, validation, others = ax.lines
    assert training.get_xdata().tolist() == [10, 20, 30, 40]
    assert validation.get_xdata().tolist() == others.get_xdata().tolist() == [20, 40]
    assert validation.get_ydata().tolist() == [2.5, -2.0]
    assert ax.get_ylim()[0] < -2
    assert ax.get_ylim()[1] > 9


def test_validation_losses_stand_where_their_epochs_ended(draw):
    class Model:
        params, grads = [np.zeros(1)], [np.zeros(1)]

        def forward(self, x, t):
            return 1.0

        def backward(self):
            pass

    x, t = np.zeros((10, 2)), np.zeros(10, dtype=int)
    trainer = Trainer(Model(), SGD())
    for batch_size in (5, 2):  # two batches, then five
        trainer.fit(x, t, 2, batch_size, on_epoch=lambda _: {"val loss": 2.0}, progress="none")
    assert trainer.history.epoch_iteration == [2, 4, 9, 14]
    (ax,) = draw(trainer.history).axes
    assert ax.lines[1].get_xdata().tolist() == [2, 4, 9, 14]


def test_metrics_of_another_scale_have_axes_of_their_own(draw):
    made = history(
        [3.0, 2.0],
        train_accuracy=[0.1, 0.9],
        perplexity=[1e4, 1e2],
        test_accuracy=[0.1, 0.8],
        bias=[-0.3, -0.2],
        nothing=[0.0, NAN],
        gradient=[1e3, -1e3],
    )
    figure = draw(made)
    assert [legend(ax) for ax in figure.axes] == [
        ["training loss"],
        ["train_accuracy", "test_accuracy", "bias", "nothing"],
        ["perplexity", "gradient"],
    ]
    assert len({ax.get_subplotspec().rowspan.start for ax in figure.axes}) == 1
    assert figure.axes[1].get_ylim()[1] < 1
    assert [ax.get_xlabel() for ax in figure.axes] == ["iterations (batches)", "epochs", "epochs"]


def test_a_metric_without_any_size_comes_first_and_takes_others_in(draw):
    figure = draw(history([1.0], nothing=[0.0], accuracy=[0.5], perplexity=[1e3]))
    assert [legend(ax) for ax in figure.axes[1:]] == [["nothing", "accuracy"], ["perplexity"]]


def test_a_metric_over_many_decades_gets_a_logarithmic_axis(draw):
    figure = draw(history([1.0], perplexity=[5e4, 30.0], accuracy=[0.0, 0.5]))
    assert [ax.get_yscale() for ax in figure.axes] == ["linear", "log", "linear"]


def test_more_than_three_panels_go_into_rows(draw):
    figure = draw(history([1.0], **{f"m{k}": [100.0**k] for k in range(4)}))
    assert [ax.get_subplotspec().rowspan.start for ax in figure.axes] == [0, 0, 0, 1, 1]


# One epoch, and many


def test_one_epoch_is_seen(draw):
    figure = draw(history([2.0], val_loss=[1.0], accuracy=[0.5]))
    loss, metrics = figure.axes
    assert [dots(line) for line in (*loss.lines, *metrics.lines)] == [[10], [20], [1]]
    assert loss.get_xlim() == (0, pytest.approx(20.6))
    assert metrics.get_xlim() == (0.5, 1.5)
    low, high = metrics.get_xlim()
    assert [tick for tick in metrics.get_xticks() if low <= tick <= high] == [1]


@pytest.mark.parametrize(("epochs", "count"), [(30, 30), (31, 0), (1000, 0)])
def test_many_epochs_are_lines_without_dots(draw, epochs, count):
    values = np.linspace(0.1, 0.9, epochs).tolist()
    loss, metrics = draw(history([2.0] * (2 * epochs), val_loss=values, accuracy=values)).axes
    assert [len(dots(line)) for line in (*loss.lines, *metrics.lines)] == [0, count, count]
    assert metrics.get_xlim()[0] < 1
    assert epochs < metrics.get_xlim()[1] < epochs + max(1, 0.03 * epochs)


def test_the_largest_losses_are_drawn(draw):
    largest = np.finfo(np.float64).max
    fit = history([largest, -largest, math.inf], accuracy=[largest], val_loss=[-largest])
    loss, metrics = draw(fit).axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [1e300, -1e300, np.nan])
    assert metrics.lines[0].get_ydata()[0] == 1e300
    assert all(math.isfinite(limit) for ax in (loss, metrics) for limit in ax.get_ylim())


# Names


def test_names_are_shown_as_they_are(draw):
    long = "a name of a metric that goes on and on until it has to be broken into lines"
    names = {"_hidden": [0.5], "in $ or in $": [0.5], long: [0.5]}
    hidden, money, lines = legend(draw(history([1.0], **names)).axes[1])
    assert hidden.strip() == "_hidden"
    assert money == r"in \$ or in \$"  # matplotlib's way of writing a dollar that begins no formula
    assert max(map(len, lines.split("\n"))) <= 50
    assert " ".join(lines.split("\n")) == long


def test_lines_of_one_panel_can_be_told_apart(draw):
    ax = draw(history([1.0], **{f"m{k}": [1.0 + k / 10, 1.0] for k in range(20)})).axes[1]
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 20


# Points and images


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("x", "aspect"),
    [
        ([[0, 0], [1, 3]], 1.0),
        ([[0, 0], [1000, 5]], "auto"),
        ([[2, 0], [2, 1]], 1.0),
        ([[2, 3]], 1.0),
    ],
)
def test_points_lie_within_a_plane_that_is_no_strip(draw, x, aspect, dtype):
    x = np.array(x, dtype)
    model = TwoLayerNet(2, 3, 3, seed=0, dtype=dtype)
    (ax,) = draw(model, x, [0] * len(x), function=plotting.plot_decision_boundary).axes
    assert ax.get_aspect() == aspect
    for (low, high), values in zip((ax.get_xlim(), ax.get_ylim()), x.T, strict=True):
        assert low < values.min() <= values.max() < high


def test_where_there_is_nothing_to_draw_it_says_so(draw):
    with pytest.raises(ValueError, match=r"history: there is no loss"):
        draw(History())
    with pytest.raises(ValueError, match=r"images: expected at least one, got shape \(0, 8, 8\)"):
        draw(np.zeros((0, 8, 8)), [], np.zeros((0, 3)), function=plotting.plot_predictions)
    nothing = np.zeros((0, 2), np.float32)
    with pytest.raises(ValueError, match=r"x: expected at least one point, got shape \(0, 2\)"):
        draw(TwoLayerNet(2, 3, 3), nothing, [], function=plotting.plot_decision_boundary)
