"""How a model is kept: copied, and written to files and read from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from nnext._copying import copied_state, state_to_copy
from nnext._gathered import check_gathered
from nnext._names import Unmatched, buffers_of, load_state, model_arrays, state_of
from nnext._support import Array


class Kept:
    """What `nnext.base_model.BaseModel` can do with its arrays beside computing with them."""

    params: list[Array]
    grads: list[Array]

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers by their names, such as ``"layers.0.W"``.

        A layer that is an attribute of a model of your own is called by that, ``"encoder.W"``; the
        loss layer is ``"loss_layer"``. Weights that layers share are there once, by the first name.

        Returns
        -------
        dict of str to ndarray
        """
        check_gathered(self)
        return state_of(model_arrays(self))

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Unmatched:
        """Write the numbers of a `state_dict` into the arrays that the model has.

        Parameters
        ----------
        state : mapping of str to array_like
        strict : bool
            Whether names that are missing or unexpected are an error.

        Returns
        -------
        Unmatched
            The names that were ``missing`` and ``unexpected``.

        Raises
        ------
        ValueError
            With all that does not fit: names, shapes, types, read-only arrays; or if an array of a
            layer is not the model's any more (`check_gathered`). Nothing has changed then.
        TypeError
            If `state` is no mapping.
        """
        check_gathered(self)
        return load_state(model_arrays(self), state, strict, what=type(self).__name__)

    def config(self) -> dict[str, Any]:
        """Return what `nnext.load_model` makes such a model of, ``type(model)(**config)``.

        A model of your own defines it, with values that JSON knows, and is made known by
        `nnext.register_model`; a `Sequential` is made of its layers and needs it not.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not define config(): the arguments that make it again"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file: its layers, their options and their arrays.

        `nnext.load_model` reads it. The file is in the safetensors format, which other programs
        read too; its arrays have the names of `state_dict`. It is written whole or not at all, as
        by `save_params`.

        Parameters
        ----------
        path : path-like
            The file's name, used as it is.

        Raises
        ------
        ImportError
            If safetensors is not installed; the message says how to install it.
        TypeError
            If a layer or the model is not known to files; see `nnext.register_layer`.
        ValueError
            If an array of a layer is not the model's any more (`check_gathered`).
        OSError
            If the file cannot be written, or `path` is a directory, a device or a pipe.
        """
        from nnext.saving import save_model

        save_model(path, self)

    def save_params(self, file_name: str | os.PathLike[str] | None = None) -> None:
        """Write the parameters and buffers to a file in NumPy's ``.npz`` format.

        The buffers are in it since a network is not what it was without them: `BatchNorm` computes
        by its running statistics. The file of a model that has none holds parameters alone.

        The file is written beside its final place and then moved there, so that a failure never
        leaves half a file or harms an older one, and whoever reads meanwhile, in any thread or
        process, gets one or the other whole. What a killed process left there is removed.

        Parameters
        ----------
        file_name : path-like, optional
            Used as it is, whatever it ends with. Left out, it is the book's, the model's class and
            ``.pkl``: the file is ``.npz`` then too, never a pickle. A symbolic link stays one: the
            file that it leads to is written. The permissions of an older file are kept.

        Raises
        ------
        ValueError
            If an array of a layer is not the model's any more (`check_gathered`).
        OSError
            If the file cannot be written, or is a directory, a device or a pipe.
        """
        from nnext import model_files  # here, since it brings zipfile, which few programs need

        check_gathered(self)
        model_files.save_params(self._file_name(file_name), self.params, buffers_of(self))

    def load_params(self, file_name: str | os.PathLike[str] | None = None) -> None:
        """Read parameters and buffers that `save_params` wrote, into the arrays of the model.

        The pickles of float16 arrays that the book's ``save_params`` writes are read too, whatever
        their name. Nothing is run or loaded for it that a pickle may ask for.

        Parameters
        ----------
        file_name : path-like, optional
            Left out, it is the model's class and ``.pkl``.

        Raises
        ------
        ValueError
            If the file is something else, or the numbers, shapes or types of its arrays are not
            those of this model (of a pickle, the numbers and shapes), or one of these is read-only,
            or an array of a layer is not the model's any more (`check_gathered`). Nothing is
            overwritten then.
        OSError
            If the file cannot be opened, or is a directory, a device or a pipe.
        """
        from nnext import model_files

        check_gathered(self, writable=True)
        model_files.load_params(self._file_name(file_name), self.params, buffers_of(self))

    def _file_name(self, given: str | os.PathLike[str] | None) -> str | os.PathLike[str]:
        return f"{type(self).__name__}.pkl" if given is None else given

    def __getstate__(self) -> dict[str, Any]:
        return state_to_copy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(copied_state(state))
