"""The book's ``common/util.py``: `nnext.util`, with `np` and what else the book imports there."""

import os
import sys

from nnext.book.np import GPU, np
from nnext.util import (
    analogy,
    clip_grads,
    convert_one_hot,
    cos_similarity,
    create_co_matrix,
    create_contexts_target,
    eval_perplexity,
    eval_seq2seq,
    most_similar,
    normalize,
    ppmi,
    preprocess,
    to_cpu,
    to_gpu,
)

__all__ = [
    "GPU",
    "analogy",
    "clip_grads",
    "convert_one_hot",
    "cos_similarity",
    "create_co_matrix",
    "create_contexts_target",
    "eval_perplexity",
    "eval_seq2seq",
    "most_similar",
    "normalize",
    "np",
    "os",
    "ppmi",
    "preprocess",
    "sys",
    "to_cpu",
    "to_gpu",
]
