"""The book's ``common/base_model.py``: what its models derive from, and what it imports."""

import os
import pickle
import sys

from nnext.base_model import BaseModel
from nnext.book.np import GPU, np
from nnext.book.util import to_cpu, to_gpu

__all__ = ["GPU", "BaseModel", "np", "os", "pickle", "sys", "to_cpu", "to_gpu"]
