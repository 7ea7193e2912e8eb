"""The limits of the machine, measured in the same run as what is compared with them."""

import ctypes
import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import Probe, Timing

SOURCE = Path(__file__).with_name("limits.cpp")
# -march=native here alone: the product is never built so.
FLAGS = (("-march=native",), ("-mcpu=native",), ())
FLAGS_OF_ISA = {"avx2": (("-mavx2", "-mfma"),)}
MEMORY = 256 << 20  # bytes to stream through; larger than any cache that it may meet


@dataclass
class Limits:
    """Floating-point operations and bytes that `threads` threads manage a second, as probes."""

    library: Any
    threads: int
    seconds: float
    cache: int = field(default_factory=lambda: last_cache())
    _memory: tuple[float, float] | None = None

    def flops(self, dtype: str) -> float:
        """Multiply-adds of a register tile, each counted as two operations."""
        rate: float = getattr(self.library, f"tile_{dtype}")(self.threads, self.seconds)
        return rate

    def memory(self) -> tuple[float, float]:
        """Bytes read and bytes written a second, each alone; measured once."""
        if self._memory is None:
            read, write = (
                max(function(self.threads, 0.05, MEMORY) for _ in range(3))
                for function in (self.library.read_bytes, self.library.write_bytes)
            )
            self._memory = read, write
        return self._memory

    def probes(self, dtype: str) -> dict[str, Probe]:
        """What `fraction` needs of each round."""
        return {"peak": lambda: self.flops(dtype)}

    def fraction(
        self, taken: Timing, peak: Timing, flop: float, read: float, written: float
    ) -> float:
        """Return which part of `taken` an ideal program would need on this machine.

        It computes at the peak, or where its arrays outgrow the caches, moves each of them once at
        the speed of memory, whichever takes longer.
        """
        moving = 0.0
        if read + written > 2 * self.cache:
            rate = self.memory()
            moving = read / rate[0] + written / rate[1]
        ideal = Timing(tuple(max(flop / rate, moving) for rate in peak.rounds))
        return taken.times_faster_than(ideal)


def load(threads: int, seconds: float, isa: str = "") -> Limits | str:
    """Compile limits.cpp for this machine, or for `isa` alone; return why not if that fails."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limits.so"
        for flags in FLAGS_OF_ISA.get(isa, FLAGS):
            command = [*compiler, "-O2", "-std=c++17", *flags, "-shared", "-fPIC", "-pthread"]
            try:
                done = subprocess.run(
                    [*command, str(SOURCE), "-o", str(path)],
                    capture_output=True,
                    text=True,
                    check=False,
                )
            except OSError as error:
                return f"no C++ compiler ({error})"
            if done.returncode == 0:
                library = ctypes.CDLL(str(path))
                break
        else:
            return f"{compiler[0]} failed: {done.stderr.strip().splitlines()[-1:]}"
    for name in ("tile_float32", "tile_float64", "read_bytes", "write_bytes"):
        function = getattr(library, name)
        function.restype = ctypes.c_double
        function.argtypes = [ctypes.c_int, ctypes.c_double]
        if name.endswith("bytes"):
            function.argtypes = [*function.argtypes, ctypes.c_size_t]
    return Limits(library, threads, seconds)


def last_cache() -> int:
    """Return the bytes of the last cache; where the system does not say, 32 MiB."""
    sizes = [32 << 20]
    for path in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")):
        text = path.read_text(encoding="ascii").strip()
        unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1)
        sizes[0] = int(text.rstrip("KM")) * unit
    return sizes[0]
