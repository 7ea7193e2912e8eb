"""Models in files: layers, options and arrays, as one file that other programs read too.

The format is safetensors (needs ``pip install "nnext-core[files]"``): the arrays by the names of
`BaseModel.state_dict`, and in the metadata what the model is made of, as JSON. Weights that layers
share are there once, and shared again when the model is loaded. No code is in such a file, and none
is run because of it: a layer's name is looked up in a table of nnext's own layers and those of
`register_layer`.

Parameters alone, in NumPy's ``.npz``, are `BaseModel.save_params`; a run of training with its
optimizer is `Trainer.save_checkpoint`.
"""

from __future__ import annotations

from typing import Any

from nnext._gathered import check_gathered
from nnext._names import model_arrays, own_arrays
from nnext._packing import expect, expect_keys
from nnext._registry import build, describe, register_layer, register_model
from nnext._support import Array
from nnext._tensor_files import read_tensors, refusing, require_writer, write_tensors
from nnext._whole_files import PathLike

__all__ = ["load_model", "register_layer", "register_model", "save_model"]


def save_model(path: PathLike, model: Any) -> None:
    """Write a model to a file; see `nnext.base_model.BaseModel.save`."""
    check_gathered(model)
    arrays = own_arrays(model_arrays(model))
    text = {"kind": "model", "model": describe(model)}
    write_tensors(path, arrays, text, "model.save")


def check_can_save(model: Any) -> None:
    """Raise what `save_model` would raise of a model, or where safetensors is not installed."""
    require_writer("model.save")
    describe(model)


def load_model(path: PathLike) -> Any:
    """Read a model that `BaseModel.save` wrote, or that of a checkpoint of `Trainer`.

    The file may come from anybody: what it says is checked, and no code of it is run.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    BaseModel
        With the layers, options and numbers of the one that was saved: it computes the same bits.

    Raises
    ------
    ValueError
        If the file is something else, damaged, of a later format, or has a layer or model that is
        not known (`register_layer`); the message names the file.
    ImportError
        If safetensors is not installed, or ml_dtypes where a bfloat16 array is stored.
    OSError
        If the file cannot be opened, or is a directory, a device or a pipe.
    """
    arrays, text = read_tensors(path, "load_model")
    with refusing(path):
        return model_of(arrays, text)


def model_of(arrays: dict[str, Array], text: dict[str, Any]) -> Any:
    """Make the model of a file's arrays and text."""
    kind = expect("kind", text.get("kind"), str)
    if kind == "checkpoint":
        if text.get("model") is None:
            raise ValueError(
                "a checkpoint of a model that files do not know: make the model, then "
                "Trainer.resume(path, model, optimizer)"
            )
        prefix = "model."
        arrays = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
        return build(text["model"], arrays)
    if kind != "model":
        raise ValueError(f"expected a model or a checkpoint, got {kind!r}")
    expect_keys("the file", text, ["format", "version", "kind", "model"])
    return build(text["model"], arrays)
