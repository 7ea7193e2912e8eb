"""What is said of arguments that make no layer: which one, and what does."""

import re

import numpy as np
import pytest

import nnext
import nnext.layers

W, b = np.ones((2, 3), np.float32), np.ones(3, np.float32)
FLOATS = "expected a NumPy array of floats, got"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnext.Affine(2, 3), rf"W: {FLOATS} 2; nnext\.affine\(input_size, output_size\)"),
        (lambda: nnext.Affine(np.int64(2), b), r"W: .* nnext\.affine"),
        (
            lambda: nnext.Affine(W, None),
            rf"b: {FLOATS} None; MatMul\(W\) is the layer",
        ),
        (lambda: nnext.Affine(W, 3), rf"b: {FLOATS} int"),
        (lambda: nnext.Affine(W, b.astype(int)), rf"b: {FLOATS} one of int64"),
        (lambda: nnext.MatMul([[1.0, 2]]), rf"W: {FLOATS} list"),
        (lambda: nnext.Embedding(5), rf"W: {FLOATS} int"),
        (lambda: nnext.AffineSoftmaxWithLoss(W.astype(bool)), rf"W: {FLOATS} one of bool"),
        (lambda: nnext.AffineSoftmaxWithLoss(W, 5), rf"b: {FLOATS} int"),
        (lambda: nnext.layers.Layer(W, [1.0]), rf"params\[1\]: {FLOATS} list"),
    ],
)
def test_what_is_no_parameter_is_named(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("dtype", [int, bool, complex, np.longdouble, "U3", "nonsense", object()])
@pytest.mark.parametrize("make", [nnext.affine, lambda *a, **k: nnext.TwoLayerNet(2, *a, **k)])
def test_a_type_that_is_none_of_parameters_is_named(make, dtype):
    expected = "dtype: expected float32, float64, float16 or bfloat16, got "
    with pytest.raises(TypeError, match=expected):
        make(2, 3, dtype=dtype)


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float16, 1e6), (np.float32, 1e39), (np.float64, 1.7e308)]
)
def test_weights_that_their_type_cannot_hold_are_refused(dtype, scale):
    expected = f"weight_scale: weights of standard deviation {scale:g} are too large for "
    with pytest.raises(ValueError, match=re.escape(expected + np.dtype(dtype).name)):
        nnext.affine(20, 30, seed=0, dtype=dtype, weight_scale=scale)
    assert np.isfinite(nnext.affine(20, 30, seed=0, dtype=dtype, weight_scale=1e4).params[0]).all()


@pytest.mark.parametrize("module", [nnext, nnext.layers], ids=lambda m: m.__name__)
def test_the_names_that_others_have_are_told_ours(module):
    for name in ("Linear", "Dense"):
        with pytest.raises(
            AttributeError, match=rf"'{module.__name__}' .* '{name}': .*nnext\.affi"
        ):
            getattr(module, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'other'$"):
        module.other  # noqa: B018
    assert not hasattr(module, "__wrapped__")
