"""How the package was built, what it runs on, and on how many threads."""

from __future__ import annotations

from typing import Any, Literal, overload

from nnext import _nnext, _threadpoolctl
from nnext._support import require, whole_number

__all__ = [
    "empty_cache",
    "get_num_threads",
    "get_score_budget",
    "register_threadpoolctl",
    "set_num_threads",
    "set_score_budget",
    "show_config",
]


def set_num_threads(n: int) -> None:
    """Set on how many threads the core computes; the bits of every result stay the same.

    Parameters
    ----------
    n : int
        From 1 to 1024. Small operations run on one thread whatever it is, and there are never more
        threads than processors that the process may use (``cpus`` of `show_config`).

    Raises
    ------
    ValueError
        If `n` is below 1 or above 1024.
    TypeError
        If `n` is not an integer.
    """
    _nnext.set_num_threads(whole_number("n", n))


def get_num_threads() -> int:
    """Return on how many threads the core computes."""
    return _nnext.get_num_threads()


def register_threadpoolctl() -> None:
    """Make threadpoolctl list and limit nnext, under the name ``"nnext"``.

    ``threadpool_info()`` has it then, and ``threadpool_limits(1)`` and
    ``threadpool_limits({"nnext": 1})`` limit it for a while, in the whole process, as
    `set_num_threads` does: limits of threads that overlap disturb one another. Needed only where
    threadpoolctl is imported after nnext: else ``import nnext`` registers, and
    ``import nnext.sklearn`` always does. Again is no harm.

    Raises
    ------
    ImportError
        If threadpoolctl is not installed, or is older than 3.2.

    Examples
    --------
    >>> import nnext
    >>> from threadpoolctl import threadpool_limits
    >>> nnext.register_threadpoolctl()
    >>> with threadpool_limits(1):
    ...     nnext.get_num_threads()
    1
    """
    threadpoolctl = require("threadpoolctl", "sklearn", "nnext.register_threadpoolctl")
    if not hasattr(threadpoolctl, "register"):
        raise ImportError(
            "nnext.register_threadpoolctl needs threadpoolctl 3.2 or newer, got "
            f"{threadpoolctl.__version__}",
            name="threadpoolctl",
        )
    _threadpoolctl.register(threadpoolctl)


def empty_cache() -> None:
    """Return to the system the memory that is kept for the next large results.

    Results of 128 KiB and more live in blocks that are kept when the array dies, since memory fresh
    from the system costs more time than many operations: at most 512 MiB, and no block for longer
    than a second after it was given back (seen to when the next one comes). Arrays that are alive
    are not affected.
    """
    _nnext.empty_cache()


def set_score_budget(nbytes: int) -> None:
    """Set how much memory the fused losses may take for scores at a time; the bits stay the same.

    `nnext.functions.linear_cross_entropy`, its gradients and `nnext.layers.AffineSoftmaxWithLoss`
    work through their rows in chunks whose scores fit this (one row at least). A larger chunk reads
    and writes the weights and their gradient fewer times; half the default costs some percent.
    Besides, each thread keeps its own working memory of the matrix products, of up to 8 MiB.

    Parameters
    ----------
    nbytes : int
        At least 1; 24 MiB (``24 * 2**20``) at first.

    Raises
    ------
    ValueError
        If `nbytes` is below 1.
    TypeError
        If `nbytes` is not an integer.
    """
    _nnext.set_score_budget(whole_number("nbytes", nbytes))


def get_score_budget() -> int:
    """Return how much memory the fused losses may take for scores at a time, in bytes."""
    return _nnext.get_score_budget()


def threads_in_words() -> str:
    """Say how many threads are set, and how many are used where the processors are fewer."""
    threads, cpus = _nnext.get_num_threads(), _nnext.config()["cpus"]
    return str(threads) if threads <= cpus else f"{threads}, of which {cpus} are used"


def cache_in_words(level: int, size: int, ways: int, **_: int) -> str:
    """Say what a cache of the CPU is, as in ``L1 48 KiB 12-way``."""
    units = {"MiB": 2**20, "KiB": 2**10, "bytes": 1}
    unit = next(unit for unit, nbytes in units.items() if size % nbytes == 0)
    return f"L{level} {size // units[unit]} {unit} {ways}-way"


def config_in_words() -> dict[str, str]:
    """Return what `show_config` prints: what each line is about, and what it says."""
    config = _nnext.config()
    config["caches"] = [cache_in_words(**cache) for cache in config["caches"]]
    config["threads"] = threads_in_words()
    return {
        key: ", ".join(value) if isinstance(value, list | tuple) else str(value)
        for key, value in config.items()
    }


def print_table(lines: dict[str, str]) -> None:
    """Print lines such as ``isa: avx2``, what they say one below the other."""
    width = max(map(len, lines)) + 1
    for key, text in lines.items():
        print(f"{key + ':':<{width}} {text}")


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, Any]: ...
@overload
def show_config(mode: str) -> dict[str, Any] | None: ...
def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show how nnext was built and what it uses here, as `numpy.show_config` does.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print it, or return it.

    Returns
    -------
    dict or None
        With ``"dicts"``: ``version``, ``compiler``, ``isa`` (the instruction set in use),
        ``isa_available`` (those that this machine can run), ``isa_compiled`` (those in this
        build), ``caches`` (the data caches of the CPU, or those that ``NNEXT_CACHES`` says: a dict
        for each level that there is, with ``level``, ``size`` and ``line`` in bytes, ``ways``, and
        of the third level ``cpus``, the processors that share it), ``cpus`` (processors that this
        process may use; no more threads are started), ``threads`` (as they were set, also above
        ``cpus``) and ``cached_bytes`` (memory kept for the next large results).

    Raises
    ------
    ValueError
        If `mode` is neither.
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", not {mode!r}')
    if mode == "dicts":
        return _nnext.config()
    print_table(config_in_words())
    return None
