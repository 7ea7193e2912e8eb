"""Data to try things on: made here (spiral), from scikit-learn (digits), or from files (mnist)."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnext._support import Array, check_numbers, random_source, random_state, refuse_masked, require

_MNIST_PARTS = ("train", "t10k")
_CHUNK = 1 << 16


def spiral(seed: int = 1984) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Make the book's spiral: three arms in the plane, 100 points each (``dataset/spiral.py``).

    Parameters
    ----------
    seed : int
        Of the noise; the same seed gives the book's points, rounded to float32.

    Returns
    -------
    x : ndarray of float32, shape (300, 2)
    t : ndarray of int64, shape (300, 3)
        The arms, one-hot.
    """
    arms, points = 3, 100
    radius = np.tile(np.arange(points) / points, arms)
    arm = np.repeat(np.arange(arms), points)
    noise = random_state(seed).standard_normal(arms * points)
    theta = arm * 4.0 + 4.0 * radius + noise * 0.2
    x = np.stack([radius * np.sin(theta), radius * np.cos(theta)], axis=1)
    return x.astype(np.float32), np.eye(arms, dtype=np.int64)[arm]


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Load the 1,797 handwritten digits that come with scikit-learn (8 by 8 pixels).

    Returns
    -------
    x : ndarray of float32, shape (1797, 64)
        Rows of pixels from 0 to 1.
    t : ndarray of int64, shape (1797,)
        The digits.

    Raises
    ------
    ImportError
        If scikit-learn is not installed; the message says how to install it.
    """
    data = require("sklearn.datasets", "data", "The digits data").load_digits()
    return (data.data / 16).astype(np.float32), data.target.astype(np.int64)


def mnist(
    folder: str | os.PathLike[str], part: Literal["train", "t10k"] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read MNIST, or any data in its format, from the IDX files in a folder.

    The names are ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same with
    ``t10k``, each with ``.gz`` or without; whether a file is compressed is seen from its content.
    A file's header is compared with the real (unpacked) size before the data is read, so a broken
    or hostile file costs no memory.

    Parameters
    ----------
    folder : path-like
    part : {"train", "t10k"}, optional
        Which of the two to read; left out, all that is there, ``train`` first.

    Returns
    -------
    x : ndarray of float32, shape (N, 784)
        Rows of pixels from 0 to 1.
    t : ndarray of int64, shape (N,)

    Raises
    ------
    FileNotFoundError
        If the folder or a file that belongs to the part is not there.
    ValueError
        If a file is not what it should be; the message names it.
    """
    folder = Path(folder)
    if part is not None and part not in _MNIST_PARTS:
        raise ValueError(f'part: expected "train", "t10k" or None, got {part!r}')
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    names = [p for p in _MNIST_PARTS if _find(folder, f"{p}-images-idx3-ubyte") is not None]
    if part is not None:
        names = [p for p in names if p == part]
    if not names:
        wanted = f"{part or 'train'}-images-idx3-ubyte"
        also = "" if part else " and no t10k-images-idx3-ubyte (.gz or not)"
        raise FileNotFoundError(f"{folder} holds no {wanted}{also}")

    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    for name in names:
        image_path = cast(Path, _find(folder, f"{name}-images-idx3-ubyte"))
        label_path = _find(folder, f"{name}-labels-idx1-ubyte")
        if label_path is None:
            raise FileNotFoundError(f"{folder} holds {image_path.name} but not its labels")
        part_images, part_labels = _read_idx(image_path, 3), _read_idx(label_path, 1)
        if len(part_images) != len(part_labels):
            raise ValueError(
                f"{image_path} holds {len(part_images)} images, "
                f"but {label_path} holds {len(part_labels)} labels"
            )
        if images and part_images.shape[1:] != images[0].shape[1:]:
            raise ValueError(
                f"{image_path} holds images of {part_images.shape[1:]} pixels, "
                f"the other part of {images[0].shape[1:]}"
            )
        images.append(part_images)
        labels.append(part_labels)
    x = np.concatenate(images).astype(np.float32)
    x /= 255
    return x.reshape(len(x), -1), np.concatenate(labels).astype(np.int64)


def train_test_split(
    x: ArrayLike,
    t: ArrayLike,
    test_size: float = 0.25,
    seed: int | None = None,
    *,
    rng: np.random.RandomState | np.random.Generator | None = None,
) -> tuple[Array, Array, Array, Array]:
    """Shuffle samples and hold a part of them out.

    Parameters
    ----------
    x, t : array_like, shape (N, ...)
        Samples and labels.
    test_size : float
        The share to hold out, between 0 and 1; rounded up to whole samples.
    seed : int, optional
        Of the shuffling. Drawn from ``numpy.random`` if left out.
    rng : RandomState or Generator, optional
        Draw the order from this, in place of `seed`.

    Returns
    -------
    x_train, x_test, t_train, t_test : ndarray
        In the order of scikit-learn's function of this name.

    Raises
    ------
    ValueError
        If `x` and `t` have different lengths, or a side would be left empty.
    TypeError
        If `test_size` is no number, `seed` no whole number, or something is masked.
    """
    check_numbers(test_size=test_size)
    refuse_masked("x", x)
    refuse_masked("t", t)
    x, t = np.asarray(x), np.asarray(t)
    if x.ndim == 0 or t.ndim == 0 or len(x) != len(t):
        raise ValueError(f"t: expected one label for each sample of x {x.shape}, got {t.shape}")
    count = math.ceil(len(x) * test_size) if 0 < test_size < 1 else 0
    if not 0 < count < len(x):
        raise ValueError(
            f"test_size: expected a share that leaves samples on both sides of {len(x)}, "
            f"got {test_size}"
        )
    order = random_source(seed, rng).permutation(len(x))
    test, train = order[:count], order[count:]
    return x[train], x[test], t[train], t[test]


def _find(folder: Path, name: str) -> Path | None:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def _read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes: 0, 0, type 8, ndim; the sizes; the data."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
            header = file.read(4 + 4 * ndim)
            if len(header) < 4 + 4 * ndim or header[:4] != bytes([0, 0, 8, ndim]):
                raise ValueError(
                    f"{path} is not an IDX file of bytes in {ndim} dimensions: "
                    f"it begins with {header[:4].hex(' ') or 'nothing'}"
                )
            shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
            size = math.prod(shape)
            if size == 0:
                raise ValueError(f"{path} holds no data: its header says {shape}")
            found = _count(file, size)
            if found != size:
                raise ValueError(
                    f"{path} says that it holds {' x '.join(map(str, shape))} = {size:,} bytes, "
                    f"but it has {'more' if found > size else f'{found:,}'}"
                )
            file.seek(len(header))
            return np.frombuffer(file.read(size), np.uint8).reshape(shape)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is not a whole gzip file: {error}") from None


def _count(file: BinaryIO, limit: int) -> int:
    """Count the bytes up to the end, but stop once there are more than `limit`."""
    if not isinstance(file, gzip.GzipFile):
        return os.fstat(file.fileno()).st_size - file.tell()
    found = 0
    while found <= limit and (chunk := file.read(_CHUNK)):
        found += len(chunk)
    return found
