"""Derive the polynomial coefficients of cpp/src/kernels/math.h and gelu.h, as C++ hex floats.

Each function is reduced to a smooth remainder on a short interval and interpolated at Chebyshev
nodes in 60-digit arithmetic, which is within a few per cent of the minimax polynomial and needs no
exchange algorithm. Needs mpmath. Run: python scripts/minimax.py
"""

from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def chebyshev_polynomial(
    f: Callable[[mp.mpf], mp.mpf], low: mp.mpf, high: mp.mpf, degree: int
) -> list[mp.mpf]:
    """Coefficients of the interpolant of `f` at degree + 1 Chebyshev nodes, constant first."""
    n = degree + 1
    nodes = [
        (low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n))
        for i in range(n)
    ]
    matrix = mp.matrix(n, n)
    values = mp.matrix(n, 1)
    for i, x in enumerate(nodes):
        values[i] = f(x)
        for j in range(n):
            matrix[i, j] = x**j
    return list(mp.lu_solve(matrix, values))


def show(name: str, coefficients: list[mp.mpf], dtype: type[np.floating]) -> None:
    """Print one array of coefficients, highest power first (the order Horner's rule reads them)."""
    suffix = "f" if dtype is np.float32 else ""
    rounded = [float(dtype(mp.nstr(c, 40))) for c in reversed(coefficients)]
    print(name, "{" + ", ".join(f"{c.hex()}{suffix}" for c in rounded) + "}")


def split(value: mp.mpf, bits: int, dtype: type[np.floating]) -> tuple[float, float]:
    """`value` as a head of `bits` significant bits and a tail of the type's own precision."""
    exponent = mp.floor(mp.log(value, 2)) - bits + 1
    head = mp.nint(value / mp.mpf(2) ** exponent) * mp.mpf(2) ** exponent
    return float(head), float(dtype(mp.nstr(value - head, 40)))


def exp_remainder(r: mp.mpf) -> mp.mpf:
    """(e^r - 1 - r) / r^2."""
    return (mp.expm1(r) - r) / r**2 if abs(r) > 1e-15 else mp.mpf(1) / 2


def log_remainder(f: mp.mpf) -> mp.mpf:
    """(log(1 + f) - f + f^2 / 2) / f^3."""
    return (mp.log1p(f) - f + f**2 / 2) / f**3 if abs(f) > 1e-15 else mp.mpf(1) / 3


def atanh_remainder(z: mp.mpf) -> mp.mpf:
    """(log((1 + s) / (1 - s)) - 2 s) / s^3 with z = s^2."""
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / s**3 if abs(s) > 1e-15 else mp.mpf(2) / 3


def tanh_remainder(z: mp.mpf) -> mp.mpf:
    """(tanh(x) - x) / x^3 with z = x^2."""
    x = mp.sqrt(z)
    return (mp.tanh(x) - x) / x**3 if abs(x) > 1e-15 else mp.mpf(-1) / 3


half_ln2 = mp.log(2) / 2 * mp.mpf("1.001")
low, high = mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1
s_max = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)

for kind, exp_degree, hi_bits in ((np.float32, 4, 16), (np.float64, 9, 42)):
    print(kind.__name__)
    show("  exp", chebyshev_polynomial(exp_remainder, -half_ln2, half_ln2, exp_degree), kind)
    print("  ln2 head, tail", [c.hex() for c in split(mp.log(2), hi_bits, kind)])
show("float32 log", chebyshev_polynomial(log_remainder, low, high, 8), np.float32)
show("float64 log", chebyshev_polynomial(atanh_remainder, mp.mpf(0), s_max**2, 6), np.float64)
tanh_max = mp.mpf("0.625")
show("float32 tanh", chebyshev_polynomial(tanh_remainder, mp.mpf(0), tanh_max**2, 4), np.float32)
show("float64 tanh", chebyshev_polynomial(tanh_remainder, mp.mpf(0), tanh_max**2, 11), np.float64)


# --- kernels/gelu.h -------------------------------------------------------------------------------


def first_normal(f: Callable[[mp.mpf], mp.mpf], near: float, dtype: type[np.floating]) -> float:
    """Lowest x near `near` for which ``|f(x)|``, which grows with x, is a normal number."""
    least = mp.mpf(float(np.finfo(dtype).smallest_normal))
    root = mp.findroot(lambda x: mp.log(abs(f(x))) - mp.log(least), near)
    x = dtype(mp.nstr(root, 40))
    return float(x if mp.mpf(float(x)) >= root else np.nextafter(x, dtype(0)))


def phi(x: mp.mpf) -> mp.mpf:
    """Density of the normal distribution."""
    return mp.exp(-(x**2) / 2) / mp.sqrt(2 * mp.pi)


