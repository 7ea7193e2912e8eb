"""Parameters in files: written whole or not at all, read only if every number fits.

The file is NumPy's ``.npz``: the i-th parameter is its member ``param_i.npy``, and the i-th buffer,
of a model that has some, ``buffer_i.npy``. A type that NumPy itself does not have (bfloat16) is
stored as unsigned integers of the same bits, and named by its member, ``param_i.bfloat16.npy``: the
type itself comes from the array that it is read into.

The pickles that the book's ``save_params`` writes are read as well (`_book_pickles`), and known by
their first byte, whatever the file is called.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from nnext import _book_pickles
from nnext._support import Array
from nnext._whole_files import PathLike, file_name, opened, replacing

__all__ = ["load_params", "save_params"]

_MEMBER = re.compile(r"(param|buffer)_(0|[1-9][0-9]*)(?:\.(\w+))?\.npy", re.ASCII)

_END, _END_SIZE = b"PK\5\6", 22  # the record that ends a ZIP archive, before its comment


def save_params(path: PathLike, params: Sequence[Array], buffers: Sequence[Array] = ()) -> None:
    """Write arrays to a file; see `nnext.base_model.BaseModel.save_params`."""
    path = file_name(path)
    named: dict[str, Any] = {}
    for kind, i, array in _numbered(params, buffers):
        if array.dtype.hasobject:
            raise TypeError(f"{kind}s[{i}] is an array of Python objects, which are not saved")
        if _is_numpys_own(array.dtype):
            named[f"{kind}_{i}"] = array
        else:
            named[f"{kind}_{i}.{array.dtype.name}"] = array.view(_bits(array.dtype))
    with replacing(path) as file:
        np.savez(file, **named)


def load_params(path: PathLike, params: Sequence[Array], buffers: Sequence[Array] = ()) -> None:
    """Read what `save_params` wrote into arrays; see `nnext.base_model.BaseModel.load_params`."""
    path = file_name(path)
    targets = _numbered(params, buffers)
    for kind, i, array in targets:
        if not array.flags.writeable:
            raise ValueError(f"{kind}s[{i}] is read-only, nothing was loaded")
    with opened(path) as file:
        is_pickle = _book_pickles.begins(file.read(1))
        file.seek(0)
        if is_pickle:
            limit = _book_pickles.largest_size(params)
            new = _from_pickle(path, file.read(limit + 1), limit, params, buffers)
            for array, read in zip(params, new, strict=True):
                array[...] = read
            return
        with _refusing(path):
            archive = zipfile.ZipFile(file)
            _check_ends(archive, file)
            members = _members(archive)
        for kind, what, own in (("param", "parameters", params), ("buffer", "buffers", buffers)):
            _check_number(path, what, len(members[kind]), len(own))
        pairs = [(array, members[kind][i]) for kind, i, array in targets]
        # All before any data is read: a header may promise terabytes, and so may the directory.
        for (kind, i, array), (_, member) in zip(targets, pairs, strict=True):
            what = f"{'parameter' if kind == 'param' else kind} {i}"
            _check_member(path, archive, what, array, member)
        with _refusing(path):
            new = [_read(archive, array, member) for array, member in pairs]
    for (array, _), read in zip(pairs, new, strict=True):
        array[...] = read


def _check_number(path: str, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise ValueError(f"{path} holds {found} {what}, the model has {wanted}")


def _numbered(params: Sequence[Array], buffers: Sequence[Array]) -> list[tuple[str, int, Array]]:
    """Return all arrays with their kind and number, which name their members."""
    kinds = (("param", params), ("buffer", buffers))
    return [(kind, i, array) for kind, arrays in kinds for i, array in enumerate(arrays)]


# Types


def _is_numpys_own(dtype: np.dtype[Any]) -> bool:
    return dtype.isbuiltin != 2  # 2: registered by another package, as ml_dtypes does


def _bits(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"u{dtype.itemsize}")


# Reading


def _from_pickle(
    path: str, data: bytes, limit: int, params: Sequence[Array], buffers: Sequence[Array]
) -> list[Array]:
    """Return the book's arrays in the types of the parameters, all checked."""
    if len(data) > limit:
        raise ValueError(f"{path} holds more data than the model's {len(params)} parameters take")
    with _refusing(path):
        given = _book_pickles.arrays_of(data)
    _check_number(path, "parameters", len(given), len(params))
    _check_number(path, "buffers", 0, len(buffers))
    for i, (p, array) in enumerate(zip(params, given, strict=True)):
        if array.shape != p.shape:
            raise ValueError(
                f"{path}: parameter {i} has the shape {array.shape}, the model's {p.shape}"
            )
    try:
        with np.errstate(over="raise", under="ignore", invalid="ignore"):
            return [a.astype(p.dtype) for a, p in zip(given, params, strict=True)]
    except FloatingPointError as error:
        raise ValueError(f"{path}: a number is too large for the model's type") from error


