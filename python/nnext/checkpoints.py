"""Runs of training in files: all that `Trainer.resume` needs to go on to the bit.

The file is one of `nnext.saving`, so that `nnext.load_model` reads the model in it, with the rest
beside it: `pack` makes JSON of its plain values and names its arrays. `Trainer.save_checkpoint` and
`nnext.callbacks.ModelCheckpoint` write it.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from nnext._gathered import check_gathered
from nnext._loop import Position
from nnext._names import (
    Shared,
    counters,
    match_counters,
    match_state,
    model_arrays,
    own_arrays,
    shared_names,
)
from nnext._optimizer_state import Optimizer
from nnext._packing import expect, expect_keys, pack, unpack
from nnext._random_states import make_rng, rng_state, set_rng_state
from nnext._registry import describe
from nnext._states import match_states, put_back, states
from nnext._support import Array
from nnext._tensor_files import read_tensors, refusing, require_writer, write_tensors
from nnext._whole_files import PathLike
from nnext.history import History

__all__ = ["Run", "load", "save"]

_PURPOSE = "A checkpoint"


@dataclass
class Run:
    """What of a trainer is stored beside its model and optimizer."""

    history: History
    rng: Any
    split_seed: int
    position: Position | None


def save(path: PathLike, model: Any, optimizer: Any, run: Run) -> None:
    """Write a checkpoint; see `nnext.trainer.Trainer.save_checkpoint`."""
    check_gathered(model)
    rng = check_can_save(model, optimizer, run.rng)
    named = model_arrays(model)
    arrays = {f"model.{name}": array for name, array in own_arrays(named).items()}
    state = {
        "shared": shared_names(named),
        "counters": counters(model),
        "optimizer": optimizer.state_dict(),
        "history": _columns(run.history),
        "rng": rng,
        "split_seed": run.split_seed,
        "position": None if run.position is None else dict(vars(run.position)),
    }
    if standing := states(model):  # without any, earlier versions read the file too
        state["states"] = standing
    try:
        described = describe(model)
    except (NotImplementedError, TypeError):  # not known to files: it can be resumed all the same
        described = None
    packed = {name: pack(name, value, arrays) for name, value in state.items()}
    write_tensors(
        path, arrays, {"kind": "checkpoint", "model": described, "state": packed}, _PURPOSE
    )


def check_can_save(model: Any, optimizer: Any, rng: Any) -> dict[str, Any]:
    """Return the state of a generator; a TypeError if something has none that can be stored."""
    require_writer(_PURPOSE)
    if not all(callable(getattr(optimizer, n, None)) for n in ("state_dict", "load_state_dict")):
        raise TypeError(
            f"optimizer: {type(optimizer).__name__} has no state_dict and load_state_dict: what it "
            "remembers would be lost"
        )
    state = rng_state(rng)
    if state is None:
        raise TypeError(f"rng: the state of {rng!r} cannot be stored; NumPy's generators can")
    states(model)
    return state


def load(path: PathLike, model: Any, optimizer: Any, rng: Any = None) -> Run:
    """Read a checkpoint into a model and an optimizer; see `nnext.trainer.Trainer.resume`."""
    arrays, text = read_tensors(path, _PURPOSE)
    with refusing(path):
        kind = expect("kind", text.get("kind"), str)
        if kind != "checkpoint":
            raise ValueError(f"expected a checkpoint of Trainer, got a {kind}")
        expect_keys("the file", text, ["format", "version", "kind", "model", "state"])
        own = {n.removeprefix("model."): a for n, a in arrays.items() if n.startswith("model.")}
        rest = {name: array for name, array in arrays.items() if not name.startswith("model.")}
        names = (
            *("shared", "counters", "states", "optimizer"),
            *("history", "rng", "split_seed", "position"),
        )
        stored = {"states": {}, **expect("state", text["state"], dict)}
        state = {name: unpack(v, rest) for name, v in expect_keys("state", stored, names).items()}
        if rest:
            raise ValueError(f"arrays that nothing has: {', '.join(sorted(rest))}")
        check_gathered(model, writable=True)
        named = model_arrays(model)
        _check_same_model(text["model"], model)
        _check_shared(state["shared"], shared_names(named))
        targets, given, _ = match_state(named, own, what=type(model).__name__)
        attributes = match_counters(model, state["counters"])
        attributes += match_states(model, state["states"])
        _try_optimizer(optimizer, state["optimizer"], model.params)
        history = _read_history(state["history"])
        run = Run(
            history,
            make_rng(state["rng"]),
            expect("split_seed", state["split_seed"], int),
            _read_position(state["position"], len(history.epoch_loss)),
        )
        if rng is not None:
            set_rng_state(rng, state["rng"])
            run.rng = rng
        optimizer.load_state_dict(state["optimizer"])
    for name, array in given.items():
        targets[name][...] = array
    put_back(attributes)
    return run


def _check_same_model(described: Any, model: Any) -> None:
    """Refuse a model whose layers or options are not those of the file, where files know both."""
    try:
        have = describe(model)
    except (NotImplementedError, TypeError):
        return
    if described is None:
        return
    difference = _difference("", _architecture(have), _architecture(described))
    if difference:
        raise ValueError(f"the checkpoint is that of another model: {difference}")


def _architecture(described: Any) -> Any:
    """Return a description without what training changes."""
    if isinstance(described, dict):
        left_out = ("counters", "shared", "seed", "offset")
        return {k: _architecture(v) for k, v in described.items() if k not in left_out}
    return [*map(_architecture, described)] if isinstance(described, list) else described


def _difference(where: str, have: Any, saved: Any) -> str:
    """Say where two descriptions first differ, or nothing."""
    if isinstance(have, dict) and isinstance(saved, dict) and have.keys() == saved.keys():
        inner = [(str(key), have[key], saved[key]) for key in have]
    elif isinstance(have, list) and isinstance(saved, list) and len(have) == len(saved):
        inner = [(str(i), *pair) for i, pair in enumerate(zip(have, saved, strict=True))]
    elif have == saved:
        return ""
    else:
        return f"{where[1:] or 'model'} is {_shown(saved)} in the file, {_shown(have)} here"
    return next(filter(None, (_difference(f"{where}.{k}", a, b) for k, a, b in inner)), "")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return ", ".join(value) if isinstance(value, dict) else repr(value)


def _check_shared(saved: Any, have: Shared) -> None:
    if saved != have:
        raise ValueError(
            f"the checkpoint is that of another model: expected one that shares {have or 'nothing'}"
            f", got one that shares {saved or 'nothing'}"
        )


def _try_optimizer(optimizer: Any, state: Any, params: list[Array]) -> None:
    """Raise what loading the state would raise, or the next step."""
    trial = deepcopy(optimizer)
    trial.load_state_dict(state)
    if isinstance(trial, Optimizer):  # which sees each memory once
        trial.check_params(own_arrays({str(i): p for i, p in enumerate(params)}).values())


def _columns(history: History) -> dict[str, Any]:
    """Return the columns as arrays: they may be long, and hold NaN."""
    return {
        "iteration": np.array(history.iteration, np.int64),
        "loss": np.array(history.loss, np.float64),
        "epoch_loss": np.array(history.epoch_loss, np.float64),
        "epoch_seconds": np.array(history.epoch_seconds, np.float64),
        "epoch_iteration": np.array(history.epoch_iteration, np.int64),
        "metrics": [[n, np.array(v, np.float64)] for n, v in history.metrics.items()],
        "batches": history.batches,
    }


def _read_history(columns: Any) -> History:
    """Return the history of its columns, of equally many epochs and points each."""
    given = dict(expect_keys("history", columns, [f.name for f in fields(History)]))
    metrics = {}
    for i, entry in enumerate(expect("history.metrics", given.pop("metrics"), list)):
        if len(expect(f"history.metrics.{i}", entry, list)) != 2:
            raise ValueError(f"history.metrics.{i}: expected a name and numbers")
        metrics[expect(f"history.metrics.{i}", entry[0], str)] = entry[1]
    batches = expect("history.batches", given.pop("batches"), int)
    every = {**given, **{f"metrics {name}": column for name, column in metrics.items()}}
    for name, column in every.items():
        kind = np.int64 if name.endswith("iteration") and name in given else np.float64
        if not isinstance(column, np.ndarray) or column.ndim != 1 or column.dtype != kind:
            raise ValueError(f"history.{name}: expected an array of numbers")
        same = given["loss" if name in ("iteration", "loss") else "epoch_loss"]
        if not isinstance(same, np.ndarray) or len(column) != len(same):
            raise ValueError(f"history.{name}: expected as many numbers as the others have")
    history = History(batches=batches)
    for name, column in given.items():
        setattr(history, name, column.tolist())
    history.metrics = {name: column.tolist() for name, column in metrics.items()}
    return history


def _read_position(saved: Any, epochs: int) -> Position | None:
    if saved is None:
        return None
    given = expect_keys("position", saved, [f.name for f in fields(Position)])
    counts = [expect(f"position.{n}", given[n], int) for n in ("epochs", "batches")]
    if min(counts) < 0 or counts[0] > epochs:
        raise ValueError(f"position: expected at most the {epochs} epochs of the history")
    for name in ("point", "mean"):
        if len(expect(f"position.{name}", given[name], tuple)) != 2:
            raise ValueError(f"position.{name}: expected two numbers")
        for number in given[name]:
            expect(f"position.{name}", number, float, int)
    expect("position.seconds", given["seconds"], float, int)
    expect("position.stopped_by", given["stopped_by"], str)
    for value in expect("position.plan", given["plan"], dict).values():
        expect("position.plan", value, int)
    if given["drawn_from"] is not None:
        make_rng(given["drawn_from"])
    for entry in expect("position.callbacks", given["callbacks"], list):
        if len(expect("position.callbacks", entry, tuple)) != 2:
            raise ValueError("position.callbacks: expected names and states")
        expect("position.callbacks", entry[0], str)
    return Position(**given)
