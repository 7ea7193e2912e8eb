"""One step of training: loss, gradients, update; `nnext.trainer.Trainer` is the loop around it.

Data, order, epochs and records are the loop's; what happens to one batch is here.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import is_
from typing import Any, Literal, Protocol, cast

from nnext import _nnext
from nnext._accumulate import Totals, go_on, goes_on, refuse_stateful
from nnext._fit_data import Samples, count_rows
from nnext._gathered import check_gathered, list_arrays
from nnext._names import buffers_of
from nnext._nnext import EmptyBatchError
from nnext._putting_back import copies_of, restore
from nnext._shared_weights import add_shared, plan
from nnext._states import put_back, state_attributes
from nnext._support import Array, check_numbers

__all__ = ["Model", "Optimizer", "Step"]

OnNonfinite = Literal["warn", "raise", "ignore"]
Join = Callable[[list[Array], float], float]


class Model(Protocol):
    """What a step asks of a model."""

    params: list[Array]
    grads: list[Array]

    def forward(self, x: Any, t: Any, /) -> float:
        """Return the loss of a batch; with a third argument, ``sample_weight``, if it takes it."""

    def backward(self) -> Any:
        """Write the gradients into ``grads``."""


class Optimizer(Protocol):
    """What a step asks of an optimizer."""

    def update(self, params: list[Array], grads: list[Array], /) -> None:
        """Change the parameters in place."""


class Step:
    """One step of training, as `Trainer` does it, for a loop of your own: ``loss = step(x, t)``.

    1. ``model.forward(x, t)`` and ``model.backward()``; ``model.forward_backward(x, t)`` where the
       model and its loss layer have that: one pass over a large loss.
    2. The gradients of a weight that layers share are summed into the first one's, and the
       optimizer sees the weight once. Shared is what has one memory: the same array, or a
       transposed view of it. Arrays that only happen to hold equal numbers stay separate.
    3. `join`, where several processes train one model.
    4. `on_gradients`, to look at the gradients.
    5. They are clipped to `max_grad`.
    6. ``optimizer.update(params, grads)``.

    A batch of which no row counts (`nnext._nnext.EmptyBatchError` from ``forward``, or a loss layer
    whose ``count`` is 0) changes nothing: `count` is 0 then, and the loss NaN, or 0 for a sum.
    The arrays of the model, its layers and its loss are looked at before each batch: a ValueError
    says if one in a list ``params`` or ``grads`` was replaced, so that nothing would reach its
    layer. (That a whole list was replaced is seen when a `Step` is made, and by `Trainer` after
    ``on_epoch``.)
    A step that raises has changed no parameter, as long as the optimizer's own ``update`` keeps to
    that; nnext's do. The model's ``buffers``, such as the running statistics of `BatchNorm`, and
    the states of its stateful layers are what they were before a step that raises, changes nothing
    or is left out.

    Parameters
    ----------
    model : object
        Has ``params`` and ``grads``, ``forward(x, t)`` that returns the loss of a batch, and
        ``backward()`` that writes the gradients into ``grads``. All models of nnext and the book.
    optimizer : object
        Has ``update(params, grads)``.
    max_grad : float, optional
        The largest norm of all gradients together; longer ones are scaled down to it.
    join : callable, optional
        ``join(grads, count)`` makes each array of the list, in place, what it is over all
        processes, and returns the sum of their counts, each of which is that of one process's
        batch. For a mean: the sum of ``count * grad`` over the processes divided by that sum. A
        process whose batch has no row that counts comes with zeros and count 0, so that
        none waits for another; where the returned sum is 0 nothing is updated.
    on_gradients : callable, optional
        Called without arguments when the gradients of a batch are there, shared and joined ones
        summed, none clipped yet.
    on_nonfinite : {"warn", "raise", "ignore"}
        What to do about a loss that is NaN or infinite, and with `max_grad` about such a norm.
        ``"warn"`` says so once with a RuntimeWarning; such a loss's step is done, a step with such
        a norm is left out. ``"raise"`` raises a FloatingPointError, nothing of the batch is
        applied. ``"ignore"`` goes on as IEEE arithmetic does.
    where : callable, optional
        Returns how a message names the batch, such as ``"epoch 2, step 7"``; left out, it is the
        number of the call.

    Attributes
    ----------
    loss : float
        That of the last batch, before its update; NaN where nothing of it counts.
    count : float
        What the last batch counts in a mean of several: ``model.loss_layer.count``, that is the
        rows whose labels are not ignored or the sum of their weights; the number of rows, if the
        model or its loss has none.
    total : float
        What the last batch adds to the sum that such a mean divides: its loss times `count`, or the
        loss itself with ``reduction="sum"``. It need not be 0 where `count` is: rows of weight 0
        have a loss by ``label_smoothing`` or ``z_loss``, which ``model.loss_layer.total`` tells.

    Raises
    ------
    TypeError
        If `model` or `optimizer` lacks something, or `max_grad` is no number.
    ValueError
        If an argument cannot be used, the arrays of the model do not belong together or are
        read-only, or its loss has ``reduction="none"``.

    Examples
    --------
    >>> from nnext.datasets import spiral
    >>> from nnext.models import TwoLayerNet
    >>> from nnext.optimizer import SGD
    >>> x, t = spiral()
    >>> step = Step(TwoLayerNet(2, 10, 3, seed=0), SGD(lr=1.0), max_grad=5.0)
    >>> losses = [step(x[first : first + 30], t[first : first + 30]) for first in range(0, 300, 30)]
    >>> step.count
    30.0
    """

    def __init__(
        self,
        model: Model,
        optimizer: Optimizer,
        max_grad: float | None = None,
        *,
        join: Join | None = None,
        on_gradients: Callable[[], object] | None = None,
        on_nonfinite: OnNonfinite = "warn",
        where: Callable[[], str] | None = None,
    ) -> None:
        check_model(model)
        check_optimizer(optimizer)
        if max_grad is not None:
            check_numbers(max_grad=max_grad)
            if not max_grad > 0:
                raise ValueError(f"max_grad: expected a positive number or None, got {max_grad!r}")
        functions = {"join": join, "on_gradients": on_gradients, "where": where}
        for name, function in functions.items():
            if function is not None and not callable(function):
                raise TypeError(f"{name}: expected a function or None, got {function!r}")
        if on_nonfinite not in ["warn", "raise", "ignore"]:  # a list, for what cannot be hashed
            raise ValueError(
                f'on_nonfinite: expected "warn", "raise" or "ignore", got {on_nonfinite!r}'
            )
        self.model = model
        self.optimizer = optimizer
        self.max_grad = max_grad
        self.join = join
        self.on_gradients = on_gradients
        self.on_nonfinite = on_nonfinite
        self.loss = math.nan
        self.count = self.total = 0.0
        self.where = where
        self._mean = getattr(getattr(model, "loss_layer", None), "reduction", "mean") != "sum"
        # The loss and its gradient at once, where the model and its loss can do that.
        self._in_one_pass = hasattr(model, "forward_backward") and hasattr(
            getattr(model, "loss_layer", None), "forward_backward"
        )
        self._calls = 0
        self._told: set[str] = set()
        self._params = len(model.params)
        self._take_arrays()

    def _take_arrays(self) -> None:
        """Check that the model's arrays belong together, and note them and the plan for them."""
        model = self.model
        self._check_number()
        check_gathered(model, writable=True)
        self._own, self._merged = plan(model.params, model.grads)
        self._has_buffers = len(buffers_of(model)) > 0
        self._states = state_attributes(model)
        self._lists = list_arrays(model)
        self._arrays = tuple(chain.from_iterable(self._lists))

    @property
    def params(self) -> list[Array]:
        """The parameters that the optimizer gets, a weight that layers share once."""
        return [self.model.params[i] for i in self._own]

    def _check_number(self) -> None:
        params, grads = len(self.model.params), len(self.model.grads)
        if not params == grads == self._params:
            raise ValueError(
                f"model: has {params} params and {grads} grads, and had {self._params} when its "
                "training began"
            )

    def _place(self) -> str:
        return f"step {self._calls}" if self.where is None else self.where()

    def __repr__(self) -> str:
        names = ("max_grad", "join", "on_gradients", "where")
        options = {name: getattr(self, name) for name in names}
        shown = [f"{name}={value!r}" for name, value in options.items() if value is not None]
        if self.on_nonfinite != "warn":
            shown.append(f"on_nonfinite={self.on_nonfinite!r}")
        parts = [type(self.model).__name__, repr(self.optimizer), *shown]
        return f"Step({', '.join(parts)})"

    def __call__(self, x: Any, t: Any, sample_weight: Any = None) -> float:
        """Train on a batch.

        Parameters
        ----------
        x, t : array_like, shape (N, ...)
            Samples and labels, as the model takes them.
        sample_weight : array_like, shape (N, ...), optional
            What each row counts; ``model.forward`` gets it as a third argument.

        Returns
        -------
        float
            The loss of the batch, before the update.
        """
        return self._whole_or_not(self._differentiate, x, t, sample_weight)

    def accumulate(self, parts: Sequence[tuple[Any, ...]]) -> float:
        """Train on a batch that comes in parts: one update, while layers keep what a part needs.

        A `nnext.models.Sequential` learns what it learns of the batch in one piece: to the bit
        where all is of one type, float32 or float64, and up to 16384 rows in all. (Batch
        normalization sees the rows of a part, and its running statistics change with each. A layer
        whose ``backward`` does not take ``accumulate`` adds up apart, with other roundings.) Any
        other model gets the mean of the parts' gradients, each weighed with what it counts.

        Parameters
        ----------
        parts : sequence of (x, t) or (x, t, sample_weight)
            Consecutive samples of the batch, as ``step(x, t, sample_weight)`` takes them.

        Returns
        -------
        float
            The loss of the batch, before the update.

        Raises
        ------
        TypeError
            If `parts` are none.
        ValueError
            If there is no part, or there are several for a model with a stateful layer.
        """
        samples, given = [], cast(Any, parts)
        for i, part in enumerate(given if isinstance(given, Iterable) else [given]):
            if not isinstance(part, tuple | list) or len(part) not in (2, 3):
                raise TypeError(
                    "parts: expected (x, t) or (x, t, sample_weight) of each part of a batch, part "
                    f"{i + 1} is {type(part).__name__}"
                )
            samples.append(Samples(*part))
        if not samples:
            raise ValueError("parts: expected at least one part of a batch, got none")
        if len(samples) > 1:
            refuse_stateful(self.model)
        return self._whole_or_not(self._differentiate_parts, samples)

    def _whole_or_not(self, differentiate: Callable[..., None], *batch: Any) -> float:
        """Train on a batch and return its loss; if nothing was updated, no buffer or state has."""
        if not all(map(is_, self._arrays, chain.from_iterable(self._lists))):
            self._take_arrays()
        self._calls += 1
        if not self._has_buffers and not self._states:
            differentiate(*batch)
            self._update()
            return self.loss
        kept = copies_of(buffers_of(self.model))
        states = [(part, name, getattr(part, name)) for part, name in self._states]
        done = False
        try:
            differentiate(*batch)
            done = self._update()
        finally:
            if not done:
                restore(kept)
                put_back(states)
        return self.loss

    def _differentiate(self, x: Any, t: Any, sample_weight: Any) -> None:
        """Note the loss of a batch and what it counts, and if it counts, write its gradients."""
        model = self.model
        try:
            run: Any = model.forward_backward if self._in_one_pass else model.forward  # type: ignore[attr-defined]
            loss = _number(run(x, t) if sample_weight is None else run(x, t, sample_weight))
            count = getattr(getattr(model, "loss_layer", None), "count", None)
            self.count = count = float(count_rows(x, t) if count is None else count)
            self.total = loss * count if self._mean else loss
        except EmptyBatchError:
            loss, self.count, count = math.nan, 0.0, 0.0
        self.loss = loss
        if not count and self._mean:  # such a mean is none
            self.total = float(getattr(getattr(model, "loss_layer", None), "total", 0.0))
        if count:
            if not math.isfinite(loss):
                self._report_loss()
            if not self._in_one_pass:
                model.backward()

    def _differentiate_parts(self, parts: list[Samples]) -> None:
        """Do the same of a batch in parts."""
        if goes_on(self.model, parts):
            self.loss, self.count, self.total = go_on(self.model, parts)  # type: ignore[arg-type]
            if self.count and not math.isfinite(self.loss):
                self._report_loss()
            return
        totals = Totals(self.model.grads)
        total = count = 0.0
        for part in parts:
            self._differentiate(part.x, part.t, part.weight)
            if self.count:
                totals.add(self.count if self._mean else 1)
            total += self.total
            count += self.count
        self.count, self.total = count, total
        self.loss = total if not self._mean else total / count if count else math.nan
        if count:
            totals.write(count if self._mean else 1)

    def _report_loss(self) -> None:
        self.report(
            "loss",
            f"the loss is {self.loss} in {self._place()}: is the learning rate too large, or a "
            "number of the data not finite?",
        )

    def _update(self) -> bool:
        """Do what follows from the gradients of a batch; say whether the parameters changed."""
        count = self.count
        if not count and self.join is None:
            return False
        params, grads = self.model.params, self.model.grads
        self._check_number()
        if count:
            add_shared(grads, self._merged)
        else:
            for grad in grads:
                grad[...] = 0
        if len(self._own) < len(params):
            params, grads = [params[i] for i in self._own], [grads[i] for i in self._own]
        if self.join is not None and not self.join(grads, count):
            return False
        if self.on_gradients is not None:
            self.on_gradients()
        if self.max_grad is not None:
            norm = _nnext.clip_grads(grads, self.max_grad)
            if not math.isfinite(norm) and self.on_nonfinite != "ignore":
                self.report(
                    "norm",
                    f"the norm of the gradients is {norm} in {self._place()}: such steps are not "
                    "done",
                )
                return False
        self.optimizer.update(params, grads)
        return True

    def report(self, kind: str, message: str) -> None:
        """Warn or raise, as `on_nonfinite` says, that something is not finite.

        Parameters
        ----------
        kind : str
            What it is; a warning comes once for each.
        message : str
        """
        if self.on_nonfinite == "raise":
            raise FloatingPointError(message)
        if self.on_nonfinite == "warn" and kind not in self._told:
            self._told.add(kind)
            warnings.warn(message, RuntimeWarning, stacklevel=_callers_level())


