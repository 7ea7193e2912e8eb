"""How the estimators are fitted: epochs of batches with an optimizer, or SciPy's L-BFGS-B."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from nnext._called_callbacks import Callbacks
from nnext._progress import Progress, make_progress
from nnext._sklearn_data import Data
from nnext._sklearn_network import Network
from nnext._sklearn_optimizers import Velocity
from nnext._sklearn_options import Options
from nnext._support import Array
from nnext.history import History
from nnext.step import Step

Score = Callable[[Array, Array, Array | None], float]

# An adaptive rate is not divided any further.
_LEAST_RATE = 1e-6


class Fit:
    """One fit at work; callbacks are given it, and find in it what they know of a `Trainer`.

    What came out is written into the estimator's attributes as it goes: ``loss_``,
    ``loss_curve_``, ``n_iter_`` and the like, which scikit-learn's documentation explains.

    Parameters
    ----------
    estimator : BaseEstimator
    options : Options
    network : Network
    train : Data

    Attributes
    ----------
    estimator : BaseEstimator
        A draft of the one whose ``fit`` was called, which gets what is in it at the end.
    model : Network
        ``model.params`` is one array of all weights; ``coefs_`` and ``intercepts_`` are its parts.
    optimizer : Adam, Velocity or None
        Its ``lr`` may be set; None for L-BFGS.
    history : nnext.History
        Of this fit alone.
    step : nnext.step.Step or None
    """

    def __init__(self, estimator: Any, options: Options, network: Network, train: Data) -> None:
        self.estimator = estimator
        self.model = network
        self.optimizer: Any = None
        self.history = History()
        self.step: Step | None = None
        self._options = options
        self._train = train

    def _callbacks(self, columns: set[str]) -> Callbacks:
        return Callbacks(self._options.callbacks, self, columns)  # type: ignore[arg-type]

    def _progress(self, epochs: int, batches: int) -> Progress:
        return make_progress("auto" if self._options.verbose else "none", epochs, batches)


class EpochFit(Fit):
    """A fit with "sgd" or "adam".

    Parameters
    ----------
    estimator, options, network, train
        As in `Fit`.
    optimizer : Adam or Velocity
    held_out : Data, optional
        What the validation scores are of.
    score : callable
        From outputs, targets and weights to a score.
    """

    def __init__(
        self,
        estimator: Any,
        options: Options,
        network: Network,
        train: Data,
        optimizer: Any,
        held_out: Data | None,
        score: Score,
    ) -> None:
        super().__init__(estimator, options, network, train)
        self.optimizer = optimizer
        self._held_out = held_out
        self._score = score

    def run(self, rng: np.random.RandomState, once: bool) -> None:
        """Go through the epochs.

        Parameters
        ----------
        rng : RandomState
            Of the orders of the rows.
        once : bool
            Whether one epoch is all, of which nobody expects that it converges.
        """
        estimator, options = self.estimator, self._options
        size = self._batch_size()
        columns = {"loss"} if self._held_out is None else {"loss", "validation_score"}
        called = self._callbacks(columns)
        wants_gradients = called.has("on_gradients")
        self.step = Step(
            self.model,
            self.optimizer,
            on_gradients=(lambda: called("on_gradients")) if wants_gradients else None,
            on_nonfinite="ignore",
        )
        order = np.arange(len(self._train)) if options.shuffle else None
        epochs = 1 if once else options.max_iter
        shown = self._progress(epochs, -(-len(self._train) // size))
        estimator.n_iter_ = 0
        stopped = False
        try:
            called("on_train_begin")
            # Weights that overflow are an error at the end.
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                while not stopped and estimator.n_iter_ < epochs:
                    if order is not None:
                        order = order[rng.permutation(len(order))]
                    stopped = self._epoch(size, order, called, shown)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=_LEVEL)
            stopped = True
        finally:
            shown.close()
            self.step = None
        called("on_train_end")
        if self._held_out is not None:
            self.model.weights.all[...] = estimator._best_weights
        if not stopped and not once:
            warnings.warn(
                f"the solver has made max_iter={options.max_iter} epochs and not converged yet",
                ConvergenceWarning,
                stacklevel=_LEVEL,
            )

    def _batch_size(self) -> int:
        rows, size = len(self._train), self._options.batch_size
        if size is None:
            return min(200, rows)
        if size > rows:
            warnings.warn(
                f"batch_size: there are {rows} rows, which make one batch, got {size}",
                stacklevel=_LEVEL + 1,
            )
        return min(size, rows)

    def _epoch(self, size: int, order: Array | None, called: Callbacks, shown: Progress) -> bool:
        """Go through the batches once; return whether the fit ends here."""
        estimator, step, history = self.estimator, self.step, self.history
        assert step is not None  # while it runs
        wants_begin, wants_end = called.has("on_batch_begin"), called.has("on_batch_end")
        called("on_epoch_begin")
        begun = time.perf_counter()
        total, rows, stop, done = 0.0, 0, False, history.batches
        for x, t, weight in self._train.batches(size, order):
            if wants_begin:
                called("on_batch_begin")
            loss = step(x, t, weight)
            history.batches += 1
            if step.count:  # else all weights of the batch are 0
                total += loss * x.shape[0]
                rows += x.shape[0]
            shown.advance()
            if wants_end and called("on_batch_end"):
                stop = True
                break
        estimator.n_iter_ += 1
        estimator.loss_ = total / rows if rows else math.nan
        estimator.t_ += len(self._train)
        estimator.loss_curve_.append(estimator.loss_)
        history.add_epoch(estimator.loss_, time.perf_counter() - begun)
        shown.point(estimator.n_iter_ - 1, history.batches - done - 1, estimator.loss_)
        metrics = self._note_improvement()
        history.set_metrics(metrics)
        shown.epoch(estimator.n_iter_ - 1, estimator.loss_, metrics)
        ended = self._change_rate()
        if called("on_epoch_end") or stop:
            shown.stopped(estimator.n_iter_ - 1, called.stopped_by)
            return True
        return ended

    def _note_improvement(self) -> dict[str, float]:
        """Count the epochs that brought nothing; return the validation score, if there is one."""
        estimator, tol = self.estimator, self._options.tol
        if self._held_out is None:
            worse = estimator.loss_ > estimator.best_loss_ - tol
            estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)
            metrics = {}
        else:
            data = self._held_out
            score = self._score(self.model.outputs(data.x), data.t, data.given_weight)
            estimator.validation_scores_.append(score)
            worse = score < estimator.best_validation_score_ + tol
            if score > estimator.best_validation_score_:
                estimator.best_validation_score_ = score
                estimator._best_weights = self.model.weights.all.copy()
            metrics = {"validation_score": score}
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0
        return metrics

    def _change_rate(self) -> bool:
        """Set the rate of the next epoch; return whether to stop instead."""
        estimator, options, optimizer = self.estimator, self._options, self.optimizer
        schedule = options.learning_rate if isinstance(optimizer, Velocity) else "constant"
        if schedule == "invscaling":
            optimizer.lr = options.learning_rate_init / (estimator.t_ + 1) ** options.power_t
        if estimator._no_improvement_count <= options.n_iter_no_change:
            return False
        if schedule != "adaptive" or optimizer.lr <= _LEAST_RATE:
            return True
        optimizer.lr /= 5
        estimator._no_improvement_count = 0
        return False


class LbfgsFit(Fit):
    """A fit with L-BFGS on all rows at once, in float64 whatever their type."""

    def run(self) -> None:
        """Minimize the loss.

        References
        ----------
        Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained optimization"
        (1995).
        """
        estimator, options, network, data = self.estimator, self._options, self.model, self._train
        called = self._callbacks({"loss"})
        shown = self._progress(options.max_iter, 1)
        weights = network.weights

        def loss_and_gradient(vector: Array) -> tuple[float, Array]:
            np.copyto(weights.all, vector)
            loss = network.forward(data.x, data.t, data.weight)
            network.backward()
            return loss, weights.grad.copy()  # which SciPy keeps

        begun = time.perf_counter()

        def note(*, intermediate_result: Any) -> None:
            nonlocal begun
            history = self.history
            np.copyto(weights.all, intermediate_result.x)
            history.batches += 1
            history.add_epoch(float(intermediate_result.fun), time.perf_counter() - begun)
            begun = time.perf_counter()
            epoch = len(history.epoch_loss) - 1
            shown.advance()
            shown.point(epoch, 0, history.epoch_loss[-1])
            if called("on_epoch_end"):
                shown.stopped(epoch, called.stopped_by)
                raise StopIteration

        called("on_train_begin")
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                found = minimize(
                    loss_and_gradient,
                    weights.all.copy(),
                    method="L-BFGS-B",
                    jac=True,
                    callback=note if options.verbose or options.callbacks else None,
                    options={
                        "maxfun": options.max_fun,
                        "maxiter": options.max_iter,
                        "gtol": options.tol,
                    },
                )
        finally:
            shown.close()
        np.copyto(weights.all, found.x)
        called("on_train_end")
        estimator.n_iter_ = min(int(found.nit), options.max_iter)
        estimator.loss_ = float(found.fun)
        if found.status != 0 and not called.stopped_by:
            warnings.warn(
                f"lbfgs did not converge in {estimator.n_iter_} iterations: {found.message}. "
                "More iterations (max_iter), or data of a like scale in all columns, may help",
                ConvergenceWarning,
                stacklevel=_LEVEL,
            )


# From the warning to the caller of fit: run, _fit_epochs, _learn, _fit, fit.
_LEVEL = 6
