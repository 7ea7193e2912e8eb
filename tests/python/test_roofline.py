"""The roofline picture: nothing lies over anything, and what is above the roof is explained."""

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def roofline(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import roofline

    return roofline


@pytest.fixture
def draw(roofline, saved_figures, tmp_path):
    """Draw tables into a file; return the figure."""

    def drawn(tables):
        assert roofline.draw(tables, tmp_path / "roofline.png")
        return saved_figures[-1]

    return drawn


def table(threads, peaks=(), memory=None, kind="float32 squares"):
    """Make products of rising intensity, the last two of them above the median of the peaks."""
    from report import Row, Table

    made = Table("matmul", kind, "title", threads, "GFLOP/s", memory=memory)
    reached = {5e5: 2e9, 5e6: 9e10, 5e7: 1.9e11, 5e8: 2.2e11}
    for (work, rate), peak in zip(reached.items(), peaks or (None,) * 4, strict=True):
        seconds = {"nnext": work / rate, "NumPy": 2 * work / rate}
        made.rows.append(Row("case", seconds, {}, work=work, traffic=1e6, peak=peak))
    return made


def limited(threads):
    return table(threads, (1.6e11, 1.7e11, 1.8e11, 2.3e11), (3e10, 3e10))


@pytest.mark.parametrize("threads", [(1,), (1, 2)])
def test_text_and_legends_lie_outside_the_axes_and_beside_each_other(draw, threads):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw([limited(count) for count in threads])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [part.get_window_extent(renderer) for part in figure.axes]
    for ax in figure.axes:
        assert not list(ax.texts)
        boxes += [part.get_window_extent(renderer) for part in (ax.get_legend(), ax.title)]
        boxes.append(ax.xaxis.label.get_window_extent(renderer))
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    boxes += [text.get_window_extent(renderer) for text in figure.texts]
    assert len(figure.texts) == 1  # the caption
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_the_peak_is_the_median_with_a_band_of_what_was_measured(draw):
    (ax,) = draw([limited(2)]).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "slope: reading memory, 30 GB/s; peak of the multiply-adds, 175 GFLOP/s",
        "the peak as measured beside each product, 160 to 230 GFLOP/s",
    ]
    (band,) = ax.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (pytest.approx(160), pytest.approx(230))


def test_points_above_the_roof_are_explained(draw, roofline):
    figure = draw([limited(1)])
    assert " ".join(figure.get_supxlabel().split()) == roofline.CAPTION
    assert "above the slope" in roofline.CAPTION
    assert "above the peak" in roofline.CAPTION


def test_without_limits_there_are_points_alone(draw):
    figure = draw([table(1)])
    assert figure.get_supxlabel() == ""
    assert figure.axes[0].get_legend() is None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["nnext", "NumPy"]


def test_without_float32_products_nothing_is_drawn(roofline, tmp_path):
    path = tmp_path / "roofline.png"
    assert not roofline.draw([table(1, kind="float64 squares")], path)
    assert not roofline.draw([], path)
    assert not path.exists()
