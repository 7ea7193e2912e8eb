"""The book's loop for language models: a text that is read on and on, in its own order."""

from __future__ import annotations

import math
import os
from typing import Any

from numpy.typing import ArrayLike

from nnext._progress import ProgressKind, make_progress
from nnext._sequence_evaluation import count_batches, perplexity, places
from nnext._support import Array, check_count
from nnext._text import read_ids
from nnext.step import Model, Optimizer, Step, check_model, check_optimizer


class RnnlmTrainer:
    """Trains a language model whose recurrent layers keep their states from batch to batch.

    The text is cut into `batch_size` parts, which are read side by side: each batch goes on with
    the words that follow the last one's (truncated backpropagation through time). What is done with
    a batch is `nnext.step.Step`. For samples that are independent of each other, take `Trainer`;
    and for a run that is to go on from a checkpoint too, with an iterable of batches such as
    `get_batch` returns.

    Parameters
    ----------
    model : object
        Has ``params`` and ``grads``, ``forward(xs, ts)`` that returns the mean loss of words
        (N, T), and ``backward()``, such as `nnext.models.Rnnlm`.
    optimizer : object
        Has ``update(params, grads)``.

    Attributes
    ----------
    ppl_list : list of float or None
        The perplexities of the last call of `fit`, one for each interval.
    time_idx : int or None
        How many words of each part have been read, by the last call of `fit`.
    eval_interval : int or None
        That of the last call of `fit`.
    current_epoch : int
        How many epochs are done, over all calls.

    Raises
    ------
    TypeError
        If `model` or `optimizer` lacks something.
    ValueError
        If the model has not one gradient for each parameter, or its loss has
        ``reduction="none"``.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 5.5 (``common/trainer.py``).

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.models import Rnnlm
    >>> from nnext.optimizer import SGD
    >>> corpus = np.tile([0, 1, 2, 3], 50)
    >>> trainer = RnnlmTrainer(Rnnlm(4, 8, 8), SGD(lr=1.0))
    >>> perplexities = trainer.fit(corpus[:-1], corpus[1:], 10, 2, 5, progress="none")
    >>> len(perplexities)
    10
    """

    def __init__(self, model: Model, optimizer: Optimizer) -> None:
        check_model(model)
        check_optimizer(optimizer)
        self.model = model
        self.optimizer = optimizer
        self.time_idx: int | None = None
        self.ppl_list: list[float] | None = None
        self.eval_interval: int | None = None
        self.current_epoch = 0

    def get_batch(
        self, x: ArrayLike, t: ArrayLike, batch_size: int, time_size: int
    ) -> tuple[Array, Array]:
        """Return the next words of each part, (N, T), and those that follow them.

        The text is a ring: behind its last word stands its first.

        Parameters
        ----------
        x, t : array_like, shape (size,)
            The ids of the words, and of those that follow each.
        batch_size, time_size : int
            N, the number of parts, and T, how many words of each.
        """
        words, answers = read_ids("x", x), read_ids("t", t, are_labels=True)
        batch_size = check_count("batch_size", batch_size)
        time_size = check_count("time_size", time_size)
        if not 0 < len(words) == len(answers):
            raise ValueError(
                f"t: expected {len(words)} words, one for each of x, and at least one, got "
                f"{len(answers)}"
            )
        first = self.time_idx or 0
        at = places(first, len(words) // batch_size, batch_size, time_size) % len(words)
        self.time_idx = first + time_size
        return words[at], answers[at]

    def fit(
        self,
        xs: ArrayLike,
        ts: ArrayLike,
        max_epoch: int = 10,
        batch_size: int = 20,
        time_size: int = 35,
        max_grad: float | None = None,
        eval_interval: int | None = 20,
        *,
        progress: ProgressKind = "auto",
    ) -> list[float]:
        """Train for some epochs; each call begins with the text's beginning.

        It does not reset the model's states.

        Parameters
        ----------
        xs, ts : array_like of int, shape (size,)
            The ids of the words, and of those that follow each: ``corpus[:-1]`` and ``corpus[1:]``.
        max_epoch : int
            How often to go through the text.
        batch_size, time_size : int
            How many parts are read side by side, and how many words of each make a batch.
        max_grad : float, optional
            The largest norm of all gradients together; longer ones are scaled down to it.
        eval_interval : int, optional
            Batches from one perplexity to the next; the first one of an epoch is that of its first
            batch and what is left of the epoch before, as in the book. None: none and no lines.
        progress : {"auto", "bar", "lines", "none"}
            As in `Trainer.fit`.

        Returns
        -------
        list of float
            The attribute `ppl_list`.

        Raises
        ------
        ValueError
            If `xs` and `ts` are not equally long, or do not fill a batch, or an argument cannot be
            used.
        TypeError
            If the ids are no whole numbers, or `max_grad` no number.
        IndexError
            If an id is none of the model's; the batches before it have been trained on.
        ImportError
            If a bar is asked for and tqdm is not installed.
        """
        words, answers = read_ids("xs", xs), read_ids("ts", ts, are_labels=True)
        if len(words) != len(answers):
            raise ValueError(
                f"ts: expected {len(words)} words, one for each of xs, got {len(answers)}"
            )
        max_epoch = check_count("max_epoch", max_epoch)
        batch_size = check_count("batch_size", batch_size)
        time_size = check_count("time_size", time_size)
        if eval_interval is not None:
            eval_interval = check_count("eval_interval", eval_interval)
        batches = count_batches("xs", len(words), 0, batch_size, time_size)
        i = 0
        step = Step(
            self.model,
            self.optimizer,
            max_grad,
            where=lambda: f"epoch {self.current_epoch + 1}, step {i + 1}",
        )
        shown = make_progress(progress, max_epoch, batches, self.current_epoch, "perplexity")
        self.time_idx, self.ppl_list, self.eval_interval = 0, [], eval_interval
        found = self.ppl_list
        total, count = 0.0, 0  # of the losses since the last perplexity
        try:
            for epoch in range(max_epoch):
                for i in range(batches):
                    loss = step(*self.get_batch(words, answers, batch_size, time_size))
                    if step.count:
                        total, count = total + loss, count + 1
                    shown.advance()
                    if eval_interval is not None and i % eval_interval == 0 and count:
                        found.append(perplexity(total / count))
                        shown.point(epoch, i, found[-1])
                        total, count = 0.0, 0
                self.current_epoch += 1
                shown.epoch(epoch, found[-1] if found else math.nan, {})
        finally:
            shown.close()
        return found

    def plot(
        self, ylim: tuple[float, float] | None = None, path: str | os.PathLike[str] | None = None
    ) -> Any:
        """Draw the perplexities of the last call of `fit`; return the figure.

        Parameters
        ----------
        ylim : (float, float), optional
            Range of the axis of perplexities.
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

        return plotting.plot_perplexity(
            self.ppl_list or [], self.eval_interval or 1, ylim=ylim, path=path
        )

    def __repr__(self) -> str:
        return (
            f"RnnlmTrainer({type(self.model).__name__}, {self.optimizer!r}, "
            f"{self.current_epoch} epoch{'' if self.current_epoch == 1 else 's'} so far)"
        )
