"""The demo: ``python -m nnext demo`` trains a network on real data and shows what it learned."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nnext import _nnext, _progress, datasets, plotting
from nnext._support import Array, random_state
from nnext.config import threads_in_words
from nnext.layers import ReLU
from nnext.models import Sequential, affine
from nnext.optimizer import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSprop
from nnext.trainer import Trainer

# With learning rates that suit all three data sets, at the default batch size.
_OPTIMIZERS: dict[str, tuple[Callable[..., Any], float]] = {
    "sgd": (SGD, 0.1),
    "momentum": (Momentum, 0.02),
    "nesterov": (Nesterov, 0.02),
    "adagrad": (AdaGrad, 0.02),
    "rmsprop": (RMSprop, 0.001),
    "adam": (Adam, 0.002),
    "adamw": (AdamW, 0.002),
}


class UsageError(Exception):
    """Something that the user can put right; the message says what and how."""


@dataclass
class _Data:
    """What is trained on, and how long it takes by default."""

    about: str
    x_train: Array
    t_train: Array
    x_test: Array
    t_test: Array
    epochs: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the demo's options."""
    add = parser.add_argument
    add("--data", choices=["digits", "spiral", "mnist"], default="digits", help="what to learn")
    add(
        "--path",
        type=Path,
        metavar="DIR",
        help="the folder with MNIST's IDX files, for --data mnist",
        default=argparse.SUPPRESS,
    )
    add(
        "--hidden",
        type=_at_least(1),
        nargs="+",
        metavar="N",
        default=[100],
        help="sizes of the hidden layers",
    )
    add(
        "--epochs",
        type=_at_least(1),
        metavar="N",
        help="how often to go through the data (default: digits 30, spiral 200, mnist 10)",
        default=argparse.SUPPRESS,
    )
    add("--batch-size", type=_at_least(1), default=32, metavar="N", help="samples in a step")
    add("--optimizer", choices=list(_OPTIMIZERS), default="adam", help="how to step")
    add(
        "--lr",
        type=_positive,
        metavar="RATE",
        help="learning rate (default: one that suits the optimizer)",
        default=argparse.SUPPRESS,
    )
    add(
        "--threads",
        type=_at_least(1, 1024),
        metavar="N",
        help="threads of the core (default: all that the process may use)",
        default=argparse.SUPPRESS,
    )
    add(
        "--seed", type=_at_least(0, 2**32 - 1), default=1, metavar="N", help="of all that is random"
    )
    add("--out", type=Path, default=Path("."), metavar="DIR", help="where to put the pictures")


def run(options: argparse.Namespace) -> None:
    """Train, report, draw.

    Raises
    ------
    UsageError
        If it cannot be done as asked.
    """
    data = _load(options)
    if "threads" in options:
        _nnext.set_num_threads(options.threads)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {options.out}: {error.strerror}") from None

    config = _nnext.config()
    print(f"nnext {_nnext.__version__} ({config['isa']}, threads: {threads_in_words()})\n")
    print(f"Data: {data.about}")
    print(f"      {len(data.x_train):,} to train on, {len(data.x_test):,} held out to test\n")

    try:
        model = _build(data, options)
    except ValueError:  # NumPy's, for sizes beyond those that an array can have
        raise MemoryError from None
    print(model.summary(), end="\n\n")
    make_optimizer, rate = _OPTIMIZERS[options.optimizer]
    rate = options.lr if "lr" in options else rate
    epochs = options.epochs if "epochs" in options else data.epochs
    print(
        f"Training: {epochs} epochs, {options.optimizer}, learning rate {rate:g}, "
        f"batches of {options.batch_size}"
    )
    try:
        trainer = _train(model, make_optimizer(lr=rate), data, epochs, options)
        proba = model.predict_proba(data.x_test)
        if not np.isfinite(proba).all():  # the last step may have gone too far
            raise FloatingPointError("the probabilities are nan after the last step")
    except FloatingPointError as error:
        what = str(error).partition(":")[0]
        raise UsageError(f"training failed: {what}; try an --lr below {rate:g}") from None
    _report(trainer, proba, data)
    _draw(trainer, model, data, options)


def _load(options: argparse.Namespace) -> _Data:
    if "path" in options and options.data != "mnist":
        raise UsageError("--path goes with --data mnist")
    try:
        if options.data == "spiral":
            x, t = datasets.spiral()
            x_train, x_test, t_train, t_test = datasets.train_test_split(x, t, 0.2, options.seed)
            about = "spiral, 300 points in the plane on three arms that wind around each other"
            return _Data(about, x_train, t_train.argmax(1), x_test, t_test.argmax(1), 200)
        if options.data == "digits":
            x, t = datasets.digits()
            x_train, x_test, t_train, t_test = datasets.train_test_split(x, t, 0.25, options.seed)
            about = "digits, scikit-learn's 1,797 real handwritten digits, 8 by 8 pixels"
            return _Data(about, x_train, t_train, x_test, t_test, 30)
        return _load_mnist(getattr(options, "path", None))
    except (ImportError, OSError, ValueError) as error:
        raise UsageError(str(error)) from None


