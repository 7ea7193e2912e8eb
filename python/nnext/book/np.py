"""The book's ``common/np.py``: NumPy under the name `np`, for ``from common.np import *``."""

import numpy as np

from nnext.book.config import GPU

__all__ = ["GPU", "np"]

if GPU:
    raise ImportError(
        "common.config.GPU: nnext computes on the CPU; leave it False (no line of the program "
        "needs CuPy then)"
    )
