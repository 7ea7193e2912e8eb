"""Run a program of the book as it is: ``python -m nnext.book PROGRAM [ARGUMENT ...]``."""

import sys

from nnext.book._program import MODULES, read, run

USAGE = "usage: python -m nnext.book PROGRAM [ARGUMENT ...]"
HELP = f"""{USAGE}

Run a program of "Deep Learning from Scratch 2" as it is, such as

    cd ch06
    python -m nnext.book train_rnnlm.py

What it imports of the book's package common (common.layers and so on) is nnext's; there is
{", ".join(MODULES)}.
Everything else (dataset, the chapter's own modules, the folder, the arguments) is as with
python PROGRAM, but that numpy.int is there, which data sets of older copies of the book name."""


def main() -> int:
    """Run the program that the command line names; return 2 if there is none."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0
    if not arguments or arguments[0].startswith("-"):
        what = f"no option {arguments[0]!r}" if arguments else "which program?"
        print(f"{USAGE}\npython -m nnext.book: {what}", file=sys.stderr)
        return 2
    path = arguments[0]
    try:
        source = read(path)
    except OSError as error:
        print(
            f"{USAGE}\npython -m nnext.book: cannot read {path!r}: {error.strerror}",
            file=sys.stderr,
        )
        return 2
    run(source, path, arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
