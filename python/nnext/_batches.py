"""Where the batches of a training come from: samples in a new order each epoch, or an iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

from nnext._fit_data import Samples, check_takes_weight, read_samples
from nnext._random_states import rng_state, set_rng_state


class SampleBatches:
    """Batches of samples, in an order that each epoch draws anew.

    Parameters
    ----------
    samples : Samples
    batch_size : int
    accumulate : int
        So many batches are one step; the last one of an epoch may have fewer.
    drop_last : bool
        Leave out the samples that do not fill a last batch (others in each epoch).
    rng : numpy.random.RandomState or numpy.random.Generator

    Attributes
    ----------
    count : int
        Steps of an epoch.

    Raises
    ------
    ValueError
        If `drop_last` leaves no step.
    """

    count: int | None

    def __init__(
        self, samples: Samples, batch_size: int, accumulate: int, drop_last: bool, rng: Any
    ) -> None:
        n, rows = len(samples), batch_size * accumulate
        if drop_last and rows > n:
            times = "" if accumulate == 1 else f" times {accumulate} to accumulate"
            raise ValueError(
                f"batch_size: {batch_size}{times} is more than the {n} samples, and drop_last "
                "leaves no batch"
            )
        self._samples = samples
        self._part = batch_size
        self._rows = rows
        self._used = n - n % rows if drop_last else n
        self._rng = rng
        self.count = -(-self._used // rows)

    def plan(self) -> dict[str, int]:
        """Return what has to be the same where an epoch is to be gone on with."""
        return {
            "samples": len(self._samples),
            "batch_size": self._rows,
            "batches of an epoch": self.count or 0,
        }

    def random_state(self) -> Any:
        """Return the state of the generator, or None if it tells none."""
        return rng_state(self._rng)

    def epoch(self, skip: int = 0, drawn_from: Any = None) -> Iterator[list[Samples]]:
        """Draw an order now, and go through it; of each step give the batches.

        Parameters
        ----------
        skip : int
            Leave out so many steps, which were gone through before.
        drawn_from : dict, optional
            What `random_state` was when this order was drawn before; the generator is put back.
        """
        now = None
        if drawn_from is not None:
            now = rng_state(self._rng)
            set_rng_state(self._rng, drawn_from)
        order = self._rng.permutation(len(self._samples))
        if now is not None:
            set_rng_state(self._rng, now)
        starts = range(0, self._used, self._rows)[skip:]
        ends = (min(first + self._rows, self._used) for first in starts)
        steps = zip(starts, ends, strict=True)
        taken = (self._samples.take(order[first:end]) for first, end in steps)
        if self._part == self._rows:
            return ([batch] for batch in taken)
        return (self._parts(step) for step in taken)

    def _parts(self, step: Samples) -> list[Samples]:
        return [step[first : first + self._part] for first in range(0, len(step), self._part)]


class StreamBatches:
    """The batches that an iterable gives, one pass an epoch.

    Parameters
    ----------
    batches : iterable of (x, t) or (x, t, sample_weight)
    model : object
        Floats are cast to the type of its parameters.
    epochs : int
        So many passes are going to be made.
    accumulate : int
        So many batches are one step; the last one of an epoch may have fewer.

    Attributes
    ----------
    count : int or None
        Steps of an epoch, from the iterable's ``len``, if it has one.

    Raises
    ------
    TypeError
        If it is no iterable, or an array.
    ValueError
        If it is an iterator, and more than one pass is to be made.
    """

    def __init__(self, batches: Any, model: Any, epochs: int, accumulate: int) -> None:
        is_array = hasattr(batches, "__array__") or hasattr(batches, "toarray")
        is_data = is_array or isinstance(batches, str | bytes | dict)
        if is_data or not isinstance(batches, Iterable):
            raise TypeError(
                "t: expected labels; without them x is to be an iterable of batches (x, t), got "
                f"{type(batches).__name__}"
            )
        if epochs > 1 and isinstance(batches, Iterator):
            raise ValueError(
                f"x: {epochs} epochs are {epochs} passes over the batches, and "
                f"{_shown(batches)} can be gone through once: give an object whose __iter__ begins "
                "anew, such as a list"
            )
        self._batches = batches
        self._model = model
        self._takes_weight = False  # as far as is known
        self._accumulate = accumulate
        n = _length(batches)
        self.count = None if n is None else -(-n // accumulate)

    def plan(self) -> dict[str, int]:
        """Return what has to be the same where an epoch is to be gone on with, as far as known."""
        return {} if self._accumulate == 1 else {"batches of a step": self._accumulate}

    def random_state(self) -> Any:
        """Return None: the order is the iterable's own affair."""

    def epoch(self, skip: int = 0, drawn_from: Any = None) -> Iterator[list[Samples]]:
        """Go through the iterable once, of each step give the batches; leave out `skip` steps.

        Raises
        ------
        ValueError
            If it gives no batch, as a generator does that was gone through before; and for a batch
            that `read_samples` refuses, with its number.
        TypeError
            If a batch is no tuple of two or three; likewise.
        """
        batches = self._read(skip * self._accumulate)
        while step := list(islice(batches, self._accumulate)):
            yield step

    def _read(self, skip: int) -> Iterator[Samples]:
        number = 0
        for batch in self._batches:
            number += 1
            if number <= skip:
                continue
            if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
                raise TypeError(
                    f"x: expected batches (x, t) or (x, t, sample_weight), batch {number} is "
                    f"{_shown(batch)}; samples that are no batches have their labels beside them, "
                    "fit(x, t)"
                )
            try:
                samples = read_samples(*batch, is_batch=True).cast_to(self._model.params)
                if samples.weight is not None and not self._takes_weight:
                    check_takes_weight(self._model)
                    self._takes_weight = True
            except (TypeError, ValueError) as error:
                raise type(error)(f"batch {number}: {error}") from None
            # The next batch may be written into the arrays of this one.
            yield samples if self._accumulate == 1 else samples.copy()
        if number == 0:
            raise ValueError(
                "x: the iterable gave no batch; an epoch is one pass over it, and a generator can "
                "be gone through once: give an object whose __iter__ begins anew"
            )


def _length(batches: Any) -> int | None:
    """Return how many batches an iterable has, if it says so."""
    try:
        return len(batches) if isinstance(batches, Sized) else None
    except (TypeError, NotImplementedError):  # as PyTorch's loader of a stream
        return None


def _shown(batch: Any) -> str:
    kind = type(batch).__name__
    return f"{kind} of length {len(batch)}" if isinstance(batch, tuple | list) else kind
