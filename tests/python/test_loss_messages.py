"""What is said of the losses' bad input: which argument, and what came."""

import subprocess
import sys

import numpy as np
import pytest

import nnext
from nnext import EmptyBatchError, SigmoidWithLoss, SoftmaxWithLoss
from nnext.functions import (
    cross_entropy_error,
    linear_cross_entropy,
    linear_cross_entropy_with_grad,
)


@pytest.mark.parametrize("loss", [linear_cross_entropy, linear_cross_entropy_with_grad])
@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_an_empty_batch_has_the_shape_of_x(loss, shape):
    with pytest.raises(EmptyBatchError) as error:
        loss(np.ones(shape), np.ones((3, 5)), np.zeros(shape[:-1], int))
    assert str(error.value) == f"x: expected at least 1 sample for a mean loss, got shape {shape}"


def test_an_empty_batch_of_scores_has_their_shape():
    with pytest.raises(EmptyBatchError, match=r"x: expected at least 1 sample .* shape \(0, 5\)"):
        SoftmaxWithLoss().forward(np.ones((0, 5)), np.zeros(0, int))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1, -1e-9], "holds -1e-09, expected probabilities (at least 0)"),
        ([1, -0.1], "holds -0.1, expected probabilities (at least 0)"),
        ([1, np.nan], "holds nan, expected probabilities (at least 0)"),
        ([1, 1e-3], "adds up to 1.001, expected probabilities that add up to 1"),
        ([1, 1e30], "adds up to 1e+30, expected probabilities that add up to 1"),
    ],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_bad_probabilities_are_shown_as_they_are(row, message, kind):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        SoftmaxWithLoss().forward(np.zeros((1, 2), kind), np.array([row], kind))
    assert str(error.value) == f"t: row 0 {message}"


@pytest.mark.parametrize("value", [1.1, 1.0000002, -1e-9, np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_bad_binary_labels_are_shown_as_they_are(value, kind):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        SigmoidWithLoss().forward(np.zeros((1, 1), kind), np.array([[value]], kind))
    assert str(error.value) == f"t: row 0 holds {kind(value)!s}, expected binary labels in [0, 1]"


@pytest.mark.parametrize("softcap", [1e300, 1e-320, 0, -1.0, np.inf, np.nan])
def test_a_cap_is_a_number_that_float32_can_hold(softcap):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        SoftmaxWithLoss(softcap=softcap)
    expected = "softcap: expected a finite number above 0 that float32 can hold, or None"
    assert str(error.value) == f"{expected}, got {softcap}"


RAGGED = [[1, 2], [3]]
TAKES = {
    "x": [nnext.softmax, nnext.exp, lambda a: SoftmaxWithLoss().forward(a, [0, 0])],
    "a": [lambda a: nnext.matmul(a, [1, 2])],
    "W": [lambda a: linear_cross_entropy([[1.0, 2.0]], a, [0])],
    "t": [lambda a: SoftmaxWithLoss().forward(np.ones((2, 2)), a)],
    "sample_weight": [
        lambda a: linear_cross_entropy(np.eye(2), np.eye(2), [0, 1], sample_weight=a)
    ],
    "class_weight": [lambda a: SoftmaxWithLoss(class_weight=a)],
    "idx": [lambda a: nnext.Embedding(np.ones((5, 2))).forward(a)],
}


@pytest.mark.parametrize(("name", "use"), [(n, use) for n, uses in TAKES.items() for use in uses])
def test_rows_of_unequal_lengths_are_named(name, use):
    with pytest.raises(ValueError, match=f"^{name}: expected rows of equal lengths: .*shape"):
        use(RAGGED)


def test_errors_of_the_callers_own_conversion_come_through():
    class Bad:
        def __array__(self, dtype=None, copy=None):
            raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        nnext.softmax(Bad())


@pytest.mark.parametrize("labels", [np.zeros(2, int), np.ones((2, 0), int), np.ones((2, 0))])
def test_zero_classes_are_too_few(labels):
    for use in (
        lambda: SoftmaxWithLoss().forward(np.ones((2, 0)), labels),
        lambda: SoftmaxWithLoss().labels(labels, (2, 0)),
        lambda: cross_entropy_error(np.ones((2, 0)), labels),
        lambda: linear_cross_entropy(np.ones((2, 3)), np.ones((3, 0)), labels),
    ):
        with pytest.raises(ValueError, match="t: expected labels of at least 2 classes, got 0"):
            use()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux does")
@pytest.mark.parametrize("loss", ["linear_cross_entropy", "linear_cross_entropy_with_grad"])
def test_a_lack_of_memory_says_for_what(loss):
    code = f"""
import resource
import numpy as np
from nnext.functions import {loss}
x, W = np.ones((2, 1), np.float32), np.broadcast_to(np.float32(0), (1, 2**28))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
room = {1.5 if loss.endswith("grad") else 0.5} * W.size * W.itemsize  # the gradient, and no scores
resource.setrlimit(resource.RLIMIT_AS, (int(used + room),) * 2)
try:
    {loss}(x, W, [0, 1])
except MemoryError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    expected = (
        "cannot allocate room for the scores of x of shape (2, 1) with W of shape (1, 268435456)"
    )
    assert done.stdout.strip() == expected, done.stderr
