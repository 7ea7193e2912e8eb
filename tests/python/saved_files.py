"""The model and the run whose files lie in data/: written once by each format, read for ever.

``python tests/python/saved_files.py`` writes those that are not there yet.
"""

from pathlib import Path

import numpy as np
from ml_dtypes import bfloat16

from nnext import (
    Adam,
    Affine,
    AffineSoftmaxWithLoss,
    Dropout,
    Embedding,
    MatMul,
    ReLU,
    Sequential,
    Tanh,
    Trainer,
)
from nnext.callbacks import EarlyStopping
from nnext.nodes import Repeat, Sum

DATA = Path(__file__).parent / "data"
MODEL = DATA / "model_1.safetensors"
CHECKPOINT = DATA / "checkpoint_1.safetensors"


def numbers(shape, dtype, start):
    """Return quarters, which every type holds exactly."""
    count = int(np.prod(shape))
    return ((np.arange(start, start + count) % 37 - 18) / 4).reshape(shape).astype(dtype)


def stored_model():
    """Return a model with layers, types and options off their defaults, and a shared weight."""
    E = numbers((6, 2), "float32", 0)
    return Sequential(
        [
            Embedding(E),
            Repeat(2, axis=-2),
            Sum(axis=-2, keepdims=False),
            Dropout(0.25, seed=2**62 + 1, offset=1234),
            MatMul(numbers((2, 3), bfloat16, 5)),
            Tanh(),
            Affine(numbers((3, 2), "float16", 9), numbers((2,), "float16", 1)),
            ReLU(),
        ],
        AffineSoftmaxWithLoss(
            E.T,
            numbers((6,), "float64", 3),
            reduction="sum",
            ignore_label=4,
            label_smoothing=0.125,
            class_weight=[1, 2, 0.1, 4, 5, 1e-3],
            z_loss=0.0625,
            softcap=30.0,
        ),
    )


class _EndError(Exception):
    """The end of a run in its middle."""


def run():
    """Return a trainer, the data and the other arguments of its fit."""
    model = Sequential(
        [Affine(numbers((2, 3), "float32", 0), numbers((3,), "float32", 4)), Dropout(0.5, seed=7)]
    )
    optimizer = Adam(lr=0.125, weight_decay=0.25)
    x, t = numbers((10, 2), "float32", 11), np.arange(10) % 3
    arguments = {
        "max_epoch": 3, "batch_size": 3, "eval_interval": 2, "progress": "none",
        "validation": (x[:4], t[:4]), "callbacks": [EarlyStopping(patience=2)],
    }  # fmt: skip
    return Trainer(model, optimizer, seed=3), (x, t), arguments


def write_checkpoint(path):
    """Interrupt the run in the middle of its second epoch."""
    trainer, data, arguments = run()

    class Stop:
        def on_batch_end(self, trainer):
            if trainer.history.batches == 6:
                trainer.save_checkpoint(path)
                raise _EndError

    try:
        trainer.fit(*data, **{**arguments, "callbacks": [*arguments["callbacks"], Stop()]})
    except _EndError:
        return
    raise AssertionError("it was not interrupted")


if __name__ == "__main__":
    if not MODEL.exists():
        stored_model().save(MODEL)
    if not CHECKPOINT.exists():
        write_checkpoint(CHECKPOINT)
