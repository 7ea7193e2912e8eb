"""The training loop: batches, gradient clipping, shared weights, progress, history."""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._progress import Progress, make_progress
from nnext._support import Array, check_count, check_numbers, find_shared, random_state


class Model(Protocol):
    """What the trainer asks of a model."""

    params: list[Array]
    grads: list[Array]

    def forward(self, x: Any, t: Any, /) -> float:
        """Return the mean loss of a batch."""

    def backward(self) -> Any:
        """Write the gradients into ``grads``."""


class Optimizer(Protocol):
    """What the trainer asks of an optimizer."""

    def update(self, params: list[Array], grads: list[Array], /) -> None:
        """Change the parameters in place."""


@dataclass
class History:
    """What happened in training, over all calls of `Trainer.fit`.

    Attributes
    ----------
    iteration : list of int
        How many batches had been trained on, in all, at each point of `loss`.
    loss : list of float
        Mean loss of the samples trained on since the point before.
    epoch_loss : list of float
        Mean loss of the samples trained on in each epoch.
    epoch_seconds : list of float
        Time that each epoch's training took, without `on_epoch`.
    metrics : dict of list of float
        What ``on_epoch`` returned: a value for each epoch under each name, nan where it
        returned none.
    """

    iteration: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    epoch_loss: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)

    def add_epoch(self, loss: float, seconds: float) -> None:
        """Append an epoch, with nan for every metric."""
        self.epoch_loss.append(loss)
        self.epoch_seconds.append(seconds)
        self._level()

    def set_metrics(self, metrics: Mapping[str, float]) -> None:
        """Note the metrics of the last epoch."""
        for name, value in metrics.items():
            self.metrics.setdefault(name, [])
            self._level()
            self.metrics[name][-1] = float(value)

    def trim(self) -> None:
        """Make columns equally long again after an interrupt between two appends."""
        del self.iteration[len(self.loss) :]
        epochs = len(self.epoch_seconds)
        del self.epoch_loss[epochs:]
        self._level()

    def _level(self) -> None:
        for values in self.metrics.values():
            values.extend([math.nan] * (len(self.epoch_loss) - len(values)))


