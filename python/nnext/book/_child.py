"""What multiprocessing runs in a new process in place of a program of the book (`_program`)."""

from nnext.book._program import run_again

globals().update(run_again())
