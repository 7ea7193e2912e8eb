"""Which CPU this is: what it calls itself, a name for people, its instruction set, its caches."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

Ranges = tuple[tuple[int, int], ...]

# Vendor and family, and the models (first, last) of each design. AMD's as in the Linux kernel
# (arch/x86/kernel/cpu/amd.c), Intel's as in its intel-family.h.
NAMES: dict[tuple[str, int], dict[str, Ranges]] = {
    ("AuthenticAMD", 0x17): {
        "AMD Zen 2": ((0x30, 0x4F), (0x60, 0x7F), (0x90, 0x91), (0xA0, 0xAF)),
        "AMD Zen": ((0x00, 0x2F), (0x50, 0x5F)),
    },
    ("AuthenticAMD", 0x19): {
        "AMD Zen 3": ((0x00, 0x0F), (0x20, 0x5F)),
        "AMD Zen 4": ((0x10, 0x1F), (0x60, 0xAF)),
    },
    ("AuthenticAMD", 0x1A): {
        "AMD Zen 5": ((0x00, 0x2F), (0x40, 0x4F), (0x60, 0x7F)),
        "AMD Zen 6": ((0x50, 0x5F), (0x80, 0xAF), (0xC0, 0xCF)),
    },
    ("GenuineIntel", 6): {
        "Intel Haswell": ((0x3C, 0x3C), (0x3F, 0x3F), (0x45, 0x46)),
        "Intel Broadwell": ((0x3D, 0x3D), (0x47, 0x47), (0x4F, 0x4F), (0x56, 0x56)),
        "Intel Skylake": ((0x4E, 0x4E), (0x5E, 0x5E)),
        "Intel Skylake or Cascade Lake server": ((0x55, 0x55),),
        "Intel Kaby or Coffee Lake": ((0x8E, 0x8E), (0x9E, 0x9E)),
        "Intel Comet Lake": ((0xA5, 0xA6),),
        "Intel Ice Lake server": ((0x6A, 0x6A), (0x6C, 0x6C)),
        "Intel Ice Lake": ((0x7D, 0x7E),),
        "Intel Tiger Lake": ((0x8C, 0x8D),),
        "Intel Rocket Lake": ((0xA7, 0xA7),),
        "Intel Alder Lake": ((0x97, 0x97), (0x9A, 0x9A), (0xBE, 0xBE)),
        "Intel Raptor Lake": ((0xB7, 0xB7), (0xBA, 0xBA), (0xBF, 0xBF)),
        "Intel Sapphire Rapids": ((0x8F, 0x8F),),
        "Intel Emerald Rapids": ((0xCF, 0xCF),),
        "Intel Granite Rapids": ((0xAD, 0xAE),),
        "Intel Meteor Lake": ((0xAA, 0xAA), (0xAC, 0xAC)),
        "Intel Arrow Lake": ((0xB5, 0xB5), (0xC5, 0xC6)),
        "Intel Lunar Lake": ((0xBD, 0xBD),),
    },
    ("ARM", 8): {
        "ARM Neoverse N1": ((0xD0C, 0xD0C),),
        "ARM Neoverse V1": ((0xD40, 0xD40),),
        "ARM Neoverse N2": ((0xD49, 0xD49),),
        "ARM Neoverse V2": ((0xD4F, 0xD4F),),
    },
}
IMPLEMENTERS = {"0x41": "ARM"}  # of AArch64, which has no vendor_id


@dataclass(frozen=True)
class Machine:
    """A CPU, as far as figures measured on it depend on it."""

    model: str  # as the CPU calls itself
    vendor: str
    family: int
    number: int  # the model's number, which tells the designs of a family apart
    cores: int  # that this process may use
    caches: str

    @property
    def name(self) -> str:
        """A name for people; of an unknown CPU its numbers, or what it calls itself."""
        for name, ranges in NAMES.get((self.vendor, self.family), {}).items():
            if any(first <= self.number <= last for first, last in ranges):
                return name
        return f"{self.vendor} {self.numbers}" if self.vendor else self.model

    @property
    def numbers(self) -> str:
        return f"family {self.family} model {self.number}"

    def key(self, isa: str) -> str:
        """Name the files of this CPU and instruction set: no two kinds of CPU share one."""
        numbers = f"{self.family} {self.number}" if self.vendor else ""
        name = self.name if self.numbers not in self.name else self.vendor
        return "-".join(re.findall(r"[a-z0-9]+", f"{name} {numbers} {isa}".lower()))

    def describe(self) -> dict[str, str]:
        """Return what the page says of it."""
        named = f" ({self.vendor} {self.numbers})" if self.vendor else ""
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        found = {
            "CPU": f"{self.name}: {self.model}{named}",
            "machine": f"{cores}, {platform.system()} {platform.machine()}",
        }
        return {**found, "caches": self.caches} if self.caches else found


def here() -> Machine:
    """Look at the machine that this runs on."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        text = ""
    caches = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    return read(text, describe_caches(map(_cache, caches)))


