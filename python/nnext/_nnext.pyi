"""Stubs of the compiled core; every function checks its arguments before it writes anything.

Arrays may be anything ``numpy.asarray`` takes, of any strides. float32 and float64 are computed as
they are, float16 and bfloat16 in float32 and rounded once, integers and booleans are cast to the
type of the parameter they meet (float64 where there is none). Results are new C-contiguous arrays.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Float = NDArray[np.floating[Any]]
_Index = NDArray[np.int64]

__distribution__: str  # the name that pip knows it by
__version__: str

# Configuration
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def config() -> dict[str, Any]: ...
def empty_cache() -> None: ...

# Matrix product
def matmul(
    a: ArrayLike, b: ArrayLike, out: NDArray[Any] | tuple[NDArray[Any]] | None = None
) -> Any: ...
def affine_forward(x: ArrayLike, W: _Float, b: _Float | None) -> _Float: ...
def affine_backward(
    x: ArrayLike,
    W: _Float,
    dout: ArrayLike,
    dW: _Float,
    db: _Float | None,
    input_grad: bool,
    accumulate: bool = False,
) -> _Float | None: ...

# Softmax and losses
class EmptyBatchError(ValueError): ...

class LossOptions:
    """The options of a softmax loss; `nnext.functions.linear_cross_entropy` explains them."""

    def __init__(
        self,
        *,
        reduction: str = "mean",
        ignore_label: int | None = None,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        z_loss: float = 0.0,
        softcap: float | None = None,
    ) -> None: ...
    @property
    def reduction(self) -> str: ...
    @property
    def ignore_label(self) -> int | None: ...
    @property
    def label_smoothing(self) -> float: ...
    @property
    def class_weight(self) -> NDArray[np.float64] | None: ...
    @property
    def z_loss(self) -> float: ...
    @property
    def softcap(self) -> float | None: ...
    def __copy__(self) -> LossOptions: ...
    def __deepcopy__(self, memo: Any, /) -> LossOptions: ...
    def __eq__(self, other: object, /) -> bool: ...

def softmax(x: ArrayLike) -> _Float: ...
def softmax_backward(y: ArrayLike, dout: ArrayLike) -> _Float: ...
def cross_entropy_error(y: ArrayLike, t: ArrayLike) -> float: ...
def softmax_loss_forward(
    x: ArrayLike,
    t: ArrayLike,
    options: LossOptions,
    sample_weight: ArrayLike | None,
    count: float | None = None,
) -> tuple[Any, float, _Float, NDArray[Any], NDArray[Any] | None, NDArray[np.float64] | None]: ...
def softmax_loss_backward(
    x: ArrayLike | None,
    y: ArrayLike,
    t: ArrayLike,
    options: LossOptions,
    sample_weight: ArrayLike | None,
    dout: float | ArrayLike,
    count: float | None = None,
) -> _Float: ...
def softmax_loss_count(
    x: ArrayLike,
    t: ArrayLike,
    options: LossOptions,
    sample_weight: ArrayLike | None,
    before: float = 0.0,
) -> float: ...
def softmax_probabilities(x: ArrayLike, options: LossOptions) -> _Float: ...
def softmax_predictions(x: ArrayLike, options: LossOptions) -> _Index: ...
def class_indices(t: ArrayLike, shape: Sequence[int], options: LossOptions) -> _Index: ...

# Recurrent layers: output, states in the type computed in, what is left for backward
def rnn_forward(
    xs: ArrayLike, Wx: ArrayLike, Wh: ArrayLike, b: ArrayLike | None, h: ArrayLike | None
) -> tuple[_Float, _Float, tuple[_Float, ...]]: ...
def rnn_backward(
    xs: ArrayLike,
    Wx: ArrayLike,
    Wh: ArrayLike,
    b: ArrayLike | None,
    left: tuple[ArrayLike, ...],
    dout: ArrayLike,
    dWx: _Float,
    dWh: _Float,
    db: _Float | None,
    input_grad: bool,
    accumulate: bool = False,
) -> tuple[Any, _Float]: ...
def lstm_forward(
    xs: ArrayLike,
    Wx: ArrayLike,
    Wh: ArrayLike,
    b: ArrayLike | None,
    h: ArrayLike | None,
    c: ArrayLike | None,
) -> tuple[_Float, _Float, tuple[_Float, ...]]: ...
def lstm_backward(
    xs: ArrayLike,
    Wx: ArrayLike,
    Wh: ArrayLike,
    b: ArrayLike | None,
    left: tuple[ArrayLike, ...],
    dout: ArrayLike,
    dc: ArrayLike | None,
    dWx: _Float,
    dWh: _Float,
    db: _Float | None,
    input_grad: bool,
    accumulate: bool = False,
) -> tuple[Any, _Float, _Float]: ...
def gru_forward(
    xs: ArrayLike,
    Wx: ArrayLike,
    Wh: ArrayLike,
    b: ArrayLike | None,
    h: ArrayLike | None,
    reset_after: bool,
) -> tuple[_Float, _Float, tuple[_Float, ...]]: ...
def gru_backward(
    xs: ArrayLike,
    Wx: ArrayLike,
    Wh: ArrayLike,
    b: ArrayLike | None,
    reset_after: bool,
    left: tuple[ArrayLike, ...],
    dout: ArrayLike,
    dWx: _Float,
    dWh: _Float,
    db: _Float | None,
    input_grad: bool,
    accumulate: bool = False,
) -> tuple[Any, _Float]: ...

# Layer norm and batch norm
def layer_norm_forward(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, eps: float
) -> tuple[_Float, _Float, _Float]: ...
def layer_norm_backward(
    x: ArrayLike,
    gamma: ArrayLike,
    dout: ArrayLike,
    mean: ArrayLike,
    rstd: ArrayLike,
    dgamma: _Float,
    dbeta: _Float,
    input_grad: bool,
) -> _Float | None: ...
def batch_norm_forward(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    running_mean: _Float,
    running_var: _Float,
    momentum: float,
    eps: float,
) -> tuple[_Float, _Float, _Float]: ...
def batch_norm_inference(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    eps: float,
) -> tuple[_Float, _Float, _Float]: ...
def batch_norm_backward(
    x: ArrayLike,
    gamma: ArrayLike,
    dout: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
    of_batch: bool,
    dgamma: _Float,
    dbeta: _Float,
    input_grad: bool,
) -> _Float | None: ...

# Losses of single scores
def element_loss_forward(
    x: ArrayLike,
    t: ArrayLike,
    kind: str,
    reduction: str,
    delta: float | None,
    pos_weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    count: float | None = None,
) -> tuple[Any, float, _Float, _Float, NDArray[np.float64] | None, np.dtype[Any] | None]: ...
def element_loss_backward(
    y: _Float,
    t: _Float,
    kind: str,
    reduction: str,
    delta: float | None,
    pos_weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    half: np.dtype[Any] | None,
    dout: float | ArrayLike,
    count: float | None = None,
) -> _Float: ...
def element_loss_count(
    x: ArrayLike,
    t: ArrayLike,
    kind: str,
    reduction: str,
    sample_weight: ArrayLike | None,
    before: float = 0.0,
) -> float: ...
def binary_labels(t: ArrayLike, shape: Sequence[int]) -> NDArray[np.float64]: ...

# A linear layer and its softmax loss in one
def linear_cross_entropy(
    x: ArrayLike,
    W: ArrayLike,
    t: ArrayLike,
    b: ArrayLike | None,
    options: LossOptions,
    sample_weight: ArrayLike | None,
    count: float | None = None,
) -> tuple[Any, float]: ...
def linear_cross_entropy_with_grad(
    x: ArrayLike,
    W: ArrayLike,
    t: ArrayLike,
    b: ArrayLike | None,
    options: LossOptions,
    sample_weight: ArrayLike | None,
    dout: float | ArrayLike,
    dx: _Float | None,
    dW: _Float | None,
    db: _Float | None,
    input_grad: bool,
    count: float | None = None,
    accumulate: bool = False,
) -> tuple[Any, float, Any, _Float, Any]: ...
def linear_scores(
    x: ArrayLike, W: ArrayLike, b: ArrayLike | None, options: LossOptions
) -> _Float: ...
def linear_probabilities(
    x: ArrayLike, W: ArrayLike, b: ArrayLike | None, options: LossOptions
) -> _Float: ...
def linear_top_k(
    x: ArrayLike, W: ArrayLike, b: ArrayLike | None, k: int, options: LossOptions
) -> tuple[_Index, _Float]: ...
def set_score_budget(nbytes: int) -> None: ...
def get_score_budget() -> int: ...
def plan(a: object, b: object, out: object) -> dict[str, Any]: ...
def wish_plan(**kwargs: object) -> None: ...

# Element by element
def exp(x: ArrayLike) -> _Float: ...
def log(x: ArrayLike) -> _Float: ...
def sigmoid(x: ArrayLike) -> _Float: ...
def tanh(x: ArrayLike) -> _Float: ...
def relu(x: ArrayLike) -> _Float: ...
def silu(x: ArrayLike) -> _Float: ...
def gelu(x: ArrayLike) -> _Float: ...
def gelu_tanh(x: ArrayLike) -> _Float: ...
def leaky_relu(x: ArrayLike, negative_slope: float) -> _Float: ...
def sigmoid_backward(y: ArrayLike, dout: ArrayLike) -> _Float: ...
def tanh_backward(y: ArrayLike, dout: ArrayLike) -> _Float: ...
def relu_backward(y: ArrayLike, dout: ArrayLike) -> _Float: ...
def silu_backward(x: ArrayLike, dout: ArrayLike) -> _Float: ...
def gelu_backward(x: ArrayLike, dout: ArrayLike) -> _Float: ...
def gelu_tanh_backward(x: ArrayLike, dout: ArrayLike) -> _Float: ...
def leaky_relu_backward(y: ArrayLike, dout: ArrayLike, negative_slope: float) -> _Float: ...
def dropout_forward(
    x: ArrayLike, ratio: float, seed: int, offset: int
) -> tuple[_Float, NDArray[np.bool_]]: ...
def dropout_backward(dout: ArrayLike, mask: NDArray[np.bool_], ratio: float) -> _Float: ...

# Rows of a table, sums
def embedding_forward(W: _Float, idx: ArrayLike) -> _Float: ...
def embedding_backward(
    dout: ArrayLike, idx: ArrayLike, dW: _Float, accumulate: bool = False
) -> None: ...
def embedding_dot_forward(h: ArrayLike, W: _Float, idx: ArrayLike) -> _Float: ...
def embedding_dot_backward(
    dout: ArrayLike,
    h: ArrayLike,
    W: _Float,
    idx: ArrayLike,
    dW: _Float,
    accumulate: bool = False,
) -> _Float: ...
def negative_sampling_forward(
    h: ArrayLike, W: _Float, target: ArrayLike, negative: ArrayLike
) -> tuple[float, _Float, NDArray[np.int64]]: ...
def negative_sampling_backward(
    y: ArrayLike,
    h: ArrayLike,
    W: _Float,
    idx: ArrayLike,
    targets: int,
    dW: _Float,
    dout: float,
    accumulate: bool = False,
) -> _Float: ...
def sum(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Any: ...

# Optimizers: every array of every list is checked, then all are updated in place. A number may be a
# list, of one for each parameter. p is multiplied by 1 - decay first.
_Numbers = float | Sequence[float]

def sgd_update(
    params: Sequence[_Float], grads: Sequence[_Float], lr: _Numbers, decay: _Numbers = 0.0
) -> None: ...
def momentum_update(
    params: Sequence[_Float],
    grads: Sequence[_Float],
    v: Sequence[_Float],
    lr: _Numbers,
    momentum: _Numbers,
    decay: _Numbers = 0.0,
) -> None: ...
def nesterov_update(
    params: Sequence[_Float],
    grads: Sequence[_Float],
    v: Sequence[_Float],
    lr: _Numbers,
    momentum: _Numbers,
    decay: _Numbers = 0.0,
) -> None: ...
def book_nesterov_update(
    params: Sequence[_Float],
    grads: Sequence[_Float],
    v: Sequence[_Float],
    lr: _Numbers,
    momentum: _Numbers,
    decay: _Numbers = 0.0,
) -> None: ...
def adagrad_update(
    params: Sequence[_Float],
    grads: Sequence[_Float],
    h: Sequence[_Float],
    lr: _Numbers,
    eps: _Numbers,
    decay: _Numbers = 0.0,
) -> None: ...
def rmsprop_update(
    params: Sequence[_Float],
    grads: Sequence[_Float],
    h: Sequence[_Float],
    lr: _Numbers,
    decay_rate: _Numbers,
    eps: _Numbers,
    decay: _Numbers = 0.0,
) -> None: ...
def adam_update(
    params: Sequence[_Float],
    grads: Sequence[_Float],
    m: Sequence[_Float],
    v: Sequence[_Float],
    step_size: _Numbers,
    beta1: _Numbers,
    beta2: _Numbers,
    eps: _Numbers,
    v_scale: _Numbers,
    decay: _Numbers = 0.0,
) -> None: ...
def clip_grads(grads: Sequence[_Float], max_norm: float) -> float: ...
