"""What callbacks derive from, a part of `nnext.callbacks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnext.trainer import Trainer


class Callback:
    """A callback that does nothing: override what you need."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Do something before the first batch."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Do something before the first batch of each epoch."""

    def on_batch_begin(self, trainer: Trainer) -> None:
        """Do something before each batch."""

    def on_gradients(self, trainer: Trainer) -> None:
        """Do something with the gradients of a batch, not clipped yet."""

    def on_batch_end(self, trainer: Trainer) -> bool | None:
        """Do something after each update; True stops."""

    def on_epoch_end(self, trainer: Trainer) -> bool | None:
        """Do something when an epoch is in the history; True stops."""

    def on_train_end(self, trainer: Trainer) -> None:
        """Do something at the end of ``fit``."""