def read(cpuinfo: str, caches: str = "") -> Machine:
    """Make the machine of a ``/proc/cpuinfo``, of its first CPU; it may say nothing at all."""
    first = cpuinfo.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    found = {name.strip(): value.strip() for name, _, value in pairs}
    implementer = found.get("CPU implementer", "")
    return Machine(
        model=found.get("model name") or _own_name(),
        vendor=found.get("vendor_id") or IMPLEMENTERS.get(implementer, implementer),
        family=int(found.get("cpu family") or found.get("CPU architecture", "0")),
        number=int(found.get("model") or found.get("CPU part", "0"), base=0),
        cores=usable_cores(),
        caches=caches,
    )


def _own_name() -> str:
    """Return what the system calls the CPU where there is no /proc/cpuinfo, or not in it."""
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return platform.processor() or platform.machine()


def describe_caches(caches: Iterable[Mapping[str, str]]) -> str:
    """Write the caches of data as "L1d 32 KiB, L2 1 MiB", sizes as the system gives them."""
    told = []
    for cache in caches:
        if cache.get("type") in ("Data", "Unified") and cache.get("size"):
            kind = "d" if cache["type"] == "Data" else ""
            number, unit = int(cache["size"].rstrip("KMG")), cache["size"][-1]
            if unit == "K" and number % 1024 == 0:
                number, unit = number // 1024, "M"
            told.append(f"L{cache['level']}{kind} {number} {unit}iB")
    return ", ".join(told)


def _cache(folder: Path) -> dict[str, str]:
    paths = ((name, folder / name) for name in ("level", "type", "size"))
    return {name: p.read_text(encoding="ascii").strip() for name, p in paths if p.exists()}


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_to(threads: int) -> None:
    """Let this process run on as many CPUs as threads, where the system can do that.

    JAX works in threads of a pool beside the one that calls it. Told to have one of them it still
    took up to 1.3 CPUs for a step; on one CPU it takes one, and its small steps half the time.
    """
    if hasattr(os, "sched_setaffinity") and threads < usable_cores():
        cores = {cpu: _core_of(cpu) for cpu in os.sched_getaffinity(0)}
        os.sched_setaffinity(0, pick(cores, threads))


def pick(cores: Mapping[int, str], count: int) -> list[int]:
    """Pick `count` CPUs, no two of one core while others are free; `cores` has the core of each.

    The last ones first: interrupts are often the first CPU's.
    """
    chosen: list[int] = []
    left = sorted(cores, reverse=True)
    while left and len(chosen) < count:
        firsts = {cores[cpu]: cpu for cpu in reversed(left)}  # the last CPU of each core stays
        chosen += sorted(firsts.values(), reverse=True)
        left = [cpu for cpu in left if cpu not in chosen]
    return chosen[:count]


def _core_of(cpu: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return path.read_text(encoding="ascii").strip() if path.exists() else str(cpu)


@dataclass(frozen=True)
class Clock:
    """How long CPUs have worked: all of them for everybody, and for this process and its children.

    What a virtual machine waited for its host counts as work for others.
    """

    wall: float
    everybody: float
    own: float

    @staticmethod
    def now(stat: str) -> "Clock":
        """Read the clocks; `stat` is the text of ``/proc/stat``."""
        user, nice, system, _, _, irq, soft, steal, *_ = map(int, stat.split("\n")[0].split()[1:])
        ticks = user + nice + system + irq + soft + steal
        times = os.times()
        return Clock(times.elapsed, ticks / os.sysconf("SC_CLK_TCK"), sum(times[:4]))

    def others(self, later: "Clock", cpus: int) -> float:
        """Return which part of the CPUs others had between this clock and a later one."""
        theirs = (later.everybody - self.everybody) - (later.own - self.own)
        return max(0.0, theirs / (cpus * (later.wall - self.wall)))


def clock() -> Clock | None:
    """Read the clocks; None where the system does not tell them as Linux does."""
    try:
        return Clock.now(Path("/proc/stat").read_text(encoding="ascii"))
    except OSError:
        return None
