"""What type checkers are told of the softmax losses: the type of the loss, by `reduction`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # with a default: `SoftmaxWithLoss` alone is a type too

    LossT = TypeVar("LossT", default=float)
else:
    from typing import TypeVar

    LossT = TypeVar("LossT")

One = Literal["mean", "sum"]
Each = Literal["none"]


class Options(TypedDict, total=False):
    """The options beside `reduction`; `nnext.functions.linear_cross_entropy` explains them."""

    ignore_label: int | None
    label_smoothing: float
    class_weight: ArrayLike | None
    z_loss: float
    softcap: float | None
