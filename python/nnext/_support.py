"""Small things that several modules need: optional packages, seeds, shared parameters."""

from __future__ import annotations

import importlib
import inspect
import math
import operator
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from nnext import _nnext

Array = NDArray[Any]


def require(module: str, extra: str, purpose: str) -> Any:
    """Import an optional package, or say how to install it.

    Parameters
    ----------
    module : str
        What to import, for example ``"matplotlib.figure"``.
    extra : str
        The extra of nnext that installs it.
    purpose : str
        What needs it; the message begins with this.

    Raises
    ------
    ImportError
        If the package is not installed; the message holds the command that installs it.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # the package is there, and lacks something itself
            raise
        name = {"sklearn": "scikit-learn"}.get(package, package)
        raise ImportError(
            f"{purpose} needs {name}, which is not installed: "
            f'pip install "{_nnext.__distribution__}[{extra}]"',
            name=package,
        ) from None
    return importlib.import_module(module)


def check_numbers(**numbers: Any) -> None:
    """Raise a TypeError that names the first argument that the core cannot take as a number."""
    for name, value in numbers.items():
        try:
            refuse_axes(value)
            math.isnan(value)
        except TypeError:
            raise TypeError(f"{name}: expected a number, got {type(value).__name__}") from None
        except OverflowError:
            raise ValueError(f"{name}: expected a number of 64 bits, got a larger one") from None


def refuse_axes(value: Any) -> None:
    """Raise a TypeError for an array or tensor with axes: of one element it passes for a number."""
    if getattr(value, "ndim", 0):
        raise TypeError


def as_number(value: Any) -> float | None:
    """Return one number as a float, or None for anything else: text, an array, a complex number."""
    try:
        refuse_axes(value)
        math.isnan(value)  # float() would take text
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def whole_number(name: str, value: Any, expected: str = "a whole number") -> int:
    """Return a whole number as an int, NumPy's integers too: these would overflow in sums.

    Raises
    ------
    TypeError
        If it is none; the message names the argument. True and False are none.
    """
    if not isinstance(value, bool | np.bool):  # an index for NumPy 2.0 and 2.1, with a warning
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"{name}: expected {expected}, got {value!r}")


def has_parameter(function: Any, name: str) -> bool:
    """Say whether a function takes an argument of this name."""
    function = getattr(function, "__func__", function)  # of a method: each is new
    try:
        return name in _PARAMETERS[function]
    except (KeyError, TypeError):  # not seen yet, or cannot be kept
        pass
    try:
        names = frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a compiled function may have no signature to read
        names = frozenset()
    with suppress(TypeError):
        _PARAMETERS[function] = names
    return name in names


# Reading a signature takes 10 us, of which a batch in parts would need one for each layer and part.
_PARAMETERS: WeakKeyDictionary[Any, frozenset[str]] = WeakKeyDictionary()


class naming:  # noqa: N801, used as a function is
    """Call an argument in errors what the caller does: with ``t="ts"`` they begin "ts: ...".

    A class, since that takes 0.2 us where a generator takes 1.
    """

    def __init__(self, **names: str) -> None:
        self._names = names

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if kind is None or not isinstance(error, (IndexError, TypeError, ValueError)):
            return
        name, colon, rest = str(error).partition(":")
        if colon and name in self._names:
            new = self._names[name]
            rest = re.sub(rf" {name}(?=[.\[])", f" {new}", rest)  # t.filled(value), ts[2, 1]
            raise type(error)(f"{new}:{rest}") from None


def refuse_sparse(name: str, value: Any) -> None:
    """Raise a TypeError for a sparse matrix, which NumPy takes for one object."""
    if hasattr(value, "toarray") and not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name}: expected a NumPy array, and a sparse matrix must be made dense; got the "
            f"sparse {type(value).__name__}; {name}.toarray() is an array"
        )


def refuse_masked(name: str, value: Any) -> None:
    """Raise a TypeError for an array of which something is masked: nothing here knows masks."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(
            f"{name}: expected an array without masked elements, whose mask would be lost; "
            f"{name}.filled(value) is an array without"
        )


def make_array(name: str, value: Any) -> Array:
    """Return a value as an array, or say by its name why it is none.

    Raises
    ------
    ValueError
        If its rows are not equally long; or what its own code raised.
    TypeError
        If it does not let itself be made one, as a tensor that needs a gradient.
    """
    try:
        return np.asarray(value)
    except ValueError as error:
        if "inhomogeneous" not in str(error):  # as NumPy calls it: else of code of the value's own
            raise
        raise ValueError(
            f"{name}: expected an array, got rows of different lengths ({_uneven(value) or error})"
        ) from None
    except (TypeError, RuntimeError, BufferError) as error:
        raise TypeError(
            f"{name}: expected a NumPy array of numbers, got {type(value).__name__}, of which none "
            f"can be made: {error}"
        ) from None


def _uneven(rows: Iterable[Any]) -> str:
    """Say which of some rows is the first that is not as long as the first one."""
    lengths = [
        len(row) if hasattr(row, "__len__") and getattr(row, "shape", None) != () else 0
        for row in rows
    ]
    other = next((i for i, length in enumerate(lengths) if length != lengths[0]), None)
    return "" if other is None else f"row 0 has {lengths[0]}, row {other} has {lengths[other]}"


def check_count(name: str, value: Any) -> int:
    """Return a whole number of at least 1 as an int: NumPy's own integers would overflow.

    Raises
    ------
    ValueError
        If it is none; the message names the argument.
    """
    try:
        count = whole_number(name, value)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
    if count > sys.maxsize:
        raise ValueError(f"{name}: expected a number of 64 bits, got {count}")
    return count


