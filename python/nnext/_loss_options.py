"""The options of a softmax loss, as the core takes them."""

from typing import NamedTuple

from numpy.typing import ArrayLike

from nnext import _nnext


class LossOptions(NamedTuple):
    """The options of a softmax loss; `nnext.functions.linear_cross_entropy` explains them."""

    reduction: str = "mean"
    ignore_label: int | None = None
    label_smoothing: float = 0.0
    class_weight: ArrayLike | None = None
    sample_weight: ArrayLike | None = None
    z_loss: float = 0.0
    softcap: float | None = None

    def checked(self) -> "LossOptions":
        """Return these options; raise what the core would for one that can never be right."""
        _nnext.check_loss_options(self)
        return self

    def weighted(self, sample_weight: ArrayLike | None) -> "LossOptions":
        """Return these options with the weights of a batch, which a layer is given with it."""
        if sample_weight is None:  # nearly always, and a copy takes a third of a small batch's time
            return self
        return self._replace(sample_weight=sample_weight)

    def is_plain(self) -> bool:
        """Say whether this is the mean loss and nothing else."""
        return (
            self.reduction == "mean"
            and self.ignore_label is None
            and not self.label_smoothing
            and self.class_weight is None
            and self.sample_weight is None
            and not self.z_loss
            and self.softcap is None
        )
