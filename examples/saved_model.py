"""Train, save the model in one file, and use it in another program: handwritten digits.

Needs scikit-learn for the data and safetensors for the file: ``pip install ".[data,files]"``.
"""

import tempfile
from pathlib import Path

import numpy as np

import nnext
from nnext import Adam, Dropout, ReLU, Sequential, Trainer, affine
from nnext.datasets import digits, train_test_split


def train(path):
    """Train a model and write it to a file."""
    x, t = digits()
    x_train, x_test, t_train, t_test = train_test_split(x, t, test_size=0.25, seed=0)
    model = Sequential(
        [affine(64, 64, seed=0), ReLU(), Dropout(0.2, seed=0), affine(64, 10, seed=1)]
    )
    Trainer(model, Adam(lr=0.003), seed=0).fit(x_train, t_train, max_epoch=10, progress="none")
    model.save(path)
    return model, x_test, t_test


def main():
    """Save, load as another program would, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.safetensors"
        model, x, t = train(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes, with {', '.join(model.state_dict())}")

        loaded = nnext.load_model(path)  # layers, options and weights; the file has no code
        print(loaded)
        print(f"accuracy {loaded.accuracy(x, t):.1%} on what was held out")
        print("the same bits:", np.array_equal(loaded(x), model(x)))


if __name__ == "__main__":
    main()
