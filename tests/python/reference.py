"""The specification: every operation once more in NumPy, naive and in float64, and how to compare.

The functions follow the book's formulas and are meant to be read, not to be fast. `chain_matmul`
is exact: it says which bits a product has. All else is compared by `assert_close`, whose
tolerance is a number of roundings times the unit roundoff times the size of what was rounded.
"""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np

FLOATS = [np.float32, np.float64]
HALVES = [np.float16, ml_dtypes.bfloat16]  # stored so, computed in float32
SWAPPED = [np.dtype(t).newbyteorder("S") for t in (np.float16, *FLOATS)]  # as good as native
INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]

# The same numbers in other places of memory
VIEWS = {
    "fortran": np.asfortranarray,
    "rows back": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "last axis back": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "slice": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=-1)[::2, ..., ::3],
}


def normal(dtype, *shape, seed=0):
    """Draw standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# Comparison


def unit_roundoff(dtype):
    """Largest relative error of one rounding to nearest."""
    return float(np.finfo(dtype).eps) / 2


def assert_close(actual, expected, terms, scale=None):
    """Assert ``|actual - expected| <= terms * u * scale``, element by element.

    `u` is the unit roundoff of the type of `actual`, `scale` what the roundings were relative to
    (``|expected|`` if left out). Infinities must be the same, NaNs at the same places.
    """
    actual = np.asarray(actual)
    wide = np.longdouble if np.asarray(expected).dtype == np.longdouble else np.float64
    expected = np.asarray(expected, wide)
    assert actual.dtype.kind == "f", f"expected floats, got {actual.dtype}"
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    scale = abs(expected) if scale is None else np.broadcast_to(scale, expected.shape)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite].astype(actual.dtype))
    # Below the normal numbers a rounding costs up to half the smallest of all.
    u, tiny = unit_roundoff(actual.dtype), float(np.finfo(actual.dtype).smallest_subnormal)
    error = abs(actual[finite].astype(wide) - expected[finite])
    bound = terms * (u * scale[finite].astype(wide) + tiny)
    bad = ~(error <= bound)
    assert not bad.any(), (
        f"{np.count_nonzero(bad)} of {actual.size} elements are beyond {terms} roundings; "
        f"the worst is {np.max(error[bad] / bound[bad]):.3g} times too far: "
        f"{actual[finite][bad][0]!r}, expected {expected[finite][bad][0]!r}"
    )


def assert_ulps(actual, expected, ulps):
    """Assert that `actual` is within `ulps` units in the last place of `expected`.

    `expected` comes from a wider type and is itself off by up to half of its own last place.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    own = float(np.finfo(expected.dtype).eps) / float(np.finfo(actual.dtype).eps)
    finite = np.isfinite(expected) & (abs(expected) <= np.finfo(actual.dtype).max)
    unit = np.spacing(abs(expected[finite]).astype(actual.dtype)).astype(expected.dtype)
    error = abs(actual[finite].astype(expected.dtype) - expected[finite]) / unit
    assert np.all(error <= ulps + own), f"{np.max(error):.3g} ULP, expected {ulps}"


def assert_same_bits(actual, expected):
    """Assert equal shapes, types and bits, so that -0 is not 0; NaNs may differ in payload."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, f"{actual.dtype}, expected {expected.dtype}"
    np.testing.assert_array_equal(actual, expected, strict=True)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[numbers]), np.signbit(expected[numbers]))


def assert_product(actual, a, b):
    """Assert ``|actual - a b| <= K u (|a| |b|)``; the float64 product here may err as much."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    own = unit_roundoff(np.float64) / unit_roundoff(np.asarray(actual).dtype)
    assert_close(actual, a @ b, a.shape[-1] * (1 + own), abs(a) @ abs(b))


def assert_gradient(analytic, numerical, dtype):
    """Assert agreement within the errors of a central difference, about eps² at values of 1."""
    step = float(np.finfo(dtype).eps) ** (1 / 3)
    scale = max(1.0, float(abs(numerical).max(initial=0)))
    assert analytic.shape == numerical.shape
    assert abs(analytic - numerical).max(initial=0) <= 100 * step**2 * scale


# The ordered chain, to the bit


def fma32(a, b, c):
    """``a b + c`` of finite float32 arrays, rounded once.

    The product is exact in float64. The sum is rounded to odd there: when it is not exact, its
    last bit is set, so that the second rounding, to float32, falls where one rounding would.
    """
    p, c = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    s = p + c
    tail = s - p
    error = (p - (s - tail)) + (c - tail)  # exact: Knuth's two-sum
    even = (s.view(np.int64) & 1) == 0
    s = np.where((error != 0) & even, np.nextafter(s, np.copysign(np.inf, error)), s)
    return s.astype(np.float32)


