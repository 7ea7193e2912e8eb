"""The layers and models that files know by name, and how they are described and made again.

A file says "Affine" and never where to import something from: a name that is not in these tables is
refused. A new layer of nnext's own is a line in `_LAYERS`; others are added by `register_layer`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from nnext import layers, loss_layers, models, negative_sampling, nodes, time_layers
from nnext._names import (
    counters,
    layer_arrays,
    load_state,
    match_counters,
    model_arrays,
    own_arrays,
    places,
    shared_names,
)
from nnext._packing import expect, expect_keys, pack, unpack
from nnext._support import Array
from nnext.models import Sequential, TwoLayerNet

T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class _Known:
    """A class that files know; `build` makes an object of it, of arrays and options.

    A model, which is made of options alone, may need arrays of the file to be made at all: `arrays`
    has their names there, by the options that take them. `weights` says how many it draws, biases
    left out, by those of `_SIZES` that it takes.
    """

    cls: type
    build: Callable[..., Any]
    arrays: Mapping[str, str] = field(default_factory=dict)
    weights: Callable[..., int] | None = None


_LAYERS = {
    cls.__name__: _Known(cls, cls)
    for cls in (
        layers.Affine,
        layers.BatchNorm,
        layers.Dropout,
        layers.Embedding,
        layers.Flatten,
        layers.GELU,
        layers.LayerNorm,
        layers.LeakyReLU,
        layers.MatMul,
        layers.ReLU,
        layers.SiLU,
        layers.Sigmoid,
        layers.Softmax,
        layers.Tanh,
        loss_layers.AbsoluteError,
        loss_layers.AffineSoftmaxWithLoss,
        loss_layers.HuberLoss,
        loss_layers.PoissonLoss,
        loss_layers.SigmoidWithLoss,
        loss_layers.SoftmaxWithLoss,
        loss_layers.SquaredError,
        negative_sampling.EmbeddingDot,
        nodes.Add,
        nodes.Branch,
        nodes.Multiply,
        nodes.Repeat,
        nodes.Sum,
        time_layers.Simple_TimeAffine,
        time_layers.TimeAffine,
        time_layers.TimeBiLSTM,
        time_layers.TimeDropout,
        time_layers.TimeEmbedding,
        time_layers.TimeGRU,
        time_layers.TimeLSTM,
        time_layers.TimeRNN,
        time_layers.TimeSigmoidWithLoss,
        time_layers.TimeSoftmaxWithLoss,
    )
}


def _negative_sampling(W: Array, counts: Array, **options: Any) -> Any:
    return negative_sampling.NegativeSamplingLoss(W, counts=counts, **options)


_LAYERS["NegativeSamplingLoss"] = _Known(negative_sampling.NegativeSamplingLoss, _negative_sampling)

_CHAINS: dict[str, type[Sequential]] = {"Sequential": Sequential, "TwoLayerNet": TwoLayerNet}


_SIZES = ("vocab_size", "wordvec_size", "hidden_size")


def _drawn(cls: type, weights: Callable[..., int], **arrays: str) -> _Known:
    """Return a model that draws its weights, which a file's will overwrite: not from np.random."""
    return _Known(cls, lambda **options: cls(**options, seed=0), arrays, weights)


def _two_tables(V: int, H: int) -> int:
    return 2 * V * H


_COUNTS = {"counts": "loss_layer.counts"}
_MODELS = {
    known.cls.__name__: known
    for known in (
        _drawn(models.SimpleCBOW, _two_tables),
        _drawn(models.SimpleSkipGram, _two_tables),
        _drawn(models.CBOW, _two_tables, **_COUNTS),
        _drawn(models.SkipGram, _two_tables, **_COUNTS),
        # A table, what is recurrent, and the scores; an encoder has the first two too.
        _drawn(models.SimpleRnnlm, lambda V, D, H: V * D + (D + H) * H + H * V),
        _drawn(models.Rnnlm, lambda V, D, H: V * D + 4 * (D + H) * H + H * V),
        _drawn(models.BetterRnnlm, lambda V, D, H: V * D + 4 * (D + 3 * H) * H),
        _drawn(models.Seq2seq, lambda V, D, H: 2 * V * D + 8 * (D + H) * H + H * V),
        _drawn(
            models.PeekySeq2seq, lambda V, D, H: 2 * V * D + 4 * (2 * D + 3 * H) * H + 2 * H * V
        ),
        _drawn(models.AttentionSeq2seq, lambda V, D, H: 2 * V * D + 8 * (D + H) * H + 2 * H * V),
    )
}
_OWN_LAYERS: dict[str, _Known] = {}
_OWN_MODELS: dict[str, _Known] = {}


