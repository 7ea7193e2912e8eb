"""What multiprocessing runs in a new process in place of a program of the book (`_program`)."""

from nnext.book._program import run_again

if __name__ == "__mp_main__":
    globals().update(run_again())