def cumulated(x: mp.mpf) -> mp.mpf:
    """Its distribution function."""
    return mp.erfc(-x / mp.sqrt(2)) / 2


def sigmoid(v: mp.mpf) -> mp.mpf:
    """1 / (1 + e^-v)."""
    return 1 / (1 + mp.exp(-v))


line, cube = 2 * mp.sqrt(2 / mp.pi), 2 * mp.sqrt(2 / mp.pi) * mp.mpf("0.044715")


def tanh_argument(x: mp.mpf) -> mp.mpf:
    """Twice what the tanh of GELU's approximation is taken of."""
    return x * (line + cube * x**2)


def silu_slope(x: mp.mpf) -> mp.mpf:
    """Derivative of x sigmoid(x)."""
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)))


def tanh_slope(x: mp.mpf) -> mp.mpf:
    """Derivative of GELU's approximation."""
    s = sigmoid(tanh_argument(x))
    return s * (1 + x * (line + 3 * cube * x**2) * (1 - s))


def constant(name: str, value: float | np.floating, dtype: type[np.floating]) -> None:
    """Print one constant."""
    print(f"  {name} = {float(value).hex()}{'f' if dtype is np.float32 else ''}")


def shifted(coefficients: list[mp.mpf], center: mp.mpf) -> list[mp.mpf]:
    """Coefficients of the same polynomial in powers of x - center."""
    rest, found = list(coefficients), []
    while rest:  # Horner's rule, again and again
        for i in range(len(rest) - 2, -1, -1):
            rest[i] += rest[i + 1] * center
        found.append(rest.pop(0))
    return found


def show_tail(low: float, degree: int, dtype: type[np.floating]) -> None:
    """Print the polynomial for Phi(-t) e^(t^2/2) / w, w = 1 / (1 + 3/8 t), of all t from 0 to -low.

    It is one of w less a center near the middle, of two thousand the one for which the two leading
    coefficients are next to numbers of the type: their roundings are the largest errors.
    """

    rate = mp.mpf(3) / 8

    def factor(w: mp.mpf) -> mp.mpf:
        t = (1 / w - 1) / rate
        return cumulated(-t) * mp.exp(t**2 / 2) / w

    def rounded(x: mp.mpf) -> mp.mpf:
        return mp.mpf(float(dtype(mp.nstr(x, 40))))

    def distance(center: mp.mpf) -> mp.mpf:
        return sum(abs(c - rounded(c)) for c in shifted(whole, center)[:2])

    lowest = 1 / (1 - mp.mpf(low) * rate)
    whole = chebyshev_polynomial(factor, lowest, mp.mpf(1), degree)
    middle = int(mp.nint((mp.mpf("0.55") * lowest + mp.mpf("0.45")) * 2**16))
    centers = [mp.mpf(middle + i) / 2**16 for i in range(-1000, 1001)]
    center = min(centers, key=distance)
    constant("kTailRate", rate, dtype)
    constant("kTailCenter", center, dtype)
    at_center, *others = shifted(whole, center)
    constant("kTailAtCenter", rounded(at_center), dtype)
    show("  kTailSlope", others, dtype)


for kind, tail_degree, line_bits, tanh_one in ((np.float32, 12, 12, 30), (np.float64, 25, 26, 60)):
    print(kind.__name__, "GELU and SiLU")
    near = -92.0 if kind is np.float32 else -715.0
    constant("kSiluLow", first_normal(lambda x: x * sigmoid(x), near, kind), kind)
    constant("kSiluSlopeLow", first_normal(silu_slope, near, kind), kind)
    near = -10.0 if kind is np.float32 else -21.2
    constant("kTanhLow", first_normal(lambda x: x * sigmoid(tanh_argument(x)), near, kind), kind)
    constant("kTanhSlopeLow", first_normal(tanh_slope, near, kind), kind)
    one = mp.findroot(lambda x, one=tanh_one: tanh_argument(x) - one, 7)
    constant("kTanhHigh", kind(mp.nstr(one, 40)), kind)
    head, tail = split(line, line_bits, kind)
    constant("kTanhLineHead", head, kind)
    constant("kTanhLineTail", tail, kind)
    head, tail = split(cube, np.finfo(kind).nmant + 1, kind)
    constant("kTanhCube", head, kind)
    constant("kTanhCubeTail", tail, kind)
    near = -13.15 if kind is np.float32 else -38.5
    constant("kGeluLow", first_normal(lambda x: x * cumulated(x), near, kind), kind)
    low = first_normal(lambda x: cumulated(x) + x * phi(x), near, kind)
    constant("kGeluSlopeLow", low, kind)
    constant("kDensityAtZero", kind(mp.nstr(phi(mp.mpf(0)), 40)), kind)
    show_tail(low, tail_degree, kind)
