"""The options of a loss as a Python object: pickled, copied, half made."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import nnext
from nnext import SoftmaxWithLoss
from nnext._nnext import LossOptions

OPTIONS = {
    "reduction": "none",
    "ignore_label": 7,
    "label_smoothing": 0.1,
    "class_weight": [1.0, 0.5, 2.0],
    "z_loss": 1e-3,
    "softcap": 30.0,
}


def run(code):
    """Run code in a process of its own, which may end by a signal; returns what it printed."""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_protocol_ends_the_process():
    code = """
import pickle, nnext
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    pickle.loads(pickle.dumps(nnext.TwoLayerNet(2, 3, 4, seed=0), protocol))
    print(protocol, len(nnext.SoftmaxWithLoss().options.__reduce__()))
"""
    assert run(code).splitlines()[:2] == ["0 3", "1 3"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["default", "all"])
def test_every_way_of_copying_keeps_the_options(options, protocol):
    made = LossOptions(**options)
    copies = [pickle.loads(pickle.dumps(made, protocol)), copy.copy(made), copy.deepcopy(made)]
    for one in copies:
        assert type(one) is LossOptions
        assert one == made
        assert str(one) == str(made)


def test_a_layer_from_a_pickle_computes_the_same_loss():
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    layer = SoftmaxWithLoss(**OPTIONS)
    again = pickle.loads(pickle.dumps(layer, 2))
    t = np.array([0, 7, 2, 1, 0])
    np.testing.assert_array_equal(again.forward(x, t), layer.forward(x, t))


USES = [
    "print(empty)",
    "empty.reduction",
    "empty == nnext._nnext.LossOptions()",
    "nnext._nnext.LossOptions() == empty",
    "empty.__getstate__()",
    "layer = nnext.SoftmaxWithLoss(); layer.options = empty; repr(layer)",
    "nnext._nnext.softmax_loss_forward([[1.0, 2.0]], [0], empty, None)",
    "nnext._nnext.softmax_loss_backward(None, [[0.5, 0.5]], [0], empty, None, 1)",
    "nnext._nnext.class_indices([0], (1, 2), empty)",
    "nnext._nnext.linear_cross_entropy([[1.0]], [[1.0, 2.0]], [0], None, empty, None)",
    "nnext._nnext.linear_cross_entropy_with_grad("
    "[[1.0]], [[1.0, 2.0]], [0], None, empty, None, 1, None, None, None, True)",
    "nnext._nnext.linear_top_k([[1.0]], [[1.0, 2.0]], None, 1, empty)",
]


def test_options_that_hold_nothing_are_a_type_error():
    code = f"""
import nnext
empty = nnext._nnext.LossOptions.__new__(nnext._nnext.LossOptions)
for use in {USES!r}:
    try:
        exec(use)
    except TypeError as error:
        print(error)
"""
    message = "options: expected LossOptions, got an object whose __init__ was not called"
    assert run(code).splitlines() == [message] * len(USES)


def test_none_is_no_options():
    with pytest.raises(TypeError, match="LossOptions"):
        nnext._nnext.softmax_loss_forward([[1.0, 2.0]], [0], None, None)  # type: ignore[arg-type]
