"""The command line: ``python -m nnext demo``, ``config``, ``info``, ``--version``."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

import nnext
from nnext import _info, demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    The exit code is 2 if it cannot be carried out as it was given, 1 if the output is not taken.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:  # it is under pythonw
                sys.stdout.flush()  # so that what goes wrong goes wrong here, not at the exit
    except demo.UsageError as error:
        print(f"python -m nnext demo: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("python -m nnext demo: not enough memory for this model and data", file=sys.stderr)
        return 2
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # a reader such as head has just seen enough
            print(f"python -m nnext: cannot print: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nnext",
        description="The learning method of neural networks on a C++ core.",
    )
    parser.add_argument("--version", action="version", version=f"nnext {nnext.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo.add_arguments(
        commands.add_parser(
            "demo",
            help="train a network and look at what it learned",
            description="Train a network on real data and look at what it learned.",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
    )
    commands.add_parser("config", help="show how nnext was built and what it uses here")
    commands.add_parser("info", help="show what a bug report needs: config, Python, NumPy, CPU")
    options = parser.parse_args(arguments)
    if options.command == "config":
        nnext.show_config()
    elif options.command == "info":
        _info.run()
    else:
        demo.run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
