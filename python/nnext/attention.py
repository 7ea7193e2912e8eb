"""Attention: a decoder looks at all states of an encoder, by weights that it learns to set.

The layers of the book's ``ch08/attention_layer.py``. `Attention` is one step of a decoder, made of
`AttentionWeight` (how well does each state fit the decoder's?) and `WeightSum` (the mean of the
states by these weights); `TimeAttention` does all steps of a decoder at once.

Shapes are written with N for the batch, T for the encoder's steps, H for the numbers of a state.
Floats are computed in their own type, integers and booleans as float64. An array of another shape
than told is a ``ValueError``, one of a type that cannot be used a ``TypeError``; ``backward``
before ``forward`` is a ``RuntimeError``.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, as_floats, as_shaped, before_forward
from nnext._support import Array
from nnext.functions import matmul, softmax
from nnext.layers import Softmax

__all__ = ["Attention", "AttentionWeight", "TimeAttention", "WeightSum"]


class WeightSum(Layer):
    """The sum of an encoder's states by weights: ``c[n] = Σ_t a[n, t] hs[n, t]``.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 8.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self._inputs: tuple[Array, Array] | None = None

    def forward(self, hs: ArrayLike, a: ArrayLike) -> Array:
        """Return the sums.

        Parameters
        ----------
        hs : array_like, shape (N, T, H)
            The encoder's states.
        a : array_like, shape (N, T)
            Their weights.

        Returns
        -------
        ndarray, shape (N, H)
        """
        states = _states("hs", hs)
        weights = as_shaped("a", a, states.shape[:2], "a weight for each state")
        c: Array = matmul(weights[:, None], states)[:, 0]
        self._inputs = states, weights
        return c

    def backward(self, dc: ArrayLike) -> tuple[Array, Array]:
        """Return the gradients by the two inputs.

        Parameters
        ----------
        dc : array_like, shape (N, H)
            Gradient by the output.

        Returns
        -------
        dhs : ndarray, shape (N, T, H)
        da : ndarray, shape (N, T)
        """
        if self._inputs is None:
            raise before_forward(self)
        states, weights = self._inputs
        d = as_shaped("dc", dc, (len(states), states.shape[2]), "that of the output")
        return matmul(weights[:, :, None], d[:, None]), matmul(states, d[:, :, None])[:, :, 0]


