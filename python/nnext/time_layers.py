"""The layers of sequences: recurrent ones, and what stands around them.

The names of the book's ``common/time_layers.py``. Input comes as N sequences of T steps of D
numbers, (N, T, D), or as ids of words, (N, T); the contract of a layer is that of `nnext.layers`.
``backward`` of a recurrent layer goes back to the beginning of its input and no further: with
``stateful=True`` that is the truncated backpropagation through time of chapter 5.
"""

from __future__ import annotations

# The book's module hands on what its own star imports brought: NumPy, the layers without time and
# two functions. Its programs rely on that, and call np.random.randn with nothing else imported.
import numpy as np

from nnext._bidirectional import TimeBiLSTM
from nnext._recurrent import TimeGRU, TimeLSTM, TimeRNN
from nnext._recurrent_steps import GRU, LSTM, RNN
from nnext._time_wrappers import (
    Simple_TimeAffine,
    Simple_TimeSoftmaxWithLoss,
    TimeAffine,
    TimeDropout,
    TimeEmbedding,
    TimeSigmoidWithLoss,
    TimeSoftmaxWithLoss,
)
from nnext.functions import cross_entropy_error, sigmoid, softmax
from nnext.layers import (
    Affine,
    Dropout,
    Embedding,
    MatMul,
    Sigmoid,
    SigmoidWithLoss,
    Softmax,
    SoftmaxWithLoss,
)

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Affine",
    "Dropout",
    "Embedding",
    "MatMul",
    "Sigmoid",
    "SigmoidWithLoss",
    "Simple_TimeAffine",
    "Simple_TimeSoftmaxWithLoss",
    "Softmax",
    "SoftmaxWithLoss",
    "TimeAffine",
    "TimeBiLSTM",
    "TimeDropout",
    "TimeEmbedding",
    "TimeGRU",
    "TimeLSTM",
    "TimeRNN",
    "TimeSigmoidWithLoss",
    "TimeSoftmaxWithLoss",
    "cross_entropy_error",
    "np",
    "sigmoid",
    "softmax",
]
