"""nnext's threads as threadpoolctl sees them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from nnext import _nnext

if TYPE_CHECKING:
    from types import ModuleType

# The most that `set_num_threads` takes; limits above it are meant for nobody.
_MOST = 1024

_registered: ModuleType | None = None


def register_if_loaded() -> None:
    """Register with threadpoolctl, unless it is not loaded or too old to take others' libraries."""
    module = sys.modules.get("threadpoolctl")
    if hasattr(module, "register"):
        register(module)  # type: ignore[arg-type]  # it is not None, which has no such attribute


def register(threadpoolctl: ModuleType) -> None:
    """Make threadpoolctl list and limit nnext; a second time does nothing."""
    global _registered  # threadpoolctl cannot be asked who is registered
    if _registered is threadpoolctl:
        return

    class NnextController(threadpoolctl.LibController):  # type: ignore[name-defined,misc]
        user_api = "nnext"
        internal_api = "nnext"
        filename_prefixes = ("_nnext.",)

        def get_num_threads(self) -> int:
            return _nnext.get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            _nnext.set_num_threads(min(num_threads, _MOST))

        def get_version(self) -> str:
            return _nnext.__version__

        def set_additional_attributes(self) -> None:
            self.architecture = _nnext.config()["isa"]

    threadpoolctl.register(NnextController)
    _registered = threadpoolctl
