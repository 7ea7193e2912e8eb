"""Derive the polynomial coefficients of cpp/src/kernels/math.h, as C++ hexadecimal floats.

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
