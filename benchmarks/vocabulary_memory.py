"""The picture of docs/howto/large-vocabularies.md: memory of a training step over the vocabulary.

    python benchmarks/vocabulary_memory.py [--out docs/images/vocabulary_memory.png]

Each point is a process of its own (see vocabulary.py), so a run takes a minute. Linux alone.
"""

import argparse
import sys
from pathlib import Path

N, D = 1024, 64
CLASSES = (1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000)
CURVES = {  # what it is called, its colour (Okabe and Ito), where its name stands
    "two layers": ("Affine and SoftmaxWithLoss", "#D55E00"),
    "nnext": ("AffineSoftmaxWithLoss", "#0072B2"),
}


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images = Path(__file__).resolve().parent.parent / "docs" / "images"
    parser.add_argument("--out", type=Path, default=images / "vocabulary_memory.png")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from matplotlib.figure import Figure
    from vocabulary import child

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for way, (name, color) in CURVES.items():
        megabytes = [child(way, 2, N, D, v) for v in CLASSES]
        print(name, [round(m) for m in megabytes])
        axes.plot(CLASSES, megabytes, color=color, marker="o", markersize=4)
        axes.annotate(
            f"{name}: {megabytes[-1]:,.0f} MB",
            (CLASSES[-1], megabytes[-1]),
            xytext=(-10, 8) if way == "nnext" else (-26, -4),
            textcoords="offset points",
            ha="right",
            color=color,
        )
    axes.set(
        xlabel="classes V",
        ylabel="MB beyond x, W and gradients",
        title=f"Memory of a training step, {N} rows of {D}",
    )
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    axes.set_ylim(0, None)
    axes.set_xlim(0, None)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=130)
    print(options.out)


if __name__ == "__main__":
    main()