@overload
def register_layer(
    name: str, cls: None = None, *, build: Callable[..., Any] | None = None
) -> Callable[[T], T]: ...
@overload
def register_layer(name: str, cls: T, *, build: Callable[..., Any] | None = None) -> T: ...
def register_layer(name: str, cls: Any = None, *, build: Callable[..., Any] | None = None) -> Any:
    """Make a layer of your own known to files: `BaseModel.save` and `nnext.load_model`.

    ``register_layer("PReLU", PReLU)``, or ``@register_layer("PReLU")`` before the class. The
    program that loads has to do it too.

    Parameters
    ----------
    name : str
        What the file calls it; none of nnext's own layers. A name that was given before now means
        this class.
    cls : type
        The layer's class. Its method ``config()``, if it has one, returns the options: a dict of
        what JSON knows. ``param_names`` and ``buffer_names`` are what its arrays are called,
        those of ``params`` and of ``buffers``, if it has that list.
    build : callable, optional
        Makes such a layer, ``build(*params, *buffers, **config)``; the class itself if left out.

    Returns
    -------
    type
        The class.

    Raises
    ------
    TypeError
        If something is not what it should be.
    ValueError
        If the name is that of one of nnext's layers.

    Examples
    --------
    >>> @register_layer("Double")
    ... class Double:
    ...     def __init__(self):
    ...         self.params, self.grads = [], []
    ...
    ...     def forward(self, x):
    ...         return 2 * x
    ...
    ...     def backward(self, dout):
    ...         return 2 * dout
    """
    return _register("layer", name, cls, build, _LAYERS, _OWN_LAYERS)


@overload
def register_model(
    name: str, cls: None = None, *, build: Callable[..., Any] | None = None
) -> Callable[[T], T]: ...
@overload
def register_model(name: str, cls: T, *, build: Callable[..., Any] | None = None) -> T: ...
def register_model(name: str, cls: Any = None, *, build: Callable[..., Any] | None = None) -> Any:
    """Make a model of your own known to files, as `register_layer` does a layer.

    Its method ``config()`` returns what ``build(**config)``, by default the class, makes a model
    of, with arrays of the same shapes; the numbers are then written into these. So its layers need
    not be known.

    Parameters
    ----------
    name : str
    cls : type
    build : callable, optional

    Returns
    -------
    type
        The class.

    Raises
    ------
    TypeError, ValueError
        As `register_layer`.
    """
    return _register("model", name, cls, build, {**_CHAINS, **_MODELS}, _OWN_MODELS)


def _register(
    what: str,
    name: Any,
    cls: Any,
    build: Callable[..., Any] | None,
    taken: Mapping[str, Any],
    table: dict[str, _Known],
) -> Any:
    if not isinstance(name, str) or not name:
        raise TypeError(f"name: expected the name of a {what}, got {name!r}")
    if name in taken:
        raise ValueError(f"name: {name!r} is one of nnext's own, take another")
    if build is not None and not callable(build):
        raise TypeError(f"build: expected a function, got {build!r}")
    if cls is None:
        return lambda decorated: _register(what, name, decorated, build, taken, table)
    if not isinstance(cls, type):
        raise TypeError(f"cls: expected the class of a {what}, got {cls!r}")
    table[name] = _Known(cls, cls if build is None else build)
    return cls


# Describing