def check_flag(name: str, value: Any) -> bool:
    """Return True or False, NumPy's too; anything else is a TypeError that names the argument."""
    if not isinstance(value, (bool, np.bool)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def random_state(seed: int | None) -> np.random.RandomState:
    """Give the random stream of a seed; without one, ``numpy.random.seed`` governs.

    A ``RandomState``, because NumPy froze its stream for good: a seed gives the same weights,
    the same order of samples and the same points with every version of NumPy.
    """
    try:
        number = np.random.randint(2**31) if seed is None else whole_number("seed", seed)
        return np.random.RandomState(number)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"seed: expected a whole number from 0 to {2**32 - 1}, got {seed!r}") from None


def random_source(seed: int | None, rng: Any) -> Any:
    """Give a generator that was given, or else the stream of a seed (`random_state`).

    Raises
    ------
    ValueError
        If both are given.
    TypeError
        If one of them is something else.
    """
    if rng is None:
        return random_state(seed)
    check_source(rng, seed)
    return rng


def given_source(seed: int | None, rng: Any) -> Any:
    """Give what `random_source` gives, or None without a generator and a seed.

    That is for what draws from ``numpy.random`` itself then, as the book does.
    """
    return None if seed is None and rng is None else random_source(seed, rng)


def check_source(rng: Any, seed: int | None) -> None:
    """Refuse what is no source of random numbers, and one beside a seed."""
    if seed is not None:
        raise ValueError(f"expected rng or seed, got both: rng={rng!r}, seed={seed!r}")
    if not (hasattr(rng, "standard_normal") and hasattr(rng, "permutation")):
        hint = f"; a seed has a name: seed={rng!r}" if isinstance(rng, (int, np.integer)) else ""
        raise TypeError(
            f"rng: expected a numpy.random.RandomState or numpy.random.Generator, got {rng!r}{hint}"
        )


def draw_seed(rng: Any) -> int:
    """Draw a whole number of 63 bits from a Generator, a RandomState or ``numpy.random``."""
    if hasattr(rng, "integers"):
        return int(rng.integers(2**63 - 1))
    return int(rng.randint(2**63 - 1, dtype=np.int64))


def zeros_for(p: Array, dtype: np.dtype[Any] | None = None) -> Array:
    """Return zeros in the shape and layout of an array, in a plain one.

    NumPy's ``zeros_like`` writes them; these are pages that the system makes when they are first
    written, unless the layout is one with gaps. So the gradients of a model that only answers take
    no memory.
    """
    if p.flags.c_contiguous or p.flags.f_contiguous:
        order: Literal["C", "F"] = "C" if p.flags.c_contiguous else "F"
        return np.zeros(p.shape, p.dtype if dtype is None else dtype, order)
    return np.zeros_like(p, dtype, subok=False)


def alike_strides(p: Array) -> tuple[int, ...]:
    """Return strides that are equal for arrays of one shape exactly if they step alike.

    The stride of an axis of length 1 means nothing, and is 0 here.
    """
    return tuple([step if n > 1 else 0 for step, n in zip(p.strides, p.shape, strict=True)])


def find_overlap(own: Sequence[Any], others: Sequence[Any]) -> tuple[int, int] | None:
    """Find two arrays that share memory, of which one or both are among `own`.

    Parameters
    ----------
    own, others : sequence of ndarray
        What is no array is passed over.

    Returns
    -------
    (int, int) or None
        Their places in ``[*own, *others]``, the smaller first, a place twice for an array of `own`
        whose elements share memory with each other.
    """
    arrays = [*own, *others]
    bounds = [
        (*byte_bounds(a), k) for k, a in enumerate(arrays) if isinstance(a, np.ndarray) and a.size
    ]
    open_: list[tuple[int, int]] = []  # ends and places of those before that may reach this far
    for start, end, k in sorted(bounds):
        if k < len(own) and arrays[k].nbytes > end - start:
            return k, k
        open_ = [(stop, i) for stop, i in open_ if stop > start]
        for _, i in open_:
            # Bounds may cross without a shared byte: those of the columns of a matrix do.
            if min(i, k) < len(own) and np.shares_memory(arrays[i], arrays[k]):
                return min(i, k), max(i, k)
        open_.append((end, k))
    return None


def find_shared(params: Sequence[Array]) -> list[tuple[int, bool]]:
    """Say for each parameter which one it shares its memory with.

    Two parameters are shared if they are the same memory seen alike (the same array, or a view of
    the whole of it) or one is the transposed view of the other. Equal numbers in different memory
    are a coincidence and share nothing.

    Parameters
    ----------
    params : sequence of ndarray

    Returns
    -------
    list of (int, bool)
        For each parameter the index of the first one with its memory (its own index if there is
        none before it), and whether it is that one's transpose.
    """
    if all(p.base is None for p in params):  # no views: seen in a tenth of the time
        seen: dict[int, int] = {}
        return [(seen.setdefault(id(p), i), False) for i, p in enumerate(params)]
    first: dict[tuple[Any, ...], int] = {}
    found = []
    for i, p in enumerate(params):
        memory = p.__array_interface__["data"][0]
        strides = alike_strides(p)
        key = (memory, p.dtype, p.shape, strides)
        transposed = (memory, p.dtype, p.shape[::-1], strides[::-1])
        if key not in first and transposed in first:
            found.append((first[transposed], True))
        else:
            found.append((first.setdefault(key, i), False))
    return found