class AttentionWeight(Layer):
    """The weights of an encoder's states for a decoder's: softmax over t of ``hs[n, t] · h[n]``.

    Attributes
    ----------
    softmax : Softmax
        The layer at the end.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 8.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.softmax = Softmax()
        self._inputs: tuple[Array, Array] | None = None

    def forward(self, hs: ArrayLike, h: ArrayLike) -> Array:
        """Return the weights, of each sequence 1 in all.

        Parameters
        ----------
        hs : array_like, shape (N, T, H)
            The encoder's states.
        h : array_like, shape (N, H)
            The decoder's state.

        Returns
        -------
        ndarray, shape (N, T)
        """
        states = _states("hs", hs)
        state = as_shaped("h", h, (len(states), states.shape[2]), "a state like those of hs")
        a = self.softmax.forward(matmul(states, state[:, :, None])[:, :, 0])
        self._inputs = states, state
        return a

    def backward(self, da: ArrayLike) -> tuple[Array, Array]:
        """Return the gradients by the two inputs.

        Parameters
        ----------
        da : array_like, shape (N, T)
            Gradient by the weights.

        Returns
        -------
        dhs : ndarray, shape (N, T, H)
        dh : ndarray, shape (N, H)
        """
        if self._inputs is None:
            raise before_forward(self)
        states, state = self._inputs
        d = as_shaped("da", da, states.shape[:2], "that of the output")
        ds = self.softmax.backward(d)
        return matmul(ds[:, :, None], state[:, None]), matmul(ds[:, None], states)[:, 0]


class Attention(Layer):
    """What one step of a decoder takes of an encoder's states: `AttentionWeight`, `WeightSum`.

    Attributes
    ----------
    attention_weight : ndarray, shape (N, T), or None
        The weights of the last ``forward``.
    attention_weight_layer : AttentionWeight
    weight_sum_layer : WeightSum

    References
    ----------
    "Deep Learning from Scratch 2", chapter 8.1; Bahdanau, Cho and Bengio, "Neural Machine
    Translation by Jointly Learning to Align and Translate", ICLR 2015.
    """

    def __init__(self) -> None:
        super().__init__()
        self.attention_weight_layer = AttentionWeight()
        self.weight_sum_layer = WeightSum()
        self.attention_weight: Array | None = None

    def forward(self, hs: ArrayLike, h: ArrayLike) -> Array:
        """Return the context of a decoder's state.

        Parameters
        ----------
        hs : array_like, shape (N, T, H)
            The encoder's states.
        h : array_like, shape (N, H)
            The decoder's state.

        Returns
        -------
        ndarray, shape (N, H)
        """
        a = self.attention_weight_layer.forward(hs, h)
        c = self.weight_sum_layer.forward(hs, a)
        self.attention_weight = a
        return c

    def backward(self, dout: ArrayLike) -> tuple[Array, Array]:
        """Return the gradients by the two inputs.

        Parameters
        ----------
        dout : array_like, shape (N, H)
            Gradient by the context.

        Returns
        -------
        dhs : ndarray, shape (N, T, H)
        dh : ndarray, shape (N, H)
        """
        if self.attention_weight is None:
            raise before_forward(self)
        dhs, da = self.weight_sum_layer.backward(dout)
        more, dh = self.attention_weight_layer.backward(da)
        return dhs + more, dh


class TimeAttention(Layer):
    """`Attention` for all steps of a decoder at once: three products, and a softmax.

    ``A = softmax(D Eᵀ)`` and ``C = A E`` for each sequence, E (T, H) the encoder's states and D
    (T', H) the decoder's. The book goes through the steps one by one.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 8.1; Luong, Pham and Manning, "Effective Approaches to
    Attention-based Neural Machine Translation", EMNLP 2015 (scores by the dot product).
    """

    def __init__(self) -> None:
        super().__init__()
        self._inputs: tuple[Array, Array] | None = None
        self._weights: Array | None = None

    @property
    def attention_weights(self) -> list[Array] | None:
        """The weights of the last ``forward``: for each step of the decoder an array (N, T)."""
        if self._weights is None:
            return None
        return [self._weights[:, t] for t in range(self._weights.shape[1])]

    def forward(self, hs_enc: ArrayLike, hs_dec: ArrayLike) -> Array:
        """Return the context of each step of the decoder.

        Parameters
        ----------
        hs_enc : array_like, shape (N, T, H)
            The encoder's states.
        hs_dec : array_like, shape (N, T', H)
            The decoder's states.

        Returns
        -------
        ndarray, shape (N, T', H)
        """
        enc, dec = _states("hs_enc", hs_enc), _states("hs_dec", hs_dec)
        if dec.shape[::2] != enc.shape[::2]:
            raise ValueError(
                f"hs_dec: expected shape ({enc.shape[0]}, T', {enc.shape[2]}), states like those "
                f"of hs_enc {enc.shape}, got shape {dec.shape}"
            )
        weights = softmax(matmul(dec, enc.transpose(0, 2, 1)))
        c: Array = matmul(weights, enc)
        self._inputs, self._weights = (enc, dec), weights
        return c

    def backward(self, dout: ArrayLike) -> tuple[Array, Array]:
        """Return the gradients by the two inputs.

        Parameters
        ----------
        dout : array_like, shape (N, T', H)
            Gradient by the contexts.

        Returns
        -------
        dhs_enc : ndarray, shape (N, T, H)
        dhs_dec : ndarray, shape (N, T', H)
        """
        if self._inputs is None or self._weights is None:
            raise before_forward(self)
        (enc, dec), weights = self._inputs, self._weights
        d = as_shaped("dout", dout, dec.shape, "that of the output")
        ds = _nnext.softmax_backward(weights, matmul(d, enc.transpose(0, 2, 1)))
        dhs_enc: Array = matmul(weights.transpose(0, 2, 1), d)
        dhs_enc += matmul(ds.transpose(0, 2, 1), dec)
        return dhs_enc, matmul(ds, enc)


def _states(name: str, value: ArrayLike) -> Array:
    """Return states, (N, T, H), as an array of floats."""
    states = as_floats(name, value)
    if states.ndim != 3:
        raise ValueError(f"{name}: expected states of shape (N, T, H), got shape {states.shape}")
    return states
