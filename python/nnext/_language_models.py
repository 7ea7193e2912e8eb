"""The book's language models: a word and those before it say which word comes next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nnext._drawn_layers import Drawn, Rng, check_sizes, sizes_of
from nnext._drawn_words import draw_words
from nnext._fit_data import Samples
from nnext._support import Array, check_count, check_flag, given_source, naming, whole_number
from nnext._text import read_ids
from nnext.base_model import BaseModel, LayerLike
from nnext.time_layers import TimeAffine, TimeDropout, TimeSoftmaxWithLoss

State = tuple[Array | None, Array | None]


class _LanguageModel(BaseModel):
    """A chain of layers over time, from ids of words (N, T) to scores (N, T, V).

    Its recurrent layers keep their states from call to call: the next ids are taken for those that
    follow the last ones, of equally many sequences. `reset_state` begins anew. What measures does
    so by itself, and leaves the states as they are: `scores`, `predict_proba`, `accuracy`, `loss`.
    """

    loss_layer: TimeSoftmaxWithLoss

    def __init__(self, layers: list[LayerLike]) -> None:
        super().__init__(layers, TimeSoftmaxWithLoss())

    def loss_input(self, x: ArrayLike) -> Array:
        """Compute the scores of the next words, in inference mode."""
        with naming(xs="x"):
            return self.predict(x)

    def scores(self, x: ArrayLike) -> Array:
        """Compute the scores of the next words, of a text that begins with `x`.

        `predict` returns those of a text that goes on with it.

        Parameters
        ----------
        x : array_like of int, shape (N, T)

        Returns
        -------
        ndarray, shape (N, T, V)
        """
        with self._begun_anew():
            return super().scores(x)

    def _run(self, xs: Any) -> Array:
        h = read_ids("xs", xs, self._size, ("NT",))
        with self._states_kept_on_error():
            for layer in self.layers:
                h = layer.forward(h)
        return h

    @property
    def _size(self) -> int:
        return len(self.params[0])

    def predict(self, xs: ArrayLike) -> Array:  # type: ignore[override]
        """Compute the scores of the next words, as the book's method of this name does.

        Parameters
        ----------
        xs : array_like of int, shape (N, T)

        Returns
        -------
        ndarray, shape (N, T, V)
            The scores: their `softmax` are probabilities, their ``argmax(axis=2)`` the most
            probable words. (Of other models ``predict`` returns that.)

        Raises
        ------
        ValueError
            If `xs` has not two axes, or another number of rows than the states have.
        TypeError
            If ids are no whole numbers.
        IndexError
            If an id is none of the model's. The states are what they were in these cases.
        """
        return self._run(xs)

    def forward(self, xs: ArrayLike, ts: ArrayLike) -> float:
        """Compute the mean loss of all next words.

        Parameters
        ----------
        xs : array_like of int, shape (N, T)
            Ids of words.
        ts : array_like of int, shape (N, T)
            The words that follow; -1 where none counts.

        Returns
        -------
        float
            Its exponential is the perplexity.

        Raises
        ------
        ValueError, TypeError, IndexError
            As `predict`, and likewise for `ts`; an `nnext.EmptyBatchError` if no word counts.
        """
        return self._loss_of(xs, ts, self._run)

    def _loss_of(self, xs: Any, ts: Any, run: Callable[[Any], Array]) -> float:
        """Return the loss; what is no text is refused before anything is computed or drawn."""
        ids = read_ids("xs", xs, self._size, ("NT",))
        with naming(x="scores", t="ts"):
            self.loss_layer.labels(ts, (*ids.shape, self._size))
            with self._states_kept_on_error():
                return self.loss_layer.forward(run(ids), ts)

    def backward(self, dout: float = 1) -> None:
        """Write the gradients of the last `forward` into ``grads``."""
        grad: Any = self.loss_layer.backward(dout)
        for layer in reversed(self.layers):
            grad = layer.backward(grad)

    def generate(
        self,
        start_id: int,
        skip_ids: Iterable[int] | None = None,
        sample_size: int = 100,
        *,
        seed: int | None = None,
        rng: Rng = None,
    ) -> list[int]:
        """Write a text, each word drawn from the probabilities that follow the words before it.

        The model goes on from the states that it has: `reset_state` for a new text.

        Parameters
        ----------
        start_id : int
            The first word.
        skip_ids : iterable of int, optional
            Words that are not to be written, such as that for a rare one. If one is drawn, another
            is drawn after the same word, whose states are computed again, as in the book.
        sample_size : int
            The number of words, the first among them.
        seed : int, optional
            Of what is drawn; left out, it is drawn from ``numpy.random``.
        rng : RandomState or Generator, optional
            Draw from this, in place of `seed`.

        Returns
        -------
        list of int

        Raises
        ------
        IndexError
            If `start_id` or one of `skip_ids` is no word of the model.
        ValueError
            If `sample_size` is no whole number of at least 1, every word that has a probability is
            to be skipped, or there are both `seed` and `rng`.
        TypeError
            If an id is no whole number, or `rng` no source of random numbers.

        References
        ----------
        "Deep Learning from Scratch 2", chapter 7.1 (``RnnlmGen``).
        """
        x = whole_number("start_id", start_id)
        try:
            given = () if skip_ids is None else iter(skip_ids)
        except TypeError:
            raise TypeError(f"skip_ids: expected whole numbers, got {skip_ids!r}") from None
        skip = {whole_number("skip_ids", i, "whole numbers") for i in given}
        sample_size = check_count("sample_size", sample_size)
        source: Any = given_source(seed, rng) or np.random
        size = self._size
        for name, word in [("start_id", x), *(("skip_ids", i) for i in sorted(skip))]:
            if not 0 <= word < size:
                raise IndexError(f"{name}: expected a word from 0 to {size - 1}, got {word}")
        with self._states_kept_on_error():
            return draw_words(self.predict, x, skip, sample_size, source)

    def config(self) -> dict[str, Any]:
        """Return the sizes and the type, which make such a model."""
        return sizes_of(self.params[0], self.params[2])

    def reset_state(self) -> None:
        """Forget what was read: the recurrent layers begin with zeros again."""
        raise NotImplementedError

    def get_state(self) -> Any:
        """Return the states of the recurrent layers."""
        raise NotImplementedError

    def set_state(self, state: Any) -> None:
        """Go on from what `get_state` returned."""
        raise NotImplementedError

    @contextmanager
    def _states_kept_on_error(self) -> Iterator[None]:
        kept = self.get_state()
        try:
            yield
        except BaseException:
            self.set_state(kept)
            raise

    @contextmanager
    def _begun_anew(self) -> Iterator[None]:
        """Compute from zeros, and go on afterwards from the states of now."""
        kept = self.get_state()
        self.reset_state()
        try:
            yield
        finally:
            self.set_state(kept)

    # What is measured is no text that is read on: each batch begins with zeros, of any size.

    def _evaluate(self, batch: Samples) -> tuple[Any, float]:
        with self._begun_anew():
            return super()._evaluate(batch)

    def _in_batches(  # type: ignore[override]
        self, function: Callable[[Any], Array], x: Any, batch_size: int | None
    ) -> Array:
        def anew(part: Any) -> Array:
            with self._begun_anew():
                return function(part)

        return BaseModel._in_batches(anew, x, batch_size)

    def _answer(self, x: ArrayLike, batch_size: int | None = None) -> Array:
        """Return the most probable next words: what functions that measure are given."""
        return self._in_batches(
            lambda part: self.loss_layer.predictions(self.loss_input(part)), x, batch_size
        )


class SimpleRnnlm(_LanguageModel):
    """The book's first language model: embedding, `TimeRNN`, affine (ch. 5.5).

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
        How many words there are, how many numbers a word's vector has, and the RNN's state.
    seed : int, optional
        Of the weights: with ``numpy.random.seed(s)`` in the book's program and ``seed=s`` here they
        are the book's, rounded to `dtype`. Left out, they are drawn from ``numpy.random``.
    rng : RandomState or Generator, optional
        Draw the weights from this, in place of `seed`.
    dtype : dtype
        Of the parameters.

    Attributes
    ----------
    rnn_layer : TimeRNN
        The recurrent layer, which is stateful.

    Raises
    ------
    ValueError
        If a size is no whole number of at least 1, or there are both `seed` and `rng`.
    TypeError
        If `rng` is no source of random numbers, or `dtype` not one of floats.
    """

    def __init__(
        self,
        vocab_size: int,
        wordvec_size: int,
        hidden_size: int,
        *,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        V, D, H = check_sizes(
            vocab_size=vocab_size, wordvec_size=wordvec_size, hidden_size=hidden_size
        )
        drawn = Drawn(seed, rng, dtype)
        embedding = drawn.embedding(V, D)
        self.rnn_layer = drawn.rnn(D, H, stateful=True)
        super().__init__([embedding, self.rnn_layer, drawn.affine(H, V)])

    def reset_state(self) -> None:
        """Forget what was read: the RNN begins with zeros again."""
        self.rnn_layer.reset_state()

    def get_state(self) -> Array | None:
        """Return the state of the RNN, (N, H); None before the first words."""
        return self.rnn_layer.h

    def set_state(self, state: Array | None) -> None:
        """Go on from what `get_state` returned."""
        with naming(h="state"):
            self.rnn_layer.set_state(state)


class Rnnlm(_LanguageModel):
    """The book's language model with an LSTM: embedding, `TimeLSTM`, affine (ch. 6.4).

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
    seed : int, optional
    rng : RandomState or Generator, optional
    dtype : dtype
        As in `SimpleRnnlm`.

    Attributes
    ----------
    lstm_layer : TimeLSTM
        The recurrent layer, which is stateful.

    Raises
    ------
    ValueError, TypeError
        As `SimpleRnnlm`.
    """

    def __init__(
        self,
        vocab_size: int = 10000,
        wordvec_size: int = 100,
        hidden_size: int = 100,
        *,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        V, D, H = check_sizes(
            vocab_size=vocab_size, wordvec_size=wordvec_size, hidden_size=hidden_size
        )
        drawn = Drawn(seed, rng, dtype)
        embedding = drawn.embedding(V, D)
        self.lstm_layer = drawn.lstm(D, H, stateful=True)
        super().__init__([embedding, self.lstm_layer, drawn.affine(H, V)])

    def reset_state(self) -> None:
        """Forget what was read: the LSTM begins with zeros again."""
        self.lstm_layer.reset_state()

    def get_state(self) -> State:
        """Return the states h and c of the LSTM, (N, H) each; None before the first words."""
        return self.lstm_layer.h, self.lstm_layer.c

    def set_state(self, state: State) -> None:
        """Go on from what `get_state` returned."""
        self.lstm_layer.set_state(*_pair("state", state))


class BetterRnnlm(_LanguageModel):
    """The book's better one: two LSTMs, dropout between the layers, tied weights (ch. 6.5).

    The table of words is the matrix of the last layer too, transposed: one array, whose gradients
    `nnext.step.Step` adds up.

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
        As in `SimpleRnnlm`; the last two have to be equal.
    dropout_ratio : float
        Of all three `TimeDropout`, in [0, 1).
    seed : int, optional
        Of the weights, and in training of the elements to drop; left out, both are drawn from
        ``numpy.random``.
    rng : RandomState or Generator, optional
        Draw both from this, in place of `seed`.
    dtype : dtype
        Of the parameters.

    Attributes
    ----------
    lstm_layers : list of TimeLSTM
    drop_layers : list of TimeDropout

    Raises
    ------
    ValueError
        If a size is no whole number of at least 1, `hidden_size` is not `wordvec_size`, or
        `dropout_ratio` out of its range.
    TypeError
        As `SimpleRnnlm`, and if `dropout_ratio` is no number.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 6.5; Zaremba, Sutskever and Vinyals, "Recurrent Neural
    Network Regularization", arXiv:1409.2329 (2014); Press and Wolf, "Using the Output Embedding to
    Improve Language Models", EACL 2017; Inan, Khosravi and Socher, "Tying Word Vectors and Word
    Classifiers", ICLR 2017.
    """

    def __init__(
        self,
        vocab_size: int = 10000,
        wordvec_size: int = 650,
        hidden_size: int = 650,
        dropout_ratio: float = 0.5,
        *,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        V, D, H = check_sizes(
            vocab_size=vocab_size, wordvec_size=wordvec_size, hidden_size=hidden_size
        )
        if H != D:
            raise ValueError(
                f"hidden_size: expected {D}, as wordvec_size, since the first and the last layer "
                f"share their weights, got {H}"
            )
        drawn = Drawn(seed, rng, dtype)
        self.drop_layers = [TimeDropout(dropout_ratio, rng=drawn.rng) for _ in range(3)]
        embedding = drawn.embedding(V, D)
        self.lstm_layers = [drawn.lstm(D, H, stateful=True), drawn.lstm(H, H, stateful=True)]
        layers: list[LayerLike] = [embedding]
        for drop, lstm in zip(self.drop_layers, self.lstm_layers, strict=False):
            layers += [drop, lstm]
        layers += [self.drop_layers[2], TimeAffine(embedding.W.T, drawn.zeros(V))]
        super().__init__(layers)

    def predict(self, xs: ArrayLike, train_flg: bool = False) -> Array:  # type: ignore[override]
        """Compute the scores of the next words, as the book's method of this name does.

        Parameters
        ----------
        xs : array_like of int, shape (N, T)
        train_flg : bool
            Whether elements are dropped.

        Returns
        -------
        ndarray, shape (N, T, V)
        """
        train_flg = check_flag("train_flg", train_flg)
        for layer in self.drop_layers:
            layer.train_flg = train_flg
        return self._run(xs)

    def forward(self, xs: ArrayLike, ts: ArrayLike, train_flg: bool = True) -> float:
        """Compute the mean loss of all next words; with `train_flg` False without dropout.

        Parameters
        ----------
        xs : array_like of int, shape (N, T)
        ts : array_like of int, shape (N, T)
            The words that follow; -1 where none counts.
        train_flg : bool

        Returns
        -------
        float
        """
        return self._loss_of(xs, ts, lambda ids: self.predict(ids, train_flg))

    def config(self) -> dict[str, Any]:
        """Return the sizes, the ratio and the type, which make such a model."""
        return {**super().config(), "dropout_ratio": self.drop_layers[0].dropout_ratio}

    def reset_state(self) -> None:
        """Forget what was read: both LSTMs begin with zeros again."""
        for layer in self.lstm_layers:
            layer.reset_state()

    def get_state(self) -> list[State]:
        """Return the states h and c of both LSTMs; None before the first words."""
        return [(layer.h, layer.c) for layer in self.lstm_layers]

    def set_state(self, states: Iterable[State]) -> None:
        """Go on from what `get_state` returned."""
        if not isinstance(states, Iterable):
            raise TypeError(f"states: expected those of 2 LSTMs, got {type(states).__name__}")
        given, kept = [_pair("states", state) for state in states], self.get_state()
        if len(given) != len(self.lstm_layers):
            raise ValueError(f"states: expected 2, one for each LSTM, got {len(given)}")
        try:
            for layer, state in zip(self.lstm_layers, given, strict=True):
                layer.set_state(*state)
        except BaseException:
            for layer, state in zip(self.lstm_layers, kept, strict=True):
                layer.set_state(*state)
            raise


def _pair(name: str, state: Any) -> State:
    """Return the states h and c of an LSTM, or say that these are none."""
    try:
        h, c = state
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}: expected (h, c) of an LSTM, as get_state returns them, got "
            f"{type(state).__name__}"
        ) from None
    return h, c