def _load_mnist(path: Path | None) -> _Data:
    """Train on ``train`` and test on ``t10k``; where only one is there, its last fifth tests."""
    if path is None:
        raise UsageError("--data mnist needs --path DIR, the folder with the IDX files")
    x, t = datasets.mnist(path)
    side = round(x.shape[1] ** 0.5)
    if len(x) < 2 or side * side != x.shape[1]:
        raise UsageError(f"{path}: expected at least two square images, got {x.shape}")
    try:
        held_out = len(datasets.mnist(path, "t10k")[0])
    except FileNotFoundError:
        held_out = 0
    if held_out in (0, len(x)):
        held_out = max(1, len(x) // 5)
    cut = len(x) - held_out
    about = f"mnist in {path}, {len(x):,} handwritten digits, {side} by {side} pixels"
    return _Data(about, x[:cut], t[:cut], x[cut:], t[cut:], 10)


def _build(data: _Data, options: argparse.Namespace) -> Sequential:
    rng = random_state(options.seed)
    classes = 1 + max(int(data.t_train.max()), int(data.t_test.max()))
    sizes = [data.x_train.shape[1], *options.hidden, classes]
    layers: list[Any] = []
    for size, next_size in pairwise(sizes):
        layers += [affine(size, next_size, rng), ReLU()]
    return Sequential(layers[:-1])


def _train(
    model: Sequential, optimizer: Any, data: _Data, epochs: int, options: argparse.Namespace
) -> Trainer:
    bar = _progress.has_bar()
    every = max(1, epochs // 15)  # lines of text are fewer than epochs

    def on_epoch(trainer: Trainer) -> dict[str, float]:
        metrics = {
            "train accuracy": model.accuracy(data.x_train, data.t_train),
            "test accuracy": model.accuracy(data.x_test, data.t_test),
        }
        epoch, loss = len(trainer.history.epoch_loss), trainer.history.epoch_loss[-1]
        if not bar and (epoch % every == 0 or epoch in (1, epochs)):
            numbers = " | ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            print(f"| epoch {epoch:3d} / {epochs} | loss {loss:.4f} | {numbers} |", flush=True)
        return metrics

    trainer = Trainer(model, optimizer, seed=options.seed)
    batches = epochs * -(-len(data.x_train) // options.batch_size)
    trainer.fit(
        data.x_train,
        data.t_train,
        max_epoch=epochs,
        batch_size=options.batch_size,
        eval_interval=max(1, batches // 150),
        on_epoch=on_epoch,
        on_nonfinite="raise",
        progress="bar" if bar else "none",
    )
    return trainer


def _report(trainer: Trainer, proba: Array, data: _Data) -> None:
    history = trainer.history
    seconds = sum(history.epoch_seconds)
    samples = len(history.epoch_loss) * len(data.x_train)
    print(f"\nLoss: {history.loss[0]:.4f} at the start, {history.epoch_loss[-1]:.4f} at the end")
    for name in ("train", "test"):
        print(f"Accuracy on the {name} data: {history.metrics[f'{name} accuracy'][-1]:.4f}")
    print(f"Speed: {samples / seconds:,.0f} samples/s in training ({seconds:.2f} s)")

    y = proba.argmax(axis=1)
    wrong = np.flatnonzero(y != data.t_test)
    chosen = [*np.flatnonzero(y == data.t_test)[:4], *wrong[:2]]
    print("\nSome test samples: the true class, the predicted one, the probability of each class")
    print("  true  predicted   " + "  ".join(f"P({k})" for k in range(proba.shape[1])))
    for i in chosen:
        row = "  ".join(f"{p:4.2f}" for p in proba[i])
        print(f"  {data.t_test[i]:4d}  {y[i]:9d}   {row}{'' if i not in wrong else '   wrong'}")


def _draw(trainer: Trainer, model: Sequential, data: _Data, options: argparse.Namespace) -> None:
    curve = options.out / "loss_curve.png"
    spiral = options.data == "spiral"
    other = options.out / ("decision_boundary.png" if spiral else "predictions.png")
    start = time.perf_counter()
    try:
        plotting.plot_loss(trainer.history, path=curve)
        if spiral:
            x = np.concatenate([data.x_train, data.x_test])
            t = np.concatenate([data.t_train, data.t_test])
            plotting.plot_decision_boundary(model, x, t, path=other)
        else:
            side = round(data.x_test.shape[1] ** 0.5)
            images = data.x_test.reshape(-1, side, side)
            plotting.plot_predictions(images, data.t_test, model.predict_proba(data.x_test), other)
    except ImportError as error:
        message = str(error).replace("[plot]", "[demo]")  # all that the demo likes, in one go
        print(f"\nNo pictures: {message}")
    except OSError as error:
        raise UsageError(f"cannot write to {options.out}: {error.strerror}") from None
    else:
        print(f"\nPictures ({time.perf_counter() - start:.1f} s): {curve}, {other}")


def _at_least(least: int, most: int = sys.maxsize) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            open_end = most == sys.maxsize and value < least
            limits = f"of at least {least}" if open_end else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"expected a whole number {limits}, got {text!r}")
        return value

    return convert


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return value
