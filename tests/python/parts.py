"""Batches that come in parts: how they are cut, and the losses that are tried on them."""

import numpy as np

from nnext.layers import (
    AbsoluteError,
    HuberLoss,
    PoissonLoss,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    SquaredError,
)
from reference import normal

N, D, C = 23, 4, 3
CUTS = [(0, 7), (7, 8), (8, 8), (8, 23)]  # uneven ones, and one without rows


def same(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


CLASSES = [
    (SoftmaxWithLoss, {}),
    (SoftmaxWithLoss, {"ignore_label": 1, "label_smoothing": 0.1}),
    (SoftmaxWithLoss, {"class_weight": [0.1, 0.7, 1.3], "z_loss": 0.01, "softcap": 3.0}),
    (SoftmaxWithLoss, {"reduction": "sum"}),
]
TARGETS = [
    (SquaredError, {}),
    (AbsoluteError, {}),
    (HuberLoss, {"delta": 0.5}),
    (PoissonLoss, {}),
    (SigmoidWithLoss, {"pos_weight": [0.5, 1.0, 2.0]}),
    (SquaredError, {"reduction": "sum"}),
]


def loss_case(cls, dtype):
    x = normal(dtype, N, C, seed=5)
    return x, np.arange(N) * 5 % C if cls is SoftmaxWithLoss else (x[::-1] > 0).astype(dtype)
