"""What every model has in common; how its layers are wired is up to the model (see models.py)."""

import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._support import Array, find_shared


class LayerLike(Protocol):
    """The contract of a layer; any object that keeps it can stand among nnext's own.

    ``backward`` writes the gradients into ``grads[i]``, an array of the shape of ``params[i]`` that
    is never replaced, and returns the gradient of the layer's input.
    """

    params: list[Array]
    grads: list[Array]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output and remember what ``backward`` needs."""

    def backward(self, *args: Any, **kwargs: Any) -> Any:
        """Write the parameters' gradients and return the input's."""


class BaseModel:
    """A model: layers, their parameters gathered into two lists, and what follows from these.

    A model of your own derives from this class, names its layers and its loss, and says how they
    are wired in `scores`, `forward` and `backward` (`nnext.models.Sequential` does it for a chain).
    All else is here. After the book's ``common/base_model.py``.

    Parameters
    ----------
    layers : iterable of layers
        All layers that have parameters, and those that `summary` shall show.
    loss_layer : layer
        The layer that turns scores and labels into the loss.

    Attributes
    ----------
    layers : list of layers
    loss_layer : layer
    params, grads : list of ndarray
        The layers' own arrays, in the order of the layers. Training writes into them and never
        replaces them.
    """

    def __init__(self, layers: Iterable[LayerLike], loss_layer: LayerLike) -> None:
        self.layers = list(layers)
        self.loss_layer = loss_layer
        self.params: list[Array] = []
        self.grads: list[Array] = []
        for layer in [*self.layers, loss_layer]:
            self.params += layer.params
            self.grads += layer.grads

    def scores(self, x: ArrayLike) -> Array:
        """Compute the scores (logits) that the loss layer takes, in inference mode."""
        raise NotImplementedError(f"{type(self).__name__} does not define scores(x)")

    def forward(self, x: ArrayLike, t: ArrayLike) -> float:
        """Compute the mean loss of a batch, in training mode."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(x, t)")

    def backward(self, dout: float = 1) -> Array | None:
        """Write the gradients of the last `forward` into ``grads``."""
        raise NotImplementedError(f"{type(self).__name__} does not define backward(dout)")

    def predict_proba(self, x: ArrayLike) -> Array:
        """Compute the probabilities of the classes.

        Parameters
        ----------
        x : array_like, shape (N, ...)

        Returns
        -------
        ndarray, shape (N, C)
            The softmax of `scores`; its rows sum to 1. If the model's loss is `SigmoidWithLoss`,
            the sigmoid of each score instead.
        """
        return self.loss_layer.probabilities(self.scores(x))

    def predict(self, x: ArrayLike) -> Array:
        """Predict the class of every sample.

        The book's ``predict`` returns the raw scores. Here those are called `scores`, and
        ``predict`` answers the question that its name asks, as it does in scikit-learn.

        Parameters
        ----------
        x : array_like, shape (N, ...)

        Returns
        -------
        ndarray of int64, shape (N,)
            The index of the highest score (the first one if several are equal). If the model's
            loss is `SigmoidWithLoss`, 0 or 1 for each score, in the shape of the scores.
        """
        return self.loss_layer.predictions(self.scores(x))

    def accuracy(self, x: ArrayLike, t: ArrayLike) -> float:
        """Compute the share of samples that `predict` gets right.

        Parameters
        ----------
        x : array_like, shape (N, ...)
        t : array_like, shape (N,) or (N, C)
            The labels as `SoftmaxWithLoss` takes them: class indices (of any shape with N
            elements) or one-hot; those that the loss ignores do not count. If the model's loss is
            `SigmoidWithLoss`, 0 or 1 for each score, in the shape of the scores, and the share is
            that of the scores.

        Raises
        ------
        ValueError
            If the labels do not fit the scores, or there are none.
        TypeError
            If the labels are not of a type that the loss takes.
        IndexError
            If a class index is out of range.
        """
        # The core reads and checks the labels as it does for the losses.
        scores = self.scores(x)
        y = self.loss_layer.predictions(scores)
        _check_any(y, x)
        labels = self.loss_layer.labels(t, scores.shape)
        y, labels = y[labels >= 0], labels[labels >= 0]
        if y.size == 0:
            raise ValueError("t: every label is ignored")
        return float(np.count_nonzero(y == labels) / y.size)

    def summary(self) -> str:
        """Describe the model as a table: layers, shapes of their parameters, numbers of them.

        A shared parameter is counted once in the total.
        """
        rows = []
        for layer in [*self.layers, self.loss_layer]:
            shapes = ", ".join(str(p.shape) for p in layer.params)
            count = sum(p.size for p in layer.params)
            rows.append((type(layer).__name__, shapes or "-", f"{count:,}"))
        shared = find_shared(self.params)
        own = [p for i, p in enumerate(self.params) if shared[i][0] == i]
        kinds = "/".join(sorted({str(p.dtype) for p in own})) or "-"
        total = ("total", kinds, f"{sum(p.size for p in own):,}")
        head = ("layer", "shapes of parameters", "parameters")
        a, b, c = (max(map(len, column)) for column in zip(head, *rows, total, strict=True))
        lines = [f"{x:<{a}}  {y:<{b}}  {z:>{c}}" for x, y, z in [head, *rows, total]]
        rule = "-" * (a + b + c + 4)
        return "\n".join([type(self).__name__, rule, lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def save_params(self, path: str | os.PathLike[str]) -> None:
        """Write the parameters to a file in NumPy's ``.npz`` format.

        The file is written beside its final place and then moved there, so that a failure never
        leaves half a file or harms an older one.

        Parameters
        ----------
        path : path-like
            The file's name, used as it is.
        """
        path = Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                named: dict[str, Any] = {f"param_{i}": p for i, p in enumerate(self.params)}
                np.savez(file, **named)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def load_params(self, path: str | os.PathLike[str]) -> None:
        """Read parameters that `save_params` wrote, into the arrays that the model has.

        Raises
        ------
        ValueError
            If the file is something else, or the numbers, shapes or types of its parameters are
            not those of this model, or a parameter is read-only. Nothing is overwritten then.
        OSError
            If the file cannot be opened.
        """
        with open(path, "rb") as file:
            with _refusing(path):
                archive = zipfile.ZipFile(file)
                names = [f"param_{i}.npy" for i in range(len(archive.namelist()))]
                kinds = [_read_kind(archive, name) for name in names]
            # Before any data is read: a header may promise terabytes.
            self._check_kinds(path, kinds)
            with _refusing(path):
                saved = [_read_array(archive, name) for name in names]
        for p, new in zip(self.params, saved, strict=True):
            p[...] = new

    def _check_kinds(
        self, path: str | os.PathLike[str], kinds: list[tuple[tuple[int, ...], np.dtype[Any]]]
    ) -> None:
        if len(kinds) != len(self.params):
            raise ValueError(
                f"{path} holds {len(kinds)} parameters, the model has {len(self.params)}"
            )
        for i, (p, (shape, dtype)) in enumerate(zip(self.params, kinds, strict=True)):
            if shape != p.shape or dtype != p.dtype:
                raise ValueError(
                    f"{path}: parameter {i} is {dtype} {shape}, the model's is {p.dtype} {p.shape}"
                )
            if not p.flags.writeable:
                raise ValueError(f"params[{i}] of the model is read-only")


def _check_any(y: Array, x: ArrayLike) -> None:
    if y.size == 0:
        raise ValueError(f"x: there are no samples, got shape {np.shape(x)}")


@contextmanager
def _refusing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file, whatever zipfile and NumPy raise: for rubbish it is nearly anything."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path} is not a file of save_params ({error!r})") from error


def _read_kind(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(name) as member:
        if npy.read_magic(member) != (1, 0):
            raise ValueError("not the version of .npy that is written for a plain array")
        shape, _, dtype = npy.read_array_header_1_0(member)
    if dtype.hasobject:
        raise ValueError("objects for numbers")
    return shape, dtype


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as member:
        array: Array = npy.read_array(member, allow_pickle=False)
        member.read()  # at the end the checksum is compared
    return array