@contextmanager
def _refusing(path: str) -> Iterator[None]:
    """Name the file, whatever zipfile and NumPy raise: for rubbish it is nearly anything."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a file of save_params ({error!r})") from error


def _check_ends(archive: zipfile.ZipFile, file: IO[bytes]) -> None:
    """Refuse what stands before or behind an archive, such as another one: zipfile overlooks it."""
    if archive.infolist() and min(info.header_offset for info in archive.infolist()) > 0:
        raise ValueError("more data before the archive")
    file.seek(-_END_SIZE - len(archive.comment), os.SEEK_END)
    if file.read(4) != _END:
        raise ValueError("more data behind the archive")


def _members(archive: zipfile.ZipFile) -> dict[str, list[zipfile.ZipInfo]]:
    """Return the members of each kind in the order of the arrays: one for each number from 0 on."""
    found: dict[str, dict[int, zipfile.ZipInfo]] = {"param": {}, "buffer": {}}
    for info in archive.infolist():
        match = _MEMBER.fullmatch(info.filename)
        if match is None or int(match[2]) in found[match[1]]:
            raise ValueError(f"an unexpected member {info.filename!r}")
        found[match[1]][int(match[2])] = info
    for kind, numbered in found.items():
        missing = set(range(len(numbered))) - numbered.keys()
        if missing:
            raise ValueError(f"no member {kind}_{min(missing)}.npy among {len(numbered)}")
    return {kind: [numbered[i] for i in range(len(numbered))] for kind, numbered in found.items()}


def _check_member(
    path: str, archive: zipfile.ZipFile, what: str, p: Array, member: zipfile.ZipInfo
) -> None:
    with _refusing(path), archive.open(member) as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError("not the version of .npy that is written for a plain array")
        shape, _, dtype = npy.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError("objects for numbers")
        start = file.tell()
    named = _MEMBER.fullmatch(member.filename)
    kind = (named and named[3]) or str(dtype.newbyteorder("="))
    if shape != p.shape or not _fits(dtype, kind, p.dtype):
        raise ValueError(f"{path}: {what} is {kind} {shape}, the model's is {p.dtype} {p.shape}")
    if member.file_size != start + p.nbytes:
        raise ValueError(
            f"{path} is not a file of save_params ({what} is {kind} {shape}, which takes "
            f"{start + p.nbytes} bytes; its member has {member.file_size})"
        )


def _fits(dtype: np.dtype[Any], kind: str, wanted: np.dtype[Any]) -> bool:
    """Say whether an array of `dtype`, named `kind` in the file, is read into one of `wanted`."""
    if _is_numpys_own(wanted):
        return kind == str(dtype.newbyteorder("=")) == str(wanted.newbyteorder("="))
    if kind == wanted.name:
        return dtype.newbyteorder("=") == _bits(wanted)
    return dtype == np.dtype(f"V{wanted.itemsize}")  # as numpy.save writes such a type


def _read(archive: zipfile.ZipFile, p: Array, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        array: Array = npy.read_array(file, allow_pickle=False)
        if file.read(1):  # at the end the checksum is compared
            raise ValueError("more data than the array has")
    if _is_numpys_own(p.dtype):
        return array
    return array.astype(array.dtype.newbyteorder("="), copy=False).view(p.dtype)
