"""The command line: ``python -m nnext demo``, ``config``, ``--version``."""

import argparse
import os
import sys
from collections.abc import Sequence

import nnext
from nnext import demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 2 if it cannot be carried out as it was given."""
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
    options = parser.parse_args(arguments)
    if options.command == "config":
        nnext.show_config()
        return 0
    try:
        demo.run(options)
    except demo.UsageError as error:
        print(f"python -m nnext demo: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("python -m nnext demo: not enough memory for this model and data", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
