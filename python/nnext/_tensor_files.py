"""Files of named arrays with a text beside them, in the safetensors format.

The text is JSON under the key ``"nnext"`` of the metadata; its ``"format"`` says how to read it.
Files may come from anywhere: nothing of one is believed before it is checked, nothing is imported
or called because a file says so, and how much memory is taken follows from the file's own size.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from nnext import _nnext
from nnext._packing import expect
from nnext._support import Array, require
from nnext._whole_files import PathLike, file_name, opened, replacing

FORMAT = 1

_KEY = "nnext"
_LARGEST_HEADER = 100_000_000  # safetensors' own limit
_LARGEST_TEXT = 2**25  # JSON may take 20 times its length in memory; a million class weights fit

_TYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8"},
    **{"U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8"},
}


def write_tensors(
    path: PathLike, arrays: Mapping[str, Array], text: Mapping[str, Any], purpose: str
) -> None:
    """Write arrays and a text to a file, whole or not at all.

    Parameters
    ----------
    path : path-like
    arrays : mapping of str to ndarray
    text : mapping
        What JSON knows; the format and nnext's version are added.
    purpose : str
        What needs the package; the message of an ImportError begins with this.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    TypeError
        For arrays of other types than the format has.
    ValueError
        If the text is too long.
    OSError
        If the file cannot be written.
    """
    save = require_writer(purpose)
    path = file_name(path)
    plain = {}
    for name, array in arrays.items():
        if array.dtype.name not in _TYPES.values():
            raise TypeError(f"{name}: arrays of {array.dtype} are not stored")
        # Always in this order of bytes, whatever the machine's own is.
        plain[name] = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    head = {"format": FORMAT, "version": _nnext.__version__, **text}
    line = json.dumps(head, allow_nan=False)
    if len(line) > _LARGEST_TEXT:
        raise ValueError(f"the options of the layers take {len(line)} bytes, more than are stored")
    content = save(plain, metadata={_KEY: line})
    with replacing(path) as file:
        file.write(content)


def read_tensors(path: PathLike, purpose: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read the arrays and the text of a file; `refusing` is around what is made of them.

    Raises
    ------
    ImportError
        If safetensors is not installed, or ml_dtypes where there are bfloat16 arrays.
    ValueError
        If the file is something else, damaged, or of a format that is not known.
    OSError
        If it cannot be opened, or is a directory, a device or a pipe.
    """
    deserialize = require("safetensors", "files", purpose).deserialize
    path = file_name(path)
    with opened(path) as file, refusing(path):
        _check_beginning(file)
        content = file.read()
    with refusing(path):
        # First: it lets no header pass that takes much memory.
        tensors = _tensors(deserialize, content)
        text = _text(content)
        del content
        arrays = {}
        while tensors:  # one after another, so that no more than one is there twice
            name, tensor = tensors.pop()
            arrays[name] = _array(name, tensor)
    return arrays, text


def require_writer(purpose: str) -> Any:
    """Return the function that writes, or say how to install it."""
    return require("safetensors.numpy", "files", purpose).save


@contextmanager
def refusing(path: PathLike) -> Iterator[None]:
    """Name the file in a ValueError, whatever goes wrong with what is read from it."""
    try:
        yield
    except (MemoryError, ImportError, OSError):
        raise
    except Exception as error:
        plain = isinstance(error, ValueError | TypeError | IndexError)
        why = str(error) if plain else repr(error)
        raise ValueError(f"{os.fsdecode(path)}: {why}") from error


def _check_beginning(file: IO[bytes]) -> None:
    """Refuse what is no such file before it is read into memory."""
    start = file.read(8)
    size = file.seek(0, os.SEEK_END)
    length = int.from_bytes(start, "little")
    if start[:4] == b"PK\3\4":
        raise ValueError(
            "an archive, as save_params writes it: make the model, then model.load_params(path)"
        )
    file.seek(8)
    if not 2 <= length <= min(size - 8, _LARGEST_HEADER) or file.read(1) != b"{":
        raise ValueError("no file of model.save or save_checkpoint, or the beginning of one")
    file.seek(0)


def _tensors(deserialize: Any, content: bytes) -> list[tuple[str, Any]]:
    try:
        return deserialize(content)  # type: ignore[no-any-return]
    except Exception as error:  # of a type of its own
        raise ValueError(f"damaged, or not in the safetensors format ({error})") from error


def _text(content: bytes) -> dict[str, Any]:
    """Return nnext's own text in the header of a file, checked to be of a format that is known."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length], object_pairs_hook=_differing)
    metadata = expect("metadata", header.get("__metadata__", {}), dict)
    if _KEY not in metadata:
        raise ValueError(
            "arrays that nnext did not write: read them with safetensors.numpy.load_file, then "
            "model.load_state_dict(arrays), or nnext.torch_weights.from_torch(arrays, model)"
        )
    line = expect("metadata", metadata[_KEY], str)
    if len(line) > _LARGEST_TEXT:
        raise ValueError(f"a text of {len(line)} bytes, more than model.save writes")
    text = json.loads(line, object_pairs_hook=_differing, parse_constant=_refuse_constant)
    expect("metadata", text, dict)
    if text.get("format") != FORMAT or isinstance(text.get("format"), bool):
        raise ValueError(
            f"a file of format {text.get('format')!r}, written by nnext {text.get('version')!r}; "
            f"this nnext, {_nnext.__version__}, reads format {FORMAT}"
        )
    return text  # type: ignore[no-any-return]


def _differing(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name!r} stands there twice")
        found[name] = value
    return found


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _array(name: str, tensor: Mapping[str, Any]) -> Array:
    if tensor["dtype"] not in _TYPES:
        raise ValueError(f"{name}: arrays of type {tensor['dtype']} are not read")
    if tensor["dtype"] == "BF16":
        dtype = _bfloat16(name)
    else:
        dtype = np.dtype(_TYPES[tensor["dtype"]]).newbyteorder("<")
    array = np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])
    return np.array(array, dtype.newbyteorder("="))


def _bfloat16(name: str) -> np.dtype[Any]:
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise ImportError(
            f"{name} is of type bfloat16, which needs ml_dtypes: pip install ml_dtypes",
            name="ml_dtypes",
        ) from None
    dtype: np.dtype[Any] = np.dtype(bfloat16)
    return dtype
