"""The callback that notes how parameters and gradients are spread, a part of `nnext.callbacks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnext._callback import Callback
from nnext._support import Array, find_shared

if TYPE_CHECKING:
    from nnext.trainer import Trainer


class RecordParameters(Callback):
    """Notes after each epoch how every parameter and its gradient are spread, as quantiles.

    `nnext.plotting.plot_parameters` draws them. The gradients are those of the epoch's last batch,
    as the optimizer got them: shared ones summed, and clipped under ``max_grad``. A shared weight
    is noted once. Further calls of ``fit`` append to what is there.

    Parameters
    ----------
    quantiles : sequence of float
        Shares from 0 to 1, rising. The smallest and largest value are 0 and 1.

    Attributes
    ----------
    epochs : list of int
        The numbers of the epochs, from 1, over all calls of ``fit``.
    names : list of str
        What each parameter is called: the number and kind of its layer, and its shape.
    values, gradients : list of list of ndarray
        For each parameter its quantiles after each epoch; NaN where there is none.

    Raises
    ------
    ValueError
        If the quantiles are not such, or ``fit`` trains another model than before.
    """

    def __init__(self, quantiles: Sequence[float] = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)) -> None:
        q = np.array(quantiles, np.float64)
        if q.ndim != 1 or not q.size or not ((q >= 0) & (q <= 1)).all() or (np.diff(q) <= 0).any():
            raise ValueError(f"quantiles: expected rising shares from 0 to 1, got {quantiles!r}")
        self.quantiles: list[float] = q.tolist()
        self.epochs: list[int] = []
        self.names: list[str] = []
        self.values: list[list[Array]] = []
        self.gradients: list[list[Array]] = []

    def on_train_begin(self, trainer: Trainer) -> None:
        """Name the parameters, or see that they are those of before."""
        names = [name for name, _ in _named_parameters(trainer.model)]
        if self.epochs and names != self.names:
            raise ValueError(
                "callbacks: RecordParameters has recorded another model; make a new one"
            )
        if not self.epochs:
            self.names = names
            self.values, self.gradients = [[] for _ in names], [[] for _ in names]

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Note the quantiles."""
        model = trainer.model
        for place, (_, i) in enumerate(_named_parameters(model)):
            self.values[place].append(_quantiles(model.params[i], self.quantiles))
            self.gradients[place].append(_quantiles(model.grads[i], self.quantiles))
        self.epochs.append(len(trainer.history.epoch_loss))


def _named_parameters(model: Any) -> list[tuple[str, int]]:
    """Return the name and the place of every parameter, of shared ones the first."""
    layers = [*getattr(model, "layers", []), getattr(model, "loss_layer", None)]
    owners = {}
    for k, layer in reversed(list(enumerate(layers))):
        for p in getattr(layer, "params", []):
            number = "loss" if k == len(layers) - 1 else k
            owners[id(p)] = f"{number}: {type(layer).__name__}"
    shared = find_shared(model.params)
    return [
        (f"{owners.get(id(p), f'params[{i}]')} {np.shape(p)}", i)
        for i, p in enumerate(model.params)
        if shared[i][0] == i
    ]


def _quantiles(values: Any, q: Sequence[float]) -> Array:
    array = np.asarray(values)
    array = array.astype(np.promote_types(array.dtype, np.float32)).ravel()
    if not array.size or np.isnan(array).any():
        return np.full(len(q), np.nan)
    with np.errstate(invalid="ignore"):  # between two infinities
        return np.asarray(np.quantile(array, q), np.float64)
