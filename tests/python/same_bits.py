"""What every machine has to compute from the same numbers, by name: the hashes of same_bits.txt.

    python same_bits.py            prints the hashes of this process, one JSON object
    python same_bits.py --write    writes ../same_bits.txt, unless two runs disagree: one run for
                                   each instruction set that the package was built with

tests/cpp/recorded.h draws and hashes in the same way, tests/cpp/same_bits*_test.cpp compute most of
these cases from the core alone.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import nnext
from nnext import _nnext, _recurrent, demo, functions, layers, negative_sampling, optimizer

FILE = Path(__file__).parents[1] / "same_bits.txt"
THREADS = (1, 2, 3, 8)
MANY = 70000
_U64 = np.uint64


def split_mix(state):
    """Give the first number of each SplitMix64 generator."""
    z = np.asarray(state, _U64) + _U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U64(27))) * _U64(0x94D049BB133111EB)
    return z ^ (z >> _U64(31))


def drawn(dtype, seed, *shape):
    """Draw uniformly from [-1, 1) with every digit in use; nothing here rounds."""
    digits = np.finfo(dtype).nmant + 1
    states = _U64(seed * 1_000_000_007) + np.arange(np.prod(shape), dtype=_U64)
    whole = (split_mix(states) >> _U64(64 - digits)).astype(dtype)
    return (whole / dtype(2 ** (digits - 1)) - dtype(1)).reshape(shape)


def hash_of(*arrays):
    """Mix the bits of each element with its place and sum up."""
    bits = []
    for array in arrays:
        array = np.ascontiguousarray(array).ravel()
        assert not np.isnan(array).any(), "a NaN has many bits"
        bits.append(array.view(f"u{array.itemsize}").astype(_U64))
    bits = np.concatenate(bits)
    places = split_mix(np.arange(1, len(bits) + 1, dtype=_U64))
    return f"{split_mix(places ^ bits).sum(dtype=_U64):016x}"


def read():
    """Give the recorded hashes by name."""
    lines = FILE.read_text(encoding="ascii").splitlines()
    return dict(reversed(line.split(" ", 1)) for line in lines if not line.startswith("#"))


# --- the cases: each yields names and the arrays that have them ---

SIZES = [
    (1, 10, 10),
    (3, 7, 3),
    (40, 300, 5),
    (63, 65, 67),
    (32, 64, 100),
    (24, 2100, 40),
    (3, 700, 400),
    (300, 4, 200),
    (4, 1030, 3),
    (260, 1100, 200),
]


def products(dtype):
    for m, k, n in SIZES:
        yield f"matmul ({m}, {k}, {n})", nnext.matmul(drawn(dtype, 1, m, k), drawn(dtype, 2, k, n))
    a, b = drawn(dtype, 1, 2, 1, 40, 60), drawn(dtype, 2, 3, 60, 50)
    yield "matmul (2, 1, 40, 60) (3, 60, 50)", nnext.matmul(a, b)
    layer = layers.Affine(drawn(dtype, 2, 90, 50), drawn(dtype, 3, 50))
    yield "affine (70, 90, 50)", layer.forward(drawn(dtype, 1, 70, 90))
    dx = layer.backward(drawn(dtype, 4, 70, 50))
    yield "affine backward (70, 90, 50)", [dx, *layer.grads]


def long_sums(dtype):
    """Sum more terms than one chain may have."""
    k = 20_000
    a, b = drawn(dtype, 1, 3, k), drawn(dtype, 2, k, 5)
    yield "matmul (3, 20000, 5)", nnext.matmul(a, b)
    layer = layers.Affine(drawn(dtype, 2, 9, 20), drawn(dtype, 3, 20))
    layer.forward(drawn(dtype, 1, k, 9))
    yield "affine backward (20000, 9, 20)", [layer.backward(drawn(dtype, 4, k, 20)), *layer.grads]
    layer = layers.Embedding(drawn(dtype, 1, 3, 4))
    layer.forward(np.arange(k) * 7919 % 3)
    layer.backward(drawn(dtype, 2, k, 4))
    yield "embedding backward (20000, 4)", layer.grads[0]
    yield "sum over axis 0 (20000, 7)", _nnext.sum(drawn(dtype, 1, k, 7), 0)


def element_by_element(dtype):
    limits = np.finfo(dtype)
    specials = np.array([0, 1, limits.smallest_subnormal, limits.tiny, limits.max, np.inf], dtype)
    functions = {"exp": 100, "log": 100, "sigmoid": 20, "tanh": 10, "relu": 1}
    of_input = {"silu": 100, "gelu": 15, "gelu_tanh": 12}
    for name, scale in (functions | of_input).items():
        x = drawn(dtype, 1, MANY) * dtype(scale)
        x[:12] = np.stack([specials, -specials], axis=1).ravel()
        yield name, getattr(_nnext, name)(np.abs(x) if name == "log" else x)
    y, dout = drawn(dtype, 1, MANY), drawn(dtype, 2, MANY)
    for name in ("sigmoid", "tanh", "relu"):
        yield f"{name} backward", getattr(_nnext, f"{name}_backward")(y, dout)
    for name, scale in of_input.items():
        yield f"{name} backward", getattr(_nnext, f"{name}_backward")(y * dtype(scale), dout)
    x = y.copy()
    x[:12] = np.stack([specials, -specials], axis=1).ravel()
    leaked = _nnext.leaky_relu(x, 0.01)
    yield "leaky_relu and backward", [leaked, _nnext.leaky_relu_backward(leaked, dout, 0.01)]
    dropped, mask = _nnext.dropout_forward(y, 0.3, 12345, 7)
    yield "dropout", [dropped, _nnext.dropout_backward(y, mask, 0.3)]


def losses(dtype):
    for n, c in [(200, 3), (300, 10), (70, 1000), (3, 20011)]:
        t = np.arange(n) * 7919 % c
        x = drawn(dtype, 1, n, c) * dtype(30)
        x[0, 1] = -np.inf
        x[1, t[1]] = np.float32(1e30)
        y = functions.softmax(x)
        dx = _nnext.softmax_backward(y, drawn(dtype, 2, n, c))
        yield f"softmax and backward ({n}, {c})", [y, dx]
        layer = layers.SoftmaxWithLoss()
        loss = layer.forward(x, t)
        yield f"softmax_loss y and backward ({n}, {c})", [layer.y, layer.backward(0.7)]
        yield f"losses ({n}, {c})", np.array([loss, functions.cross_entropy_error(layer.y, t)])
        soft = np.zeros((n, c), dtype)
        soft[np.arange(n), t] = 0.75
        soft[np.arange(n), (t + 2) % c] = 0.25
        x[0, 1] = 0
        layer = layers.SoftmaxWithLoss(label_smoothing=0.1, class_weight=drawn(dtype, 4, c) + 2)
        loss = layer.forward(x, soft)
        yield f"softmax_loss of soft targets ({n}, {c})", np.array([loss])
        yield f"softmax_loss backward of soft targets ({n}, {c})", layer.backward(0.7)
    x, t = drawn(dtype, 1, MANY) * dtype(30), drawn(dtype, 2, MANY) * dtype(0.5) + dtype(0.5)
    layer = layers.SigmoidWithLoss()
    loss = layer.forward(x, t)
    yield "sigmoid_loss y and backward", [layer.y, layer.backward(0.7)]
    yield "sigmoid_loss", np.array([loss * MANY])


def losses_of_single_scores(dtype):
    for n, c in [(MANY, 1), (300, 37)]:
        x = drawn(dtype, 1, n, c) * dtype(30)
        t = drawn(dtype, 2, n, c) * dtype(0.5) + dtype(0.5)
        for kind in ("squared", "absolute", "huber", "poisson", "binary"):
            weight = drawn(dtype, 3, c) + dtype(2) if kind == "binary" else None
            options = kind, "sum", 3.0, weight
            loss, _, y, t, *_ = _nnext.element_loss_forward(x, t, *options, None)
            dx = _nnext.element_loss_backward(y, t, *options, None, None, 0.7 / n)
            yield f"{kind} loss and backward ({n}, {c})", [y, dx, np.array([loss])]


def linear_losses(dtype):
    for n, d, v in [(37, 9, 133), (64, 70, 3000)]:
        x, W, b = drawn(dtype, 1, n, d), drawn(dtype, 2, d, v), drawn(dtype, 3, v)
        t = np.arange(n) * 7919 % v
        options = {
            "label_smoothing": 0.1,
            "class_weight": drawn(dtype, 4, v) + dtype(1),
            "sample_weight": drawn(dtype, 5, n) + dtype(1),
            "z_loss": 0.01,
            "softcap": 3.0,
            "ignore_label": int(t[3]),
        }
        for name, kwargs in [("", {}), (" with options", options)]:
            loss, *grads = functions.linear_cross_entropy_with_grad(x, W, t, b, **kwargs)
            yield f"linear_cross_entropy{name} ({n}, {d}, {v})", np.array([loss])
            yield f"linear_cross_entropy backward{name} ({n}, {d}, {v})", grads


def normalizations(dtype):
    for n, d in [(200, 3), (300, 37), (70, 1000), (3, 20011), (20011, 3)]:
        x, dout = drawn(dtype, 1, n, d) * dtype(3) + dtype(1), drawn(dtype, 2, n, d)
        params = drawn(dtype, 3, d), drawn(dtype, 4, d)
        for layer in (layers.LayerNorm(*params), layers.BatchNorm(*params)):
            y = layer.forward(x)
            dx = layer.backward(dout)
            name = {"LayerNorm": "layer_norm", "BatchNorm": "batch_norm"}[type(layer).__name__]
            yield f"{name} and backward ({n}, {d})", [y, dx, *layer.grads, *layer._moments]
            if layer.buffers:
                yield f"running statistics ({n}, {d})", layer.buffers


def recurrent_layers(dtype):
    kinds = {
        "rnn": (_recurrent.TimeRNN, 1, 1, {}),
        "lstm": (_recurrent.TimeLSTM, 4, 4, {}),
        "gru": (_recurrent.TimeGRU, 3, 3, {}),
        "gru, reset after,": (_recurrent.TimeGRU, 3, 4, {"reset_after": True}),
    }
    for n, t, d, h in [(5, 7, 3, 33), (9, 3, 20, 100), (8, 17, 5, 35)]:
        for name, (layer_of, gates, biases, options) in kinds.items():
            Wx, Wh = drawn(dtype, 1, d, gates * h), drawn(dtype, 2, h, gates * h) * dtype(0.25)
            layer = layer_of(Wx, Wh, drawn(dtype, 3, biases * h), stateful=True, **options)
            layer.set_state(drawn(dtype, 4, n, h), *[drawn(dtype, 5, n, h)] * (name == "lstm"))
            hs = layer.forward(drawn(dtype, 6, n, t, d))
            dxs = layer.backward(drawn(dtype, 7, n, t, h))
            cells = [layer.c, layer.dc] if name == "lstm" else []
            results = [hs, dxs, layer.dh, *cells, *layer.grads]
            yield f"{name} and backward ({n}, {t}, {d}, {h})", results


def tables_and_sums(dtype):
    layer = layers.Embedding(drawn(dtype, 1, 50, 40))
    yield "embedding", layer.forward(np.arange(3000) * 7919 % 50)
    layer.backward(drawn(dtype, 2, 3000, 40))
    yield "embedding backward", layer.grads[0]
    dot = negative_sampling.EmbeddingDot(drawn(dtype, 1, 60, 70))
    h, idx = drawn(dtype, 2, 200, 70), (np.arange(1200) * 7919 % 60).reshape(200, 6)
    yield "embedding dot", dot.forward(h, idx)
    dh = dot.backward(drawn(dtype, 3, 200, 6))
    yield "embedding dot backward", [dh, dot.grads[0]]
    W = drawn(dtype, 1, 60, 70)
    loss, y, index = _nnext.negative_sampling_forward(h, W, idx[:, 0], idx[:, 1:])
    dW = np.empty_like(W)
    dh = _nnext.negative_sampling_backward(y, h, W, index, 1, dW, 1.0)
    yield "negative sampling", [np.array([loss]), y, dh, dW]
    x = drawn(dtype, 1, 40, 50, 60)
    for axis in range(3):
        yield f"sum over axis {axis}", _nnext.sum(x, axis)
    yield "sum", _nnext.sum(x)
    yield "norm", np.array([_nnext.clip_grads([x], 1e9)])
    grads = [x.copy(), drawn(dtype, 2, 77)]
    norm = np.array([_nnext.clip_grads(grads, 5.0)])
    yield "clip_grads", np.concatenate([norm, *(g.ravel().astype(np.float64) for g in grads)])


def optimizers(dtype):
    g = drawn(dtype, 2, MANY)
    steps = {
        "sgd": [0.03],
        "momentum": [0.03, 0.85],
        "nesterov": [0.03, 0.85],
        "adagrad": [0.03, 1e-7],
        "rmsprop": [0.03, 0.97, 1e-7],
        "adam": [0.03, 0.8, 0.95, 1e-8, 1.3, 0.02],
    }
    for name, numbers in steps.items():
        p = drawn(dtype, 1, MANY)
        states = [[np.zeros_like(p)] for _ in range({"sgd": 0, "adam": 2}.get(name, 1))]
        for _ in range(3):
            getattr(_nnext, f"{name}_update")([p], [g], *states, *numbers)
        yield name, p
    for name in optimizer.__all__:
        p, updater = drawn(dtype, 1, 1000), getattr(optimizer, name)()
        for step in range(20):
            updater.update([p], [drawn(dtype, 3 + step, 1000)])
        yield f"20 updates of {name}", p


def trained():
    """Train the demo's network for three epochs on the demo's data."""
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    options = parser.parse_args(["--epochs", "3"])
    data = demo._load(options)
    model = demo._build(data, options)
    make, rate = demo._OPTIMIZERS[options.optimizer]
    with contextlib.redirect_stdout(io.StringIO()):
        demo._train(model, make(lr=rate), data, options.epochs, options)
    yield "weights of the digits demo after 3 epochs", model.params


CASES = (
    products,
    long_sums,
    element_by_element,
    losses,
    losses_of_single_scores,
    linear_losses,
    normalizations,
    recurrent_layers,
    tables_and_sums,
    optimizers,
)


def hashes():
    """Compute every case on the threads and with the instruction set in use."""
    found = {"the hash of 1, 2, 0": hash_of(np.array([1, 2, 0], np.float32))}
    for dtype in (np.float32, np.float64):
        for case in CASES:
            for name, result in case(dtype):
                results = result if isinstance(result, list) else [result]
                found[f"{name} {dtype.__name__}"] = hash_of(*results)
    for name, result in trained():
        found[name] = hash_of(*result)
    return found


def hashes_under(isa):
    """Compute them in a process with an instruction set of its own: {threads: hashes}."""
    done = subprocess.run(
        [sys.executable, "-P", __file__],
        env=os.environ | {"NNEXT_ISA": isa},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {int(threads): found for threads, found in json.loads(done.stdout).items()}


def write():
    runs = {
        (isa, threads): found
        for isa in nnext.show_config("dicts")["isa_available"]
        for threads, found in hashes_under(isa).items()
    }
    first, *others = runs
    for name in runs[first]:
        for other in others:
            if runs[other][name] != runs[first][name]:
                sys.exit(f"not written: {first} and {other} (threads) disagree on {name}")
    head = "# Written by tests/python/same_bits.py --write; CONTRIBUTING.md says when.\n"
    lines = [f"{found} {name}\n" for name, found in runs[first].items()]
    FILE.write_text(head + "".join(lines), encoding="ascii")
    print(f"{FILE}: {len(lines)} hashes, the same in {len(runs)} runs")


def main():
    if sys.argv[1:] == ["--write"]:
        write()
        return
    found = {}
    for threads in THREADS:
        nnext.set_num_threads(threads)
        found[threads] = hashes()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
