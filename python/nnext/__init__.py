"""nnext: the layers of neural-network learning on a fast, reproducible C++ core.

The functions, layers, optimizers, models and the trainer of the method of "Deep Learning from
Scratch 2", through NumPy arrays. The common names are here; each module says more about its own:

===================  ==========================================================
`functions`          matrix product, softmax, cross entropy, element by element
`layers`             forward and backward pairs with ``params`` and ``grads``
`loss_layers`        the layers that end a network in a loss
`time_layers`        layers of sequences: recurrent ones, and what stands around them
`attention`          what a decoder takes of an encoder's states
`negative_sampling`  the loss of a large vocabulary from a few of its words
`init`               layers with weights drawn at random: `affine` (Linear, Dense)
`nodes`              the nodes of a computational graph
`optimizer`          SGD to AdamW
`schedules`          learning rates that change step by step
`base_model`         what models have in common
`models`             chains of layers, models of words, of language, of sequences
`saving`             models in files
`model_files`        parameters alone, in NumPy's files
`checkpoints`        runs of training in files, to go on with
`torch_weights`      PyTorch's weights
`onnx`               models for other programs to compute with
`step`               one step of training, for a loop of your own
`trainer`            batches, epochs, validation, progress
`callbacks`          what else happens in training: early stopping and the like
`history`            what happened in training
`plotting`           pictures of it (needs matplotlib)
`util`               corpora, counts of words, which are alike
`datasets`           spiral, digits, MNIST
`sklearn`            scikit-learn's estimators on the core (needs scikit-learn)
`gradient_check`     gradients against central differences
`book`               the book's programs run as they are, to the book's numbers
`config`             threads, memory, how nnext was built
===================  ==========================================================
"""

from typing import TYPE_CHECKING

from nnext import _threadpoolctl, datasets, nodes
from nnext._layer import no_attribute
from nnext._nnext import EmptyBatchError, __version__
from nnext.base_model import BaseModel
from nnext.config import (
    empty_cache,
    get_num_threads,
    get_score_budget,
    register_threadpoolctl,
    set_num_threads,
    set_score_budget,
    show_config,
)
from nnext.functions import (
    cross_entropy_error,
    exp,
    gelu,
    leaky_relu,
    log,
    matmul,
    relu,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from nnext.gradient_check import check_gradients, numerical_gradient
from nnext.history import History
from nnext.init import affine, batch_norm, layer_norm
from nnext.layers import (
    GELU,
    AbsoluteError,
    Affine,
    AffineSoftmaxWithLoss,
    BatchNorm,
    Dropout,
    Embedding,
    Flatten,
    HuberLoss,
    LayerNorm,
    LeakyReLU,
    MatMul,
    PoissonLoss,
    ReLU,
    Sigmoid,
    SigmoidWithLoss,
    SiLU,
    Softmax,
    SoftmaxWithLoss,
    SquaredError,
    Tanh,
)
from nnext.models import Sequential, TwoLayerNet
from nnext.optimizer import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSprop
from nnext.saving import load_model, register_layer, register_model
from nnext.step import Step
from nnext.trainer import Trainer

__all__ = [
    "GELU",
    "SGD",
    "AbsoluteError",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Affine",
    "AffineSoftmaxWithLoss",
    "BaseModel",
    "BatchNorm",
    "Dropout",
    "Embedding",
    "EmptyBatchError",
    "Flatten",
    "History",
    "HuberLoss",
    "LayerNorm",
    "LeakyReLU",
    "MatMul",
    "Momentum",
    "Nesterov",
    "PoissonLoss",
    "RMSprop",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidWithLoss",
    "Softmax",
    "SoftmaxWithLoss",
    "SquaredError",
    "Step",
    "Tanh",
    "Trainer",
    "TwoLayerNet",
    "__version__",
    "affine",
    "batch_norm",
    "check_gradients",
    "cross_entropy_error",
    "datasets",
    "empty_cache",
    "exp",
    "gelu",
    "get_num_threads",
    "get_score_budget",
    "layer_norm",
    "leaky_relu",
    "load_model",
    "log",
    "matmul",
    "nodes",
    "numerical_gradient",
    "register_layer",
    "register_model",
    "register_threadpoolctl",
    "relu",
    "set_num_threads",
    "set_score_budget",
    "show_config",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]

_threadpoolctl.register_if_loaded()

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        raise no_attribute(__name__, name)
