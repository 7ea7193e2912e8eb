"""The book's ``common/trainer.py``: its loops, with its order of the samples and its means."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy

from nnext._support import check_count, require, whole_number
from nnext.book.np import GPU, np
from nnext.book.util import clip_grads
from nnext.step import Model, Optimizer, Step, check_optimizer, check_parts
from nnext.trainer import RnnlmTrainer, remove_duplicate

__all__ = [
    "GPU",
    "RnnlmTrainer",
    "Trainer",
    "clip_grads",
    "np",
    "numpy",
    "remove_duplicate",
    "sys",
    "time",
]


class Trainer:
    """Trains a model on batches of samples, to the numbers of the book's ``Trainer``.

    It differs from `nnext.trainer.Trainer`, which does more, in this: the samples are put into a
    new order by ``numpy.random.permutation`` in each epoch, on top of the order of the epoch
    before; those that do not fill a last batch are left out; and the first batch of every epoch
    ends a mean of the loss, as does each that is `eval_interval` later.

    Parameters
    ----------
    model : object
        Has ``params`` and ``grads``, ``forward(x, t)`` that returns the loss of a batch, and
        ``backward()`` that writes the gradients into ``grads``.
    optimizer : object
        Has ``update(params, grads)``.

    Attributes
    ----------
    loss_list : list of float
        The means of the loss, of all calls of `fit`.
    eval_interval : int or None
        That of the last call of `fit`.
    current_epoch : int
        How many epochs have been gone through.

    Raises
    ------
    TypeError
        If `model` or `optimizer` lacks something.
    """

    def __init__(self, model: Model, optimizer: Optimizer) -> None:
        check_parts(model)
        check_optimizer(optimizer)
        self.model = model
        self.optimizer = optimizer
        self.loss_list: list[float] = []
        self.eval_interval: int | None = None
        self.current_epoch = 0

    def fit(
        self,
        x: Any,
        t: Any,
        max_epoch: int = 10,
        batch_size: int = 32,
        max_grad: float | None = None,
        eval_interval: int | None = 20,
    ) -> None:
        """Train for some epochs; each mean of the loss is printed.

        Parameters
        ----------
        x, t : array_like, shape (N, ...)
            Samples and labels.
        max_epoch, batch_size : int
        max_grad : float, optional
            The largest norm of all gradients together; longer ones are scaled down to it.
        eval_interval : int, optional
            Batches from one mean of the loss to the next. None: no means and no lines.

        Raises
        ------
        ValueError
            If an argument cannot be used. Nothing has changed then.

        Warns
        -----
        RuntimeWarning
            If the samples do not fill a batch, so that nothing is learnt: the book's says nothing.
        """
        max_epoch = whole_number("max_epoch", max_epoch)
        batch_size = check_count("batch_size", batch_size)
        if eval_interval is not None:
            eval_interval = check_count("eval_interval", eval_interval)
        x, t = np.asarray(x), np.asarray(t)
        if len(x) != len(t):
            raise ValueError(f"t: expected labels for {len(x)} samples, got {len(t)}")
        batches = len(x) // batch_size
        if not batches:
            warnings.warn(
                f"batch_size: {batch_size} is more than the {len(x)} samples: nothing is learnt",
                RuntimeWarning,
                stacklevel=2,
            )
        step = self._step(max_grad)
        self.eval_interval = eval_interval
        total, count = 0.0, 0
        start = time.perf_counter()
        for _ in range(max_epoch):
            order = np.random.permutation(len(x))
            x, t = x[order], t[order]
            for i in range(batches):
                rows = slice(i * batch_size, (i + 1) * batch_size)
                total += step(x[rows], t[rows])
                count += 1
                if eval_interval is not None and i % eval_interval == 0:
                    self.loss_list.append(float(total / count))
                    print(
                        f"| epoch {self.current_epoch + 1} |  iter {i + 1} / {batches} "
                        f"| time {int(time.perf_counter() - start)}[s] "
                        f"| loss {self.loss_list[-1]:.2f}"
                    )
                    total, count = 0.0, 0
            self.current_epoch += 1

    def _step(self, max_grad: float | None) -> Callable[[Any, Any], float]:
        """Return what trains on a batch: a `Step`, or the book's own lines.

        These for models whose parameters the first ``forward`` makes, or whose gradients each
        ``backward``: nothing is known of them before.
        """
        model, optimizer = self.model, self.optimizer
        are_there = 0 < len(model.params) == len(model.grads)
        if are_there and all(isinstance(grad, np.ndarray) for grad in model.grads):
            return Step(model, optimizer, max_grad)

        def step(x: Any, t: Any) -> float:
            loss = model.forward(x, t)
            model.backward()
            params, grads = remove_duplicate(model.params, model.grads)
            if max_grad is not None:
                clip_grads(grads, max_grad)
            optimizer.update(params, grads)
            return loss

        return step

    def plot(self, ylim: tuple[float, float] | None = None) -> None:
        """Draw the means of the loss into the current figure of matplotlib and show it.

        Parameters
        ----------
        ylim : (float, float), optional
            Range of the loss axis.

        Raises
        ------
        ImportError
            If matplotlib is not installed; the message says how to install it.
        """
        plt = require("matplotlib.pyplot", "plot", "Trainer.plot")
        if ylim is not None:
            plt.ylim(*ylim)
        plt.plot(np.arange(len(self.loss_list)), self.loss_list, label="train")
        plt.xlabel(f"iterations (x{self.eval_interval})")
        plt.ylabel("loss")
        plt.show()