def check_parts(model: Any) -> None:
    """Refuse what is no model: a class, or what lacks a part."""
    if isinstance(model, type):
        raise TypeError(f"model: expected a model, got the class {model.__name__}, not an object")
    missing = [a for a in ("params", "grads", "forward", "backward") if not hasattr(model, a)]
    if missing:
        raise TypeError(f"model: expected a model, got {model!r} without {', '.join(missing)}")


def check_model(model: Any) -> None:
    """Refuse what cannot be trained: no model, a gradient too few, a loss for each row."""
    check_parts(model)
    if len(model.params) != len(model.grads):
        raise ValueError(
            f"model: has {len(model.params)} params but {len(model.grads)} grads; "
            "there must be a gradient for each parameter"
        )
    if getattr(getattr(model, "loss_layer", None), "reduction", "mean") == "none":
        raise ValueError(
            'model.loss_layer: reduction="none" gives a loss for each row, and training goes down '
            'one number: expected reduction="mean" or "sum"'
        )


def check_optimizer(optimizer: Any) -> None:
    """Refuse what is no optimizer; a class gets the advice to call it."""
    if isinstance(optimizer, type):
        name = optimizer.__name__
        raise TypeError(f"optimizer: expected an object, got the class {name}; write {name}()")
    if not callable(getattr(optimizer, "update", None)):
        raise TypeError(
            "optimizer: expected an object with update(params, grads), such as "
            f"nnext.optimizer.Adam(), got {optimizer!r}"
        )


def _number(loss: Any) -> float:
    if type(loss) is float:  # not NumPy's subclass
        return loss
    try:
        math.isnan(loss)  # float() would take a string
        return float(loss)
    except TypeError:
        what = f"an array of shape {loss.shape}" if hasattr(loss, "shape") else repr(loss)
        raise TypeError(f"model.forward: expected the loss, one number, got {what}") from None


def _callers_level() -> int:
    """Return the ``stacklevel`` of the first caller outside the package, for `warnings.warn`."""
    frame, level = sys._getframe(1), 1  # the function that warns
    while frame.f_back is not None and frame.f_globals.get("__package__") == __package__:
        frame, level = frame.f_back, level + 1
    return level
