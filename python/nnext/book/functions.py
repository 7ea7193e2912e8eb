"""The book's ``common/functions.py``: four functions of `nnext.functions`."""

from nnext.book.np import GPU, np
from nnext.functions import cross_entropy_error, relu, sigmoid, softmax

__all__ = ["GPU", "cross_entropy_error", "np", "relu", "sigmoid", "softmax"]
