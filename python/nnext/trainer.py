"""The training loop: batches, epochs, progress, history. What is done to a batch is in step.py."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal

from numpy.typing import ArrayLike

from nnext._fit_data import check_labels, read_data
from nnext._gathered import check_gathered
from nnext._input import cast_to_parameters
from nnext._progress import Progress, make_progress
from nnext._support import Array, check_count, check_flag, random_state
from nnext.history import History, read_metrics
from nnext.step import Model, OnNonfinite, Optimizer, Step, check_model, check_optimizer

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # a default, so that the bare Trainer is a type too

    OptimizerT = TypeVar("OptimizerT", bound=Optimizer, default=Any)
else:
    from typing import TypeVar

    OptimizerT = TypeVar("OptimizerT", bound=Optimizer)

__all__ = ["History", "Model", "Optimizer", "Trainer"]


class Trainer(Generic[OptimizerT]):
    """Trains a model with an optimizer (the book's ``common/trainer.py``).

    Weights that layers share are recognised by their memory: the same array, or a transposed view
    of it. Their gradients are summed into the first one's and the optimizer sees the weight once.
    Arrays that only happen to hold equal numbers stay separate. `copy.deepcopy` and `pickle` keep
    them shared in nnext's models (`BaseModel`); in others they keep one array in two places one
    array, but make a transposed view an array of its own, to be tied anew.

    Parameters
    ----------
    model : object
        Has ``params`` and ``grads``, ``forward(x, t)`` that returns the loss of a batch, and
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

    Raises
    ------
    TypeError
        If `model` or `optimizer` lacks something.
    ValueError
        If the model has not one gradient for each parameter, or its loss has
        ``reduction="none"``.

    See Also
    --------
    nnext.step.Step : the step alone, for a loop of your own.

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

    def __init__(self, model: Model, optimizer: OptimizerT, seed: int | None = None) -> None:
        check_model(model)
        check_optimizer(optimizer)
        self.model = model
        self.optimizer = optimizer
        self.history = History()
        self._rng = random_state(seed)

    def __repr__(self) -> str:
        epochs = len(self.history.epoch_loss)
        return (
            f"Trainer({type(self.model).__name__}, {self.optimizer!r}, "
            f"{epochs} epoch{'' if epochs == 1 else 's'} so far)"
        )

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
        on_epoch: Callable[[Trainer[OptimizerT]], Mapping[str, float] | None] | None = None,
        on_nonfinite: OnNonfinite = "warn",
        progress: Literal["auto", "bar", "lines", "none"] = "auto",
    ) -> History:
        """Train for some epochs; a further call goes on where this one stopped.

        Before the first batch all data are checked: labels that the loss would refuse are named by
        their row in `t`. (Where a model or its loss is your own and cannot tell, by ``scores`` and
        ``labels``, each batch is checked as it comes.) Floating `x` is cast to the parameters' type
        once, if they share one: float64 data would make float32 parameters compute in float64.

        A batch of which no row counts (every label is ignored) changes nothing and weighs
        nothing in the means; see `nnext.history.History` for what these are.

        Parameters
        ----------
        x : array_like, shape (N, ...)
            Samples.
        t : array_like, shape (N, ...)
            Labels, as the model takes them.
        max_epoch : int
            How often to go through the data, in a new order each time. Shown epochs are counted
            over all calls: after two calls with 2, they went from 1/2 to 4/4.
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
        on_nonfinite : {"warn", "raise", "ignore"}
            What to do about a loss that is NaN or infinite, and with `max_grad` about such a norm
            of the gradients. ``"warn"`` names epoch and step in a RuntimeWarning, once in a call,
            and goes on; a step with such a norm is left out. ``"raise"`` stops with a
            FloatingPointError, and nothing of that batch is applied. ``"ignore"`` goes on as IEEE
            arithmetic does.
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
            If an argument cannot be used: different numbers of rows, every label ignored, a number
            that is infinite in the parameters' type, an option that does not exist. Or if the
            model's arrays do not belong together or are read-only. Nothing has changed then.
        TypeError
            If `x` or `t` is no array of numbers, `max_grad` no number, or `drop_last` neither True
            nor False; likewise. Also if `on_epoch` returns anything but a dict of numbers or None.
        IndexError
            If a label is out of range; likewise.
        FloatingPointError
            With ``on_nonfinite="raise"``.
        ImportError
            If a bar is asked for and tqdm is not installed.
        """
        max_epoch = check_count("max_epoch", max_epoch)
        batch_size = check_count("batch_size", batch_size)
        if eval_interval is not None:
            eval_interval = check_count("eval_interval", eval_interval)
        if on_epoch is not None and not callable(on_epoch):
            raise TypeError(f"on_epoch: expected a function or None, got {on_epoch!r}")
        drop_last = check_flag("drop_last", drop_last)
        x, t = read_data(x, t)
        if drop_last and batch_size > len(x):
            raise ValueError(
                f"batch_size: {batch_size} is more than the {len(x)} samples, and drop_last "
                "leaves no batch"
            )
        used = len(x) - len(x) % batch_size if drop_last else len(x)
        batches = -(-used // batch_size)
        done, first_batch = len(self.history.epoch_loss), self.history.batches

        def where() -> str:
            epoch, i = divmod(self.history.batches - first_batch, batches)
            return f"epoch {done + epoch + 1}, step {i + 1}"

        step = Step(self.model, self.optimizer, max_grad, on_nonfinite=on_nonfinite, where=where)
        x = cast_to_parameters(x, self.model.params)
        check_labels(self.model, x, t)
        shown = make_progress(progress, max_epoch, batches, done)
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
        step: Step,
        on_epoch: Callable[[Trainer[OptimizerT]], Mapping[str, float] | None] | None,
        shown: Progress,
    ) -> None:
        history = self.history
        mean = getattr(getattr(self.model, "loss_layer", None), "reduction", "mean") != "sum"
        total = weight = 0.0  # sum of the loss since the last point, and what it is divided by
        for epoch in range(max_epoch):
            epoch_total = epoch_weight = 0.0
            start = time.perf_counter()
            order = self._rng.permutation(len(x))
            for i, first in enumerate(range(0, used, batch_size)):
                rows = order[first : min(first + batch_size, used)]
                loss = step(x.take(rows, axis=0), t.take(rows, axis=0))
                history.batches += 1
                counts = step.count if mean or not step.count else 1.0
                total += step.total
                weight += counts
                epoch_total += step.total
                epoch_weight += counts
                shown.advance()
                if eval_interval is not None and history.batches % eval_interval == 0 and weight:
                    history.add_point(total / weight)
                    shown.point(epoch, i, total / weight)
                    total = weight = 0.0
            loss = epoch_total / (epoch_weight if mean else 1.0) if epoch_weight else math.nan
            history.add_epoch(loss, time.perf_counter() - start)
            if not epoch_weight:
                number = len(history.epoch_loss)
                step.report("epoch", f"the loss of epoch {number} is nan: no row of it counts")
            metrics = {}
            if on_epoch is not None:
                metrics = read_metrics(on_epoch(self))
                check_gathered(self.model, writable=True)  # also for lists that were replaced
            history.set_metrics(metrics)
            shown.epoch(epoch, loss, metrics)
        if eval_interval is not None and weight:
            history.add_point(total / weight)
            shown.point(epoch, i, total / weight)

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
