"""The picture of the READMEs, docs/images/why.png: what nnext is for.

python docs/_ext/why.py [--out docs/images/why.png]

It lies in the repository, where READMEs are shown; so this is run by hand, after a change.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from drawings import BLUE, GREEN, ORANGE, PALE, _arrow, _axes, _box, _text
from matplotlib.figure import Figure

LAYERS = (("Affine", PALE), ("your layer", ORANGE), ("Affine", PALE), ("SoftmaxWithLoss", PALE))


def why() -> Figure:
    """Draw layers in Python, the core that computes them, and what is the same everywhere."""
    figure, ax = _axes(8.0, 3.3)
    titles = ((1.35, "layers in Python"), (4.05, "C++ core: fast"), (6.75, "the same bits"))
    for x, title in titles:
        _text(ax, x, 3.02, title, fontsize=12, weight="bold")
    for place, (name, color) in enumerate(LAYERS):
        y = 2.35 - 0.66 * place
        _box(ax, 0.45, y, 1.8, 0.4, color, alpha=0.6)
        _text(ax, 1.35, y + 0.2, name, fontsize=12)
        if place:
            _arrow(ax, (1.2, y + 0.66), (1.2, y + 0.4))
            _arrow(ax, (1.5, y + 0.4), (1.5, y + 0.66), linestyle="--")
    _box(ax, 2.95, 0.37, 2.2, 2.38, BLUE, alpha=0.4)
    for place, line in enumerate(
        ("each element", "is one chain:", "acc = fma(a, b, acc)", "always in this order")
    ):
        options = {"family": "monospace", "fontsize": 10.5} if "fma" in line else {"fontsize": 12}
        _text(ax, 4.05, 2.2 - 0.42 * place, line, **options)
    _arrow(ax, (2.3, 1.56), (2.92, 1.56), linewidth=2)
    _arrow(ax, (5.18, 1.56), (5.72, 1.56), linewidth=2)
    same = ("1, 2 … many threads", "AVX-512, AVX2, NEON", "one sample, a batch", "every run")
    for place, name in enumerate(same):
        y = 2.35 - 0.66 * place
        _box(ax, 5.77, y, 1.96, 0.4, GREEN, alpha=0.35)
        _text(ax, 6.75, y + 0.2, name, fontsize=12)
    _text(ax, 1.35, 0.14, "forward ↓   backward ⇡", fontsize=10.5)
    _text(ax, 4.05, 0.14, "needs NumPy and nothing else", fontsize=10.5)
    _text(ax, 6.75, 0.14, "of losses, gradients, weights", fontsize=10.5)
    return figure


def main() -> None:
    """Draw it into the file that is named."""
    images = Path(__file__).resolve().parent.parent / "images"
    parser = argparse.ArgumentParser(description="Draw the picture of the READMEs.")
    parser.add_argument("--out", type=Path, default=images / "why.png")
    out = parser.parse_args().out
    why().savefig(out, dpi=150, facecolor="white", metadata={"Software": None})


if __name__ == "__main__":
    main()