def describe(model: Any) -> dict[str, Any]:
    """Return what JSON knows of a model, of which `build` makes it again with its arrays.

    Raises
    ------
    TypeError
        If the model or a layer is not known, or has options that cannot be stored.
    """
    cls = type(model)
    name = next((name for name, chain in _CHAINS.items() if chain is cls), None)
    described: dict[str, Any]
    direct: set[str] = set()
    if name is not None:
        *inner, (_, loss) = places(model)
        described = {
            "type": name,
            "layers": [_describe_layer(place, layer) for place, layer in inner],
            "loss": _describe_layer("loss_layer", loss),
        }
        direct = {place for place, _ in places(model)}  # their options have the counters
        inside = {f"{place}.{n}" for place, layer in places(model) for n in layer_arrays(layer)}
        for extra in model_arrays(model).keys() - inside:
            raise TypeError(f"{extra} belongs to the model alone, and files have those of layers")
    else:
        known_models = {**_OWN_MODELS, **_MODELS}
        name = next((n for n, known in known_models.items() if known.cls is cls), None)
        if name is None:
            raise TypeError(
                f"{cls.__name__} is a model that files do not know: give it a method config() and "
                f'call nnext.register_model("{cls.__name__}", {cls.__name__})'
            )
        config = pack(f"{cls.__name__}.config()", model.config())
        _check_call(name, known_models[name], (), config)
        described = {"type": name, "config": config}
    described["shared"] = {
        name: [first, turned] for name, (first, turned) in shared_names(model_arrays(model)).items()
    }
    described["counters"] = {
        place: numbers for place, numbers in counters(model).items() if place not in direct
    }
    return described


def _describe_layer(place: str, layer: Any) -> dict[str, Any]:
    cls = type(layer)
    tables = (_LAYERS, _OWN_LAYERS)
    found = ((n, known) for table in tables for n, known in table.items() if known.cls is cls)
    name, known = next(found, ("", None))
    if known is None:
        raise TypeError(
            f"{place}: {cls.__name__} is a layer that files do not know; call "
            f'nnext.register_layer("{cls.__name__}", {cls.__name__})'
        )
    config = pack(f"{place}: {cls.__name__}.config()", _config_of(layer))
    arrays = list(layer_arrays(layer))
    n = len(layer.params)
    _check_call(f"{place}: {name}", known, arrays, config)
    return {"type": name, "params": arrays[:n], "buffers": arrays[n:], "config": config}


def _config_of(layer: Any) -> Any:
    config = getattr(layer, "config", None)
    return config() if callable(config) else {}


def _check_call(name: str, known: _Known, arrays: Any, config: Any) -> None:
    """Refuse to store what could not be made again."""
    if not isinstance(config, dict):
        raise TypeError(f"{name}: expected a dict from config(), got {type(config).__name__}")
    try:
        inspect.signature(known.build).bind(*arrays, **config)
    except TypeError as error:
        raise TypeError(
            f"{name}: it could not be made again of {len(arrays)} arrays and the options "
            f"{sorted(config)}, {error}; they are what its method config() returns"
        ) from None
    except ValueError:  # a compiled function may have no signature to read
        return


# Making again


def build(described: Any, arrays: Mapping[str, Array]) -> Any:
    """Make the model that `describe` was given.

    Parameters
    ----------
    described : object
        Of a file: it may be anything.
    arrays : mapping of str to ndarray
        Of each memory one; they become the model's own.

    Raises
    ------
    ValueError, TypeError
        If they do not describe a model that is known.
    """
    expect("model", described, dict)
    name = expect("model: type", described.get("type"), str)
    if name in _CHAINS:
        return _build_chain(_CHAINS[name], described, arrays)
    known = _MODELS.get(name) or _OWN_MODELS.get(name)
    if known is None:
        raise ValueError(
            f"an unknown model {name!r}; if it is your own, call nnext.register_model first"
        )
    entries = expect_keys("model", described, ["type", "config", "shared", "counters"])
    config = unpack(expect("model: config", entries["config"], dict))
    if known.weights is not None:
        _check_sizes(known.cls, known.weights, config, arrays)
    for place in known.arrays.values():
        if place not in arrays:
            raise ValueError(f"there is no array {place}")
    model = known.build(**config, **{n: arrays[place] for n, place in known.arrays.items()})
    load_state(model_arrays(model), arrays, what=name)
    _set_counters(model, entries["counters"])
    return model


