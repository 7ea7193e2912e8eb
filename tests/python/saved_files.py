"""The models and runs whose files lie in data/: written once and read for ever.

``python tests/python/saved_files.py`` writes those that are not there yet. Where files come to hold
something new, before a release, there is a new name here beside the old ones.
"""

from pathlib import Path

import numpy as np
from ml_dtypes import bfloat16

from nnext import (
    GELU,
    Adam,
    Affine,
    AffineSoftmaxWithLoss,
    BatchNorm,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm,
    LeakyReLU,
    MatMul,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
    Trainer,
    batch_norm,
)
from nnext._registry import describe
from nnext.callbacks import EarlyStopping
from nnext.nodes import Repeat, Sum
from nnext.schedules import StepDecay, WarmUp

DATA = Path(__file__).parent / "data"
# Those of the name 1 were written before there were normalizations, buffers and schedules.
NAMES = ("1", "0.2.0")


def model_file(name):
    """Return where the model of that name is stored."""
    return DATA / f"model_{name}.safetensors"


def checkpoint_file(name):
    """Return where the run of that name is stored."""
    return DATA / f"checkpoint_{name}.safetensors"


def check_equal(model, other):
    """Check that a model that was stored is the same again."""
    assert type(other) is type(model)
    state, back = model.state_dict(), other.state_dict()
    assert list(back) == list(state)
    for name in state:
        assert back[name].dtype == state[name].dtype
        assert back[name].shape == state[name].shape
        assert back[name].tobytes() == state[name].tobytes()
    assert describe(other) == describe(model)


def numbers(shape, dtype, start):
    """Return quarters, which every type holds exactly."""
    count = int(np.prod(shape))
    return ((np.arange(start, start + count) % 37 - 18) / 4).reshape(shape).astype(dtype)


def normalization():
    """Return a layer with statistics of its own, as after a training."""
    mean, variance = numbers((3,), "float32", 6), abs(numbers((3,), "float32", 7))
    gamma, beta = numbers((3,), "float32", 3), numbers((3,), "float32", 4)
    return BatchNorm(gamma, beta, mean, variance, momentum=0.75, eps=0.25)


def stored_model(name):
    """Return a model with layers, types and options off their defaults, and a shared weight."""
    E = numbers((6, 2), "float32", 0)
    later = [
        LayerNorm(numbers((3,), "float64", 2), numbers((3,), "float64", 8), eps=0.5),
        GELU(approximate="tanh"),
        LeakyReLU(0.375),
        normalization(),
        GELU(),
        SiLU(),
        Sigmoid(),
        Softmax(),
        Flatten(),
    ]
    return Sequential(
        [
            Embedding(E, padding_idx=None if name == "1" else 5),
            Repeat(2, axis=-2),
            Sum(axis=-2, keepdims=False),
            Dropout(0.25, seed=2**62 + 1, offset=1234),
            MatMul(numbers((2, 3), bfloat16, 5)),
            Tanh(),
            *([] if name == "1" else later),
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


def run(name):
    """Return a trainer, the data and the other arguments of its fit."""
    model = Sequential(
        [
            Affine(numbers((2, 3), "float32", 0), numbers((3,), "float32", 4)),
            Dropout(0.5, seed=7),
            *([] if name == "1" else [batch_norm(3)]),
        ]
    )
    lr = 0.125 if name == "1" else WarmUp(3, StepDecay(0.125, every=5))
    optimizer = Adam(lr=lr, weight_decay=0.25)
    x, t = numbers((10, 2), "float32", 11), np.arange(10) % 3
    arguments = {
        "max_epoch": 3, "batch_size": 3, "eval_interval": 2, "progress": "none",
        "validation": (x[:4], t[:4]), "callbacks": [EarlyStopping(patience=2)],
    }  # fmt: skip
    return Trainer(model, optimizer, seed=3), (x, t), arguments


def write_checkpoint(name):
    """Interrupt the run in the middle of its second epoch."""
    trainer, data, arguments = run(name)

    class Stop:
        def on_batch_end(self, trainer):
            if trainer.history.batches == 6:
                trainer.save_checkpoint(checkpoint_file(name))
                raise _EndError

    try:
        trainer.fit(*data, **{**arguments, "callbacks": [*arguments["callbacks"], Stop()]})
    except _EndError:
        return
    raise AssertionError("it was not interrupted")


if __name__ == "__main__":
    for name in NAMES:
        if not model_file(name).exists():
            stored_model(name).save(model_file(name))
        if not checkpoint_file(name).exists():
            write_checkpoint(name)
