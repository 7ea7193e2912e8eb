"""The training loop: batches, epochs, progress, history. What is done to a batch is in step.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self

import numpy as np
from numpy.typing import ArrayLike

from nnext._batches import SampleBatches, StreamBatches
from nnext._called_callbacks import Callbacks
from nnext._evaluation import Evaluation, Validation, read_validation, split
from nnext._fit_data import Samples, check_labels, check_takes_weight, read_samples
from nnext._loop import Loop, Position
from nnext._metric_functions import Metrics, read_metric_functions
from nnext._progress import ProgressKind, make_progress
from nnext._rnnlm_trainer import RnnlmTrainer
from nnext._shared_weights import remove_duplicate
from nnext._support import check_count, check_flag, random_source, random_state
from nnext._whole_files import PathLike
from nnext.callbacks import TellPlateaus
from nnext.history import History
from nnext.step import Model, OnNonfinite, Optimizer, Step, check_model, check_optimizer

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # a default, so that the bare Trainer is a type too

    OptimizerT = TypeVar("OptimizerT", bound=Optimizer, default=Any)
else:
    from typing import TypeVar

    OptimizerT = TypeVar("OptimizerT", bound=Optimizer)

__all__ = ["History", "Model", "Optimizer", "RnnlmTrainer", "Trainer", "remove_duplicate"]

OnEpoch = Callable[["Trainer"], Mapping[str, float] | None]


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
    rng : RandomState or Generator, optional
        Draw the orders from this, in place of `seed`.

    Attributes
    ----------
    history : History
        Of all calls of `fit` so far. A call that is interrupted (Ctrl-C) leaves whole epochs and
        whole intervals there, and the trainer can go on.
    step : nnext.step.Step or None
        The step at work, for callbacks: ``step.loss`` is the last batch's. None outside of `fit`.
    eval_interval : int or None
        That of the last call of `fit`, as in the book; None before it.

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

    def __init__(
        self,
        model: Model,
        optimizer: OptimizerT,
        seed: int | None = None,
        *,
        rng: np.random.RandomState | np.random.Generator | None = None,
    ) -> None:
        check_model(model)
        check_optimizer(optimizer)
        self.model = model
        self.optimizer = optimizer
        self.history = History()
        self.step: Step | None = None
        self.eval_interval: int | None = None
        self._loop: Loop | None = None
        self._resumed: Position | None = None  # where the next call of fit goes on
        self._rng = random_source(seed, rng)
        # A stream of its own: what is set apart is no matter of the order of the rest.
        self._split_seed = 0 if seed is None else int(random_state(seed).randint(2**31))

    @property
    def loss_list(self) -> list[float]:
        """The book's name of ``history.loss``: a mean loss for each `eval_interval`."""
        return self.history.loss

    @property
    def current_epoch(self) -> int:
        """How many epochs have been gone through, in all calls of `fit`."""
        return len(self.history.epoch_loss)

    def __repr__(self) -> str:
        epochs = self.current_epoch
        return (
            f"Trainer({type(self.model).__name__}, {self.optimizer!r}, "
            f"{epochs} epoch{'' if epochs == 1 else 's'} so far)"
        )

    def fit(
        self,
        x: Any,
        t: ArrayLike | None = None,
        max_epoch: int = 10,
        batch_size: int | None = None,
        max_grad: float | None = None,
        eval_interval: int | None = 20,
        *,
        sample_weight: ArrayLike | None = None,
        accumulate: int = 1,
        validation: Validation | None = None,
        metrics: Metrics = (),
        callbacks: Iterable[Any] = (),
        drop_last: bool = False,
        on_epoch: OnEpoch | None = None,
        on_nonfinite: OnNonfinite = "warn",
        progress: ProgressKind = "auto",
    ) -> History:
        """Train for some epochs; a further call goes on where this one stopped.

        The first call after `resume` is the one that was interrupted: it gets the same arguments,
        and does what is left of its epochs.

        Before the first batch all data are checked: labels that the loss would refuse are named by
        their row in `t`. (Where a model or its loss is your own and cannot tell, by ``scores`` and
        ``labels``, each batch is checked as it comes; so are the batches of an iterable.) Floating
        `x` is cast to the parameters' type once, if they share one: float64 data would make float32
        parameters compute in float64.

        A batch of which no row counts (every label is ignored) changes nothing and weighs
        nothing in the means; see `nnext.history.History` for what these are.

        Parameters
        ----------
        x : array_like, shape (N, ...); a tuple or dict of such; or an iterable of batches
            Samples. A model with several inputs gets a tuple or dict of batches of each. With `t`
            left out, an iterable of ``(x, t)`` or ``(x, t, sample_weight)``, each a batch as it
            is: an epoch is one pass over it, in its order. An iterator, such as a generator, can be
            gone through once, so that `max_epoch` has to be 1.
        t : array_like, shape (N, ...)
            Labels, as the model takes them.
        max_epoch : int
            How often to go through the data, in a new order each time. Shown epochs are counted
            over all calls: after two calls with 2, they went from 1/2 to 4/4.
        batch_size : int, optional
            32 if left out. Also that of the validation, if it is more than 1024. An iterable has
            its own.
        max_grad : float, optional
            The largest norm of all gradients together; longer ones are scaled down to it.
        eval_interval : int, optional
            Batches from one point of ``history.loss`` to the next. None: no points and no lines.
        sample_weight : array_like, shape (N, ...), optional
            What each row of scores counts; the loss layer has to take it. A row of weight 0 counts
            as one whose label is ignored.
        accumulate : int
            So many batches are one step: their gradients add up before the parameters change once,
            with the bits of one batch of all their rows where `nnext.step.Step.accumulate` says so,
            while the layers keep the numbers of one of them. The last step of an epoch may have
            fewer. What else is said of batches here, and callbacks see, are steps then.
        validation : (x, t), (x, t, sample_weight), or float, optional
            Samples to measure the model on after each epoch; a float in (0, 1) sets that part of
            the data apart, the same for all calls with equally many samples. The model's ``loss``
            there is ``history.metrics["val_loss"]``.
        metrics : iterable of str or callable, or dict of these
            What else is measured, on the validation's samples, as ``"val_accuracy"``, or without
            them on those trained on, as ``"accuracy"``. ``"accuracy"`` is the model's method; a
            function is called with the labels and ``model.predict(x)``, in this order, as those of
            ``sklearn.metrics`` are, and returns a number. Where the loss has classes the labels are
            class indices, of sequences in one row; rows that do not count (an ignored label, weight
            0) are left out, and a function with a parameter ``sample_weight`` gets the weights. It
            is named by its ``__name__``, or the key of a dict. Each is tried before the training,
            on the first samples.
        callbacks : iterable of callbacks
            What else happens meanwhile, each object once; see `nnext.callbacks`.
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
        RuntimeError
            Within another call of `fit`, from a callback or another thread.
        FloatingPointError
            With ``on_nonfinite="raise"``.
        ImportError
            If a bar is asked for and tqdm is not installed.
        """
        if self._loop is not None:
            raise RuntimeError(
                "fit: this trainer is in a call of fit; what it calls, and other threads, cannot "
                "begin another one"
            )
        max_epoch = check_count("max_epoch", max_epoch)
        rows = 32 if batch_size is None else check_count("batch_size", batch_size)
        accumulate = check_count("accumulate", accumulate)
        if eval_interval is not None:
            eval_interval = check_count("eval_interval", eval_interval)
        if on_epoch is not None and not callable(on_epoch):
            raise TypeError(f"on_epoch: expected a function or None, got {on_epoch!r}")
        drop_last = check_flag("drop_last", drop_last)
        measured = read_metric_functions(metrics)
        model = self.model
        batches: SampleBatches | StreamBatches
        train: Samples | None = None
        if t is None:
            batches = StreamBatches(x, model, max_epoch, accumulate)
            unused = {"sample_weight": sample_weight, "batch_size": batch_size}
            for name, value in [*unused.items(), ("drop_last", drop_last or None)]:
                if value is not None:
                    raise ValueError(f"{name}: an iterable gives its own batches")
            held_out = None
            if validation is not None:
                held_out = read_validation(validation)
            elif measured:
                raise ValueError("metrics: with an iterable of batches they need a validation set")
        else:
            given = read_samples(x, t, sample_weight)
            train, held_out = split(given, validation, self._split_seed)
            train = train.cast_to(model.params)
            batches = SampleBatches(train, rows, accumulate, drop_last, self._rng)
        takes = [data for data in (train, held_out) if data is not None and data.weight is not None]
        if takes:
            check_takes_weight(model)

        evaluation = None
        if held_out is not None:
            held_out = held_out.cast_to(model.params)
            evaluation = Evaluation(model, held_out, measured, True, max(rows, 1024))
        elif measured and train is not None:
            evaluation = Evaluation(model, train, measured, False, max(rows, 1024))
        names = [] if evaluation is None else evaluation.names
        # What on_epoch returns is not known before.
        columns = {"loss", *names} if on_epoch is None else None
        teller = TellPlateaus("loss" if held_out is None else "val_loss")
        called = Callbacks(callbacks, self, columns, [teller])
        resumed = self._resumed
        loop = Loop(self, batches, called, evaluation, eval_interval, on_epoch, resumed)
        wants_gradients = called.has("on_gradients")
        step = Step(
            model,
            self.optimizer,
            max_grad,
            on_gradients=(lambda: called("on_gradients")) if wants_gradients else None,
            on_nonfinite=on_nonfinite,
            where=loop.where,
        )
        check_options = getattr(self.optimizer, "check_options", None)
        if check_options is not None:
            check_options(step.params)
        if train is not None:
            check_labels(model, train)
        if evaluation is not None:
            evaluation.check()
        done = len(self.history.epoch_loss) - (0 if resumed is None else resumed.epochs)
        shown = make_progress(progress, max_epoch, batches.count, done)
        self.step, self._loop, self._resumed = step, loop, None
        self.eval_interval = eval_interval
        try:
            return loop.run(max_epoch, step, shown)
        finally:
            self.step = self._loop = None
            self.history.trim()
            shown.close()

    def save_checkpoint(self, path: PathLike) -> None:
        """Write to a file all that the further training depends on, for `resume`.

        That is the model's arrays, the optimizer's state, the orders to come, the streams that
        `Dropout` and `nnext.time_layers.TimeDropout` draw from, the states of layers over time, the
        history, and within `fit` the place in the epoch and what callbacks remember
        (``state_dict``). `nnext.callbacks.ModelCheckpoint` calls it again and again; outside of
        `fit` too it may be called at any time, within it in ``on_batch_end`` and ``on_epoch_end``.
        The file is written whole or not at all.

        Parameters
        ----------
        path : path-like
            The file's name, used as it is.

        Raises
        ------
        ImportError
            If safetensors is not installed; the message says how to install it.
        RuntimeError
            In the middle of a batch.
        TypeError
            If something cannot be stored: an optimizer without ``state_dict``, a generator that
            is not NumPy's own, what a callback remembers.
        OSError
            If the file cannot be written, or `path` is a directory, a device or a pipe.
        """
        from nnext import checkpoints  # here, for it knows all layers and models

        position = self._resumed if self._loop is None else self._loop.position()
        checkpoints.save(
            path,
            self.model,
            self.optimizer,
            checkpoints.Run(self.history, self._rng, self._split_seed, position),
        )

    @classmethod
    def resume(
        cls,
        path: PathLike,
        model: Model,
        optimizer: OptimizerT,
        *,
        rng: np.random.RandomState | np.random.Generator | None = None,
    ) -> Self:
        """Make a trainer that goes on from a checkpoint, with the bits of an uninterrupted run.

        Parameters
        ----------
        path : path-like
            What `save_checkpoint` or `nnext.callbacks.ModelCheckpoint` wrote.
        model : object
            A model of the same layers; it gets the checkpoint's numbers.
        optimizer : object
            One of the same type and with the same groups; it gets the checkpoint's state and
            options. A schedule goes on from the step that the checkpoint is of.
        rng : RandomState or Generator, optional
            The generator that the trainer was given, where it has other uses too: it is put into
            the stored state. Left out, a new one is made.

        Notes
        -----
        The states of layers over time (``h`` and ``c``) are those of the checkpoint: a stateful
        layer goes on with the rows of its last batch. A `nnext.time_layers.TimeDropout` that draws
        its masks from ``numpy.random`` puts that into the state that it had; nothing else here
        touches it. What a layer of your own goes on from is kept if it names it
        (``state_names``, ``counter_names``).

        Returns
        -------
        Trainer
            If the checkpoint was made within a call of `fit`, the next call goes on with that one,
            and gets its arguments: its epochs are those that it had from its beginning, so that a
            program that is run again ends where it would have ended.

        Raises
        ------
        ValueError
            If the file is something else or damaged, or the checkpoint is that of another model or
            optimizer. Model, optimizer and `rng` are untouched then.
        TypeError
            If `model` or `optimizer` lacks something.
        ImportError
            If safetensors is not installed; the message says how to install it.
        OSError
            If the file cannot be opened, or is a directory, a device or a pipe.
        """
        from nnext import checkpoints

        check_model(model)
        check_optimizer(optimizer)
        run = checkpoints.load(path, model, optimizer, rng)
        trainer = cls(model, optimizer, rng=run.rng)
        trainer.history, trainer._split_seed = run.history, run.split_seed
        trainer._resumed = run.position
        return trainer

    def plot(
        self, ylim: tuple[float, float] | None = None, path: str | os.PathLike[str] | None = None
    ) -> Any:
        """Draw the losses, of training and validation, and the metrics; return the figure.

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

        return plotting.plot_loss(self.history, ylim=ylim, path=path)