def fma64(a, b, c):
    """``a b + c`` of finite float64 arrays, rounded once, by exact fractions."""
    out = np.empty(np.broadcast(a, b, c).shape)
    for i, (x, y, z) in zip(np.ndindex(out.shape), np.broadcast(a, b, c), strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        # An exact zero has no sign as a fraction: IEEE's is that of the sum of two signed zeros.
        out[i] = float(exact) if exact else float(x) * float(y) + float(z)
    return out


def chain_matmul(a, b):
    """Return ``a b`` of two matrices by the chain ``acc = +0; for k: acc = fma(a_k, b_k, acc)``."""
    fma = {np.dtype(np.float32): fma32, np.dtype(np.float64): fma64}[a.dtype]
    acc = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for k in range(a.shape[1]):
        column, row = np.broadcast_arrays(a[:, k, None], b[None, k, :])
        acc = fma(column, row, acc)
    return acc


# Functions and losses


def f64(x):
    return np.asarray(x, np.float64)


def one_hot(t, n_classes, dtype=np.int64):
    return np.eye(n_classes, dtype=dtype)[np.asarray(t)]


def softmax(x):
    x = f64(x)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def cross_entropy_error(y, t):
    y = np.atleast_2d(f64(y))
    t = np.ravel(t)
    return -np.mean([np.log(y[n, t[n]] + 1e-7) for n in range(len(t))])


def softmax_loss(x, t):
    """Mean of ``log sum exp - x_t`` over all rows."""
    x = f64(x)
    rows, labels = x.reshape(-1, x.shape[-1]), np.ravel(t)
    losses = [
        row.max() + np.log(np.sum(np.exp(row - row.max()))) - row[k]
        for row, k in zip(rows, labels, strict=True)
    ]
    return np.mean(losses)


def softmax_loss_backward(x, t, dout=1.0):
    x = f64(x)
    return (softmax(x) - one_hot(t, x.shape[-1])) * dout / (x.size // x.shape[-1])


def sigmoid(x):
    x = f64(x)
    return np.where(x >= 0, 1 / (1 + np.exp(-abs(x))), np.exp(-abs(x)) / (1 + np.exp(-abs(x))))


def sigmoid_loss(x, t):
    x, t = f64(x), f64(t)
    return np.sum(np.maximum(x, 0) - x * t + np.log1p(np.exp(-abs(x)))) / len(x)


def relu(x):
    return np.maximum(f64(x), 0)


def leaky_relu(x, negative_slope=0.01):
    return np.where(f64(x) > 0, x, negative_slope * f64(x))


def silu(x):
    return f64(x) * sigmoid(x)


def normal_tail(x):
    """Return Phi(x), the normal distribution, with all digits for negative `x`."""
    return np.vectorize(math.erfc, otypes=[np.float64])(-f64(x) * math.sqrt(0.5)) / 2


def gelu(x):
    return f64(x) * normal_tail(x)


def gelu_tanh(x):
    x = f64(x)
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


# Gradients by the input, from the input


def sigmoid_backward(x, dout):
    return f64(dout) * sigmoid(x) * (1 - sigmoid(x))


def tanh_backward(x, dout):
    return f64(dout) * (1 - np.tanh(f64(x)) ** 2)


def relu_backward(x, dout):
    return np.where(f64(x) > 0, dout, 0.0)


def leaky_relu_backward(x, dout, negative_slope=0.01):
    return np.where(f64(x) > 0, dout, negative_slope * f64(dout))


def silu_backward(x, dout):
    return f64(dout) * sigmoid(x) * (1 + f64(x) * sigmoid(-f64(x)))


def gelu_backward(x, dout):
    density = np.exp(-(f64(x) ** 2) / 2) / math.sqrt(2 * math.pi)
    return f64(dout) * (normal_tail(x) + f64(x) * density)


def gelu_tanh_backward(x, dout):
    x = f64(x)
    v = 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    slope = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return f64(dout) * sigmoid(v) * (1 + x * slope * sigmoid(-v))


def softmax_backward(x, dout):
    y, dout = softmax(x), f64(dout)
    return y * (dout - np.sum(y * dout, axis=-1, keepdims=True))


def embedding_backward(dout, idx, shape):
    dW = np.zeros(shape)
    for i in np.ndindex(np.shape(idx)):
        dW[idx[i]] += f64(dout)[i]
    return dW


# Optimizers: steps(gradients of one parameter, in order) from p, in the book's own words


def sgd(p, grads, lr):
    for g in grads:
        p = p - lr * g
    return p


def momentum(p, grads, lr, momentum):
    v = 0 * p
    for g in grads:
        v = momentum * v - lr * g
        p = p + v
    return p


def nesterov(p, grads, lr, momentum):
    """The paper's: the velocity moves the parameter before it is renewed."""
    v = 0 * p
    for g in grads:
        p = p + momentum * momentum * v
        p = p - (1 + momentum) * lr * g
        v = momentum * v - lr * g
    return p


def book_nesterov(p, grads, lr, momentum):
    v = 0 * p
    for g in grads:
        v = momentum * v
        v = v - lr * g
        p = p + momentum * momentum * v
        p = p - (1 + momentum) * lr * g
    return p


def adagrad(p, grads, lr):
    h = 0 * p
    for g in grads:
        h = h + g * g
        p = p - lr * g / (np.sqrt(h) + 1e-7)
    return p


def rmsprop(p, grads, lr, decay_rate):
    h = 0 * p
    for g in grads:
        h = decay_rate * h + (1 - decay_rate) * g * g
        p = p - lr * g / (np.sqrt(h) + 1e-7)
    return p


def adam(p, grads, lr, beta1, beta2):
    m, v = 0 * p, 0 * p
    for t, g in enumerate(grads, 1):
        lr_t = lr * np.sqrt(1.0 - beta2**t) / (1.0 - beta1**t)
        m = m + (1 - beta1) * (g - m)
        v = v + (1 - beta2) * (g * g - v)
        p = p - lr_t * m / (np.sqrt(v) + 1e-7)
    return p


def adamw(p, grads, lr, beta1, beta2, eps, weight_decay):
    m, v = 0 * p, 0 * p
    for t, g in enumerate(grads, 1):
        p = p - lr * weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps)
    return p
