"""The book's ``common/config.py``: where to compute."""

__all__ = ["GPU"]

GPU: bool = False
"""Whether to compute on a GPU, which nnext does not: a program that sets it to True is told so."""
