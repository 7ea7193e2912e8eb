"""The work of making, saving and loading a model grows as its layers do, not as their square."""

import sys

import numpy as np
import pytest

import nnext._gathered
import nnext._optimizer_options
from nnext import SGD, Affine, Momentum, Sequential, Sigmoid, Trainer, load_model

X, T = np.ones((4, 1), np.float32), np.array([0, 1, 0, 1])


def layers(n):
    inner = [
        Affine(np.ones((1, 1), np.float32), np.zeros(1, np.float32)) if i % 2 else Sigmoid()
        for i in range(n)
    ]
    return [*inner, Affine(np.ones((1, 2), np.float32), np.zeros(2, np.float32))]


def steps_of(function):
    """Count the calls of a function, and how often a generator in it goes on."""
    count = 0

    def note(frame, event, arg):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def make(n, path):
    return lambda: Sequential(layers(n))


def change(n, path):
    model = Sequential(layers(n))
    model.layers.append(Sigmoid())
    return lambda: model.scores(X)


def state(n, path):
    model = Sequential(layers(n))
    return lambda: model.load_state_dict(model.state_dict())


def files(n, path):
    model = Sequential(layers(n))

    def save_and_load():
        model.save(path)
        load_model(path)

    return save_and_load


def params(n, path):
    model = Sequential(layers(n))

    def save_and_load():
        model.save_params(path)
        model.load_params(path)

    return save_and_load


def checkpoint(n, path):
    model = Sequential(layers(n))
    trainer = Trainer(model, Momentum(), seed=0)

    def train_and_resume():
        trainer.fit(X, T, 1, progress="none")
        trainer.save_checkpoint(path)
        Trainer.resume(path, model, Momentum())

    return train_and_resume


@pytest.mark.parametrize("work", [make, change, state, files, params, checkpoint])
def test_twice_as_many_layers_are_twice_the_work(work, tmp_path):
    if work in (files, checkpoint):
        pytest.importorskip("safetensors")
    path = tmp_path / "file"
    work(4, path)()  # what is done once in a process
    few, many = (steps_of(work(n, path)) for n in (300, 600))
    assert few > 300
    assert many < 2.1 * few


class Counted(int):
    """A number that counts how often it is compared."""

    compared = 0

    def __eq__(self, other):
        Counted.compared += 1
        return int(self) == int(other)

    def __hash__(self):
        return hash(int(self))


@pytest.mark.parametrize("n", [50, 100])
def test_arrays_that_models_gathered_are_not_compared_each_with_each(n, monkeypatch):
    find_shared = nnext._gathered.find_shared
    model = Sequential(layers(n))
    monkeypatch.setattr(
        nnext._gathered,
        "find_shared",
        lambda arrays: [(Counted(i), turned) for i, turned in find_shared(arrays)],
    )
    Counted.compared = 0
    nnext._gathered.check_gathered(model)
    assert Counted.compared <= 8 * n


@pytest.mark.parametrize("n", [50, 100])
def test_arrays_of_groups_are_looked_up(n, monkeypatch):
    memory = nnext._optimizer_options.memory
    weights = [np.ones((2, 1)) for _ in range(n)]
    grads = [np.ones((2, 1)) for _ in range(n)]
    optimizer = SGD(0.5, groups=[{"params": [w.T for w in weights[::-1]], "lr": 0.25}])
    monkeypatch.setattr(
        nnext._optimizer_options, "memory", lambda p: (Counted(memory(p)[0]), *memory(p)[1:])
    )
    Counted.compared = 0
    optimizer.update(weights, grads)
    assert 0 < Counted.compared <= 8 * n
    assert all((w == 0.75).all() for w in weights)