class Trainer:
    """Trains a model with an optimizer (the book's ``common/trainer.py``).

    Weights that layers share are recognised by their memory: the same array, or a transposed view
    of it. Their gradients are summed into the first one's and the optimizer sees the weight once.
    Arrays that only happen to hold equal numbers stay separate. `copy.deepcopy` and `pickle` keep
    one array in two places one array, but make a transposed view an array of its own: tie it anew.

    Parameters
    ----------
    model : object
        Has ``params`` and ``grads``, ``forward(x, t)`` that returns the mean loss of a batch, and
        ``backward()`` that writes the gradients into ``grads``. All models of nnext and the book.
    optimizer : object
        Has ``update(params, grads)``.
    seed : int, optional
        Of the shuffling. Drawn from ``numpy.random`` if left out.

    Attributes
    ----------
    history : History
        Of all calls of `fit` so far. A call that is interrupted (Ctrl-C) leaves whole epochs and
        whole intervals there, and the trainer can go on.

    Examples
    --------
    >>> from nnext.datasets import spiral
    >>> from nnext.models import TwoLayerNet
    >>> from nnext.optimizer import SGD
    >>> x, t = spiral()
    >>> trainer = Trainer(TwoLayerNet(2, 10, 3, seed=0), SGD(lr=1.0), seed=0)
    >>> history = trainer.fit(x, t, max_epoch=2, batch_size=30, progress="none")
    >>> len(history.epoch_loss)
    2
    """

    def __init__(self, model: Model, optimizer: Optimizer, seed: int | None = None) -> None:
        self.model = model
        self.optimizer = optimizer
        self.history = History()
        self._rng = random_state(seed)
        self._iterations = 0

    def fit(
        self,
        x: ArrayLike,
        t: ArrayLike,
        max_epoch: int = 10,
        batch_size: int = 32,
        max_grad: float | None = None,
        eval_interval: int | None = 20,
        *,
        drop_last: bool = False,
        on_epoch: Callable[["Trainer"], Mapping[str, float] | None] | None = None,
        progress: Literal["auto", "bar", "lines", "none"] = "auto",
    ) -> History:
        """Train for some epochs; a further call goes on where this one stopped.

        Parameters
        ----------
        x : array_like, shape (N, ...)
            Samples.
        t : array_like, shape (N, ...)
            Labels, as the model takes them.
        max_epoch : int
            How often to go through the data, in a new order each time.
        batch_size : int
        max_grad : float, optional
            The largest norm of all gradients together; longer ones are scaled down to it.
        eval_interval : int, optional
            Batches from one point of ``history.loss`` to the next. None: no points and no lines.
        drop_last : bool
            Leave out the samples that do not fill a last batch (others in each epoch).
        on_epoch : callable, optional
            Called with the trainer after each epoch. A dict that it returns, for example of the
            accuracy on other data, is kept in ``history.metrics`` and shown.
        progress : {"auto", "bar", "lines", "none"}
            A bar (needs tqdm), the book's line for each point, or nothing. ``"auto"`` is a bar
            if tqdm is installed and the output is a terminal, else lines.

        Returns
        -------
        History
            The trainer's `history`, that is of all calls.

        Raises
        ------
        ValueError
            If an argument cannot be used; nothing has changed then.
        TypeError
            If `max_grad` is no number; likewise.
        ImportError
            If a bar is asked for and tqdm is not installed.
        """
        x, t = np.asarray(x), np.asarray(t)
        if x.ndim == 0 or len(x) == 0:
            raise ValueError(f"x: expected at least one sample, got shape {x.shape}")
        if t.ndim == 0 or len(t) != len(x):
            raise ValueError(
                f"t: expected {len(x)} labels, one for each row of x {x.shape}, got shape {t.shape}"
            )
        check_count("max_epoch", max_epoch)
        check_count("batch_size", batch_size)
        if eval_interval is not None:
            check_count("eval_interval", eval_interval)
        if max_grad is not None:
            check_numbers(max_grad=max_grad)
            if not max_grad > 0:
                raise ValueError(f"max_grad: expected a positive number or None, got {max_grad!r}")
        if drop_last and batch_size > len(x):
            raise ValueError(
                f"batch_size: {batch_size} is more than the {len(x)} samples, and drop_last "
                "leaves no batch"
            )
        used = len(x) - len(x) % batch_size if drop_last else len(x)
        step = self._make_step(max_grad)
        shown = make_progress(progress, max_epoch, -(-used // batch_size))
        try:
            self._fit(x, t, max_epoch, batch_size, used, eval_interval, step, on_epoch, shown)
        finally:
            self.history.trim()
            shown.close()
        return self.history

    def _fit(
        self,
        x: Array,
        t: Array,
        max_epoch: int,
        batch_size: int,
        used: int,
        eval_interval: int | None,
        step: Callable[[], None],
        on_epoch: Callable[["Trainer"], Mapping[str, float] | None] | None,
        shown: Progress,
    ) -> None:
        model, history = self.model, self.history
        total, count = 0.0, 0  # loss summed over samples since the last point
        for epoch in range(max_epoch):
            epoch_total, start = 0.0, time.perf_counter()
            order = self._rng.permutation(len(x))
            for i, first in enumerate(range(0, used, batch_size)):
                rows = order[first : min(first + batch_size, used)]
                loss = float(model.forward(x.take(rows, axis=0), t.take(rows, axis=0)))
                model.backward()
                step()
                self._iterations += 1
                total += loss * len(rows)
                count += len(rows)
                epoch_total += loss * len(rows)
                shown.advance()
                if eval_interval is not None and self._iterations % eval_interval == 0:
                    self._add_point(total / count)
                    shown.point(epoch, i, total / count)
                    total, count = 0.0, 0
            history.add_epoch(epoch_total / used, time.perf_counter() - start)
            metrics = None if on_epoch is None else on_epoch(self)
            if metrics:
                history.set_metrics(metrics)
            shown.epoch(epoch, epoch_total / used, metrics or {})
        if eval_interval is not None and count:
            self._add_point(total / count)
            shown.point(epoch, i, total / count)

    def _add_point(self, loss: float) -> None:
        self.history.iteration.append(self._iterations)
        self.history.loss.append(loss)

    def _make_step(self, max_grad: float | None) -> Callable[[], None]:
        """Make the function that clips the gradients and updates the parameters."""
        model, update = self.model, self.optimizer.update
        shared = find_shared(model.params)
        own = [i for i, (first, _) in enumerate(shared) if first == i]
        # A model may gather gradients of a shared weight itself, in one array: it counts once.
        grad = [first for first, _ in find_shared(model.grads)]
        counted = {(i, grad[i]) for i in own}
        merged = []
        for i, (first, transposed) in enumerate(shared):
            if (first, grad[i]) not in counted:
                counted.add((first, grad[i]))
                merged.append((first, i, transposed))

        def step() -> None:
            params, grads = model.params, model.grads
            if len(own) < len(params):
                for first, i, transposed in merged:
                    grads[first] += grads[i].T if transposed else grads[i]
                params, grads = [params[i] for i in own], [grads[i] for i in own]
            if max_grad is not None:
                _nnext.clip_grads(grads, max_grad)
            update(params, grads)

        return step

    def plot(
        self, ylim: tuple[float, float] | None = None, path: str | os.PathLike[str] | None = None
    ) -> None:
        """Draw the loss over the iterations, in a window or into a file.

        Parameters
        ----------
        ylim : (float, float), optional
            Range of the loss axis.
        path : path-like, optional
            A picture to write (``.png``, ``.svg``, ``.pdf``). Left out, a window opens.

        Raises
        ------
        ImportError
            If matplotlib is not installed; the message says how to install it.
        ValueError
            If there is nothing to draw yet.
        """
        from nnext import plotting

        plotting.plot_loss(self.history, ylim=ylim, path=path)