def _check_sizes(
    cls: type, weights: Callable[..., int], config: dict[str, Any], arrays: Mapping[str, Array]
) -> None:
    """Refuse sizes of more weights than the file has, before so many are drawn."""
    taken = inspect.signature(cls).parameters
    sizes = {
        name: expect(f"model: config: {name}", config.get(name), int)
        for name in _SIZES
        if name in taken
    }
    dtype = expect("model: config: dtype", config.get("dtype"), str)
    wanted = weights(*sizes.values())
    have = sum(a.size for a in arrays.values() if a.dtype.name == dtype)
    if wanted > have:
        raise ValueError(
            f"model: config: a model with {', '.join(f'{n}={size}' for n, size in sizes.items())} "
            f"has {wanted} weights, the file has {have} numbers of type {dtype}"
        )


def _build_chain(
    cls: type[Sequential], described: dict[str, Any], arrays: Mapping[str, Array]
) -> Any:
    names = ["type", "layers", "loss", "shared", "counters"]
    entries = expect_keys("model", described, names)
    named = _with_shared(arrays, entries["shared"])
    inner = [
        _build_layer(f"layers.{i}", layer, named)
        for i, layer in enumerate(expect("model: layers", entries["layers"], list))
    ]
    loss = _build_layer("loss_layer", entries["loss"], named)
    if named:
        raise ValueError(f"arrays that no layer has: {', '.join(sorted(named))}")
    model: Any = cls.__new__(cls)
    Sequential.__init__(model, inner, loss)
    own = own_arrays(model_arrays(model))
    if own.keys() != arrays.keys():
        raise ValueError(f"arrays that no layer has: {sorted(own.keys() ^ arrays.keys())}")
    direct = {place for place, _ in places(model)}
    _set_counters(model, entries["counters"], direct)
    return model


def _with_shared(arrays: Mapping[str, Array], shared: Any) -> dict[str, Array]:
    """Return the arrays with those that have the memory of another one."""
    named = dict(arrays)
    for name, entry in expect("model: shared", shared, dict).items():
        where = f"model: shared {name}"
        if name in named or len(expect(where, entry, list)) != 2:
            raise ValueError(f"{where}: expected the name of an array, and whether it is turned")
        first, turned = expect(where, entry[0], str), expect(where, entry[1], bool)
        if first not in arrays:
            raise ValueError(f"{where}: there is no array {first!r}")
        named[name] = arrays[first].T if turned else arrays[first]
    return named


def _build_layer(place: str, described: Any, named: dict[str, Array]) -> Any:
    entries = expect_keys(place, described, ["type", "params", "buffers", "config"])
    name = expect(f"{place}: type", entries["type"], str)
    known = _LAYERS.get(name) or _OWN_LAYERS.get(name)
    if known is None:
        raise ValueError(
            f"{place}: an unknown layer {name!r}; if it is your own, call nnext.register_layer "
            "first"
        )
    config = unpack(expect(f"{place}: config", entries["config"], dict))
    names = []
    for kind in ("params", "buffers"):
        for n in expect(f"{place}: {kind}", entries[kind], list):
            names.append(expect(f"{place}: {kind}", n, str))
    given = []
    for n in names:
        if f"{place}.{n}" not in named:
            raise ValueError(f"there is no array {place}.{n}")
        given.append(named.pop(f"{place}.{n}"))
    try:
        layer = known.build(*given, **config)
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        raise ValueError(f"{place}: {name}: {error}") from error
    if list(layer_arrays(layer)) != names:
        raise ValueError(f"{place}: expected arrays {list(layer_arrays(layer))}, got {names}")
    return layer


def _set_counters(model: Any, saved: Any, direct: set[str] | None = None) -> None:
    have = counters(model)
    given = expect("model: counters", saved, dict)
    of_layers = {place: numbers for place, numbers in have.items() if place in (direct or set())}
    for part, name, value in match_counters(model, {**of_layers, **given}):
        setattr(part, name, value)
