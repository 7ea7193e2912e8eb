"""What the functions of `nnext.plotting` share: colours, figures, files and windows."""

from __future__ import annotations

import os
from typing import Any

from nnext._support import require

PathLike = str | os.PathLike[str]
# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = "o^sDvP*X"  # as many, for print without colours
_DPI, _PIXELS = 200, 30_000  # of a file; matplotlib writes none with sides beyond twice as many


def figure_for(path: PathLike | None, size: tuple[float, float]) -> Any:
    """Make a figure; one for a file needs neither pyplot nor a display."""
    if path is None:
        pyplot = require("matplotlib.pyplot", "plot", "Drawing")
        return pyplot.figure(figsize=size, layout="constrained")
    figure = require("matplotlib.figure", "plot", "Drawing").Figure
    return figure(figsize=size, layout="constrained")


def axes_for(path: PathLike | None, size: tuple[float, float], ax: Any) -> Any:
    """Return the axes that were given, or those of a new figure."""
    return figure_for(path, size).subplots() if ax is None else ax


def finish(figure: Any, path: PathLike | None, ax: Any = None) -> Any:
    """Write the figure, or show it unless its axes were given; return it."""
    if path is not None:
        figure.savefig(path, dpi=min(_DPI, _PIXELS / max(figure.get_size_inches())))
    elif ax is None:
        require("matplotlib.pyplot", "plot", "Drawing").show()
    return figure
