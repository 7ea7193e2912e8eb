"""The specification of the softmax loss with its options, in float64 NumPy."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Loss:
    """A loss, the gradients of the scores, and how large the numbers in them were."""

    value: np.ndarray
    dscores: np.ndarray


def softmax_loss(
    scores,
    t,
    dout=1.0,
    *,
    reduction="mean",
    ignore_label=None,
    label_smoothing=0.0,
    class_weight=None,
    sample_weight=None,
    z_loss=0.0,
    softcap=None,
):
    """Compute the loss of scores (N, V), and its gradient.

    Labels are class indices (N,) or rows of probabilities (N, V), none of which is ignored.
    """
    x, t = np.asarray(scores, np.float64), np.asarray(t)
    n, v = x.shape
    counts = np.ones(n, bool) if ignore_label is None or t.ndim == 2 else t != ignore_label
    target = np.asarray(t, np.float64)
    if t.ndim == 1:
        target = np.zeros_like(x)
        target[np.arange(n), np.where(counts, t, 0).astype(np.int64)] = 1
    w = np.ones(v) if class_weight is None else np.asarray(class_weight, np.float64)
    s = np.ones(n) if sample_weight is None else np.asarray(sample_weight, np.float64)
    s = np.where(counts, s, 0.0)
    z = x if softcap is None else softcap * np.tanh(x / softcap)
    top = z.max(axis=1, keepdims=True)
    lse = (top + np.log(np.exp(z - top).sum(axis=1, keepdims=True)))[:, 0]
    p = np.exp(z - lse[:, None])

    eps = label_smoothing
    weight = (target * w).sum(axis=1)
    rows = (1 - eps) * (target * w * (lse[:, None] - z)).sum(axis=1)
    rows += eps / v * (w * (lse[:, None] - z)).sum(axis=1)
    rows += z_loss * lse**2
    rows = np.where(counts, s * rows, 0.0)
    total = (s * weight).sum()
    value = {"mean": rows.sum() / total if n else np.nan, "sum": rows.sum(), "none": rows}[
        reduction
    ]

    dz = (1 - eps) * (weight[:, None] * p - target * w)
    dz += eps / v * (w.sum() * p - w)
    dz += 2 * z_loss * lse[:, None] * p
    factor = np.broadcast_to(np.asarray(dout, np.float64) * s, n)
    if reduction == "mean":
        factor = factor / total
    dx = np.where(counts, factor, 0.0)[:, None] * dz
    if softcap is not None:
        dx = dx * (1 - (z / softcap) ** 2)
    return Loss(value, dx)


def every_option(n, v, seed=0):
    """Yield all 96 combinations of the options, as keyword arguments and the labels' holes."""
    rng = np.random.default_rng(seed)
    class_weight, sample_weight = rng.uniform(0.5, 2, v), rng.uniform(0.5, 2, n)
    class_weight[v // 2] = 0 if v > 2 else class_weight[v // 2]
    for reduction in ("mean", "sum", "none"):
        for bits in range(32):
            yield {
                "reduction": reduction,
                "label_smoothing": 0.1 if bits & 1 else 0.0,
                "class_weight": class_weight if bits & 2 else None,
                "sample_weight": sample_weight if bits & 4 else None,
                "z_loss": 0.01 if bits & 8 else 0.0,
                "softcap": 3.0 if bits & 16 else None,
            }
