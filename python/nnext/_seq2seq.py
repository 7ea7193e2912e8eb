"""The book's models from sequence to sequence: an encoder reads, and a decoder writes."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nnext._drawn_layers import Rng, sizes_of
from nnext._encoders_decoders import (
    AttentionDecoder,
    AttentionEncoder,
    Decoder,
    Encoder,
    PeekyDecoder,
)
from nnext._fit_data import Samples
from nnext._support import Array, given_source, naming
from nnext._text import read_ids
from nnext.base_model import BaseModel
from nnext.time_layers import TimeSoftmaxWithLoss


class Seq2seq(BaseModel):
    """The book's model from sequence to sequence: an `Encoder` and a `Decoder` (ch. 7.3).

    It is trained with the right answer as the decoder's input, and writes with what it wrote itself
    (`generate`). ``scores``, ``predict`` and ``accuracy`` of other models, which answer of `x`
    alone, it has not.

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
        How many characters (or words) there are, how many numbers a character's vector has, and the
        LSTMs' states.
    seed : int, optional
        Of the weights, the encoder's first: with ``numpy.random.seed(s)`` in the book's program and
        ``seed=s`` here they are the book's, rounded to `dtype`. Left out, they are drawn from
        ``numpy.random``.
    rng : RandomState or Generator, optional
        Draw the weights from this, in place of `seed`.
    dtype : dtype
        Of the parameters.

    Attributes
    ----------
    encoder : Encoder
    decoder : Decoder
    softmax : TimeSoftmaxWithLoss
        The ``loss_layer``, by the book's name.

    Raises
    ------
    ValueError, TypeError
        As `Encoder`.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 7; Sutskever, Vinyals and Le, "Sequence to Sequence
    Learning with Neural Networks", NeurIPS 2014.
    """

    _encoder: ClassVar[type[Encoder]] = Encoder
    _decoder: ClassVar[type[Decoder]] = Decoder

    encoder: Encoder
    decoder: Decoder

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
        rng = given_source(seed, rng)
        sizes = vocab_size, wordvec_size, hidden_size
        self.encoder = self._encoder(*sizes, rng=rng, dtype=dtype)
        self.decoder = self._decoder(*sizes, rng=rng, dtype=dtype)
        self.softmax: TimeSoftmaxWithLoss = TimeSoftmaxWithLoss()
        super().__init__([self.encoder, self.decoder], self.softmax)

    def loss_input(self, x: ArrayLike) -> NoReturn:
        """Raise a NotImplementedError: there are no scores without an answer that they are of."""
        raise NotImplementedError(
            f"x: {type(self).__name__} scores answers, not inputs alone: forward(xs, ts) is the "
            "loss of answers, generate(xs, start_id, sample_size) writes one"
        )

    def forward(self, xs: ArrayLike, ts: ArrayLike) -> float:
        """Compute the mean loss of all characters of the answers.

        Parameters
        ----------
        xs : array_like of int, shape (N, T)
            What is read.
        ts : array_like of int, shape (N, T' + 1)
            The answers, behind the character of the beginning.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If shapes do not fit, or a sequence has no step; an `nnext.EmptyBatchError` if no
            character counts.
        TypeError
            If ids are no whole numbers.
        IndexError
            If an id is none of the model's. Nothing has been computed in these cases.
        """
        scores, labels = self._scores_and_labels(xs, ts)
        with naming(x="scores", t="ts"):
            return self.softmax.forward(scores, labels)

    def _scores_and_labels(self, xs: Any, ts: Any) -> tuple[Array, Array]:
        """Return the scores and what they are of; all is checked before anything is computed."""
        questions, answers = self._read(xs, ts)
        scores = self.decoder.forward(answers[:, :-1], self.encoder.forward(questions))
        return scores, answers[:, 1:]

    def _read(self, xs: Any, ts: Any) -> tuple[Array, Array]:
        size = len(self.params[0])
        questions = read_ids("xs", xs, size, ("NT",))
        answers = read_ids("ts", ts, size, ("NT",), ignored=self.softmax.ignore_label)
        if not questions.shape[1]:
            raise ValueError(f"xs: expected ids (N, T), T at least 1, got shape {questions.shape}")
        if answers.shape[1] < 2:
            raise ValueError(
                "ts: expected ids (N, T), T at least 2 for the beginning and what follows, got "
                f"shape {answers.shape}"
            )
        if len(answers) != len(questions):
            raise ValueError(
                f"ts: expected an answer for each row of xs {questions.shape}, got shape "
                f"{answers.shape}"
            )
        read_ids("ts", answers[:, :-1], size, ("NT",))  # the decoder reads them: none is ignored
        return questions, answers

    def _check_samples(self, x: Any, t: Any) -> None:
        with naming(xs="x", ts="t"):
            self._read(x, t)

    def _evaluate(self, batch: Samples) -> tuple[Any, float]:
        with naming(xs="x", ts="t"):
            scores, labels = self._scores_and_labels(batch.x, batch.t)
        return self.softmax.evaluate(scores, labels)

    def backward(self, dout: float = 1) -> None:
        """Write the gradients of the last `forward` into ``grads``."""
        self.encoder.backward(self.decoder.backward(self.softmax.backward(dout)))

    def generate(self, xs: ArrayLike, start_id: int, sample_size: int) -> list[int]:
        """Write the answer to one sequence, each character that with the highest score.

        Parameters
        ----------
        xs : array_like of int, shape (1, T)
            What is read.
        start_id : int
            The character of the beginning, which the result does not have.
        sample_size : int
            How many characters to write.

        Returns
        -------
        list of int

        Raises
        ------
        ValueError
            If `xs` is not one sequence, or `sample_size` no whole number of at least 1.
        IndexError
            If an id is none of the model's.
        """
        ids = read_ids("xs", xs, len(self.params[0]), ("NT",))
        if len(ids) != 1:
            raise ValueError(f"xs: expected ids of one sequence, (1, T), got shape {ids.shape}")
        return self.decoder.generate(self.encoder.forward(ids), start_id, sample_size)

    def config(self) -> dict[str, Any]:
        """Return the sizes and the type, which make such a model."""
        table, _, Wh = self.params[:3]
        return sizes_of(table, Wh)


class PeekySeq2seq(Seq2seq):
    """A `Seq2seq` whose decoder sees the encoder's state at every step, `PeekyDecoder` (ch. 7.4).

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
    seed : int, optional
    rng : RandomState or Generator, optional
    dtype : dtype
        As in `Seq2seq`.

    Attributes
    ----------
    encoder : Encoder
    decoder : PeekyDecoder
    softmax : TimeSoftmaxWithLoss
        The ``loss_layer``, by the book's name.

    Raises
    ------
    ValueError, TypeError
        As `Encoder`.
    """

    _decoder = PeekyDecoder

    decoder: PeekyDecoder


class AttentionSeq2seq(Seq2seq):
    """A `Seq2seq` with attention: an `AttentionEncoder` and an `AttentionDecoder` (ch. 8.2).

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
    seed : int, optional
    rng : RandomState or Generator, optional
    dtype : dtype
        As in `Seq2seq`.

    Attributes
    ----------
    encoder : AttentionEncoder
    decoder : AttentionDecoder
    softmax : TimeSoftmaxWithLoss
        The ``loss_layer``, by the book's name.

    Raises
    ------
    ValueError, TypeError
        As `Encoder`.
    """

    _encoder = AttentionEncoder
    _decoder = AttentionDecoder

    encoder: AttentionEncoder
    decoder: AttentionDecoder
