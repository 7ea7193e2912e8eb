"""Take a network over from PyTorch, keep its first layers, train the rest on another task.

The network tells the three arms of a spiral apart; then the same layers are to say with few points
whether a point is on the third arm. PyTorch trains the network if it is installed; without it the
weights are a dict of NumPy arrays of the names and shapes that PyTorch gives them.

Needs safetensors for the file: ``pip install ".[files]"``.
"""

import tempfile
from pathlib import Path

import numpy as np

import nnext
from nnext import Adam, ReLU, Sequential, Trainer, affine
from nnext.datasets import spiral
from nnext.torch_weights import from_torch, to_torch


def make_model():
    """Build the layers of the network that is taken over; what they hold does not matter yet."""
    first, second, last = affine(2, 32, seed=0), affine(32, 16, seed=1), affine(16, 3, seed=2)
    return Sequential([first, ReLU(), second, ReLU(), last])


def pretrained(x, t):
    """Return the ``state_dict()`` of a trained network, and its scores of x."""
    try:
        import torch
    except ModuleNotFoundError:
        model = make_model()
        Trainer(model, Adam(lr=0.01), seed=0).fit(x, t, 100, 30, progress="none")
        state = to_torch(model)
        h1 = np.maximum(x @ state["0.weight"].T + state["0.bias"], 0)
        h2 = np.maximum(h1 @ state["2.weight"].T + state["2.bias"], 0)
        return state, h2 @ state["4.weight"].T + state["4.bias"]
    torch.manual_seed(0)
    nn = torch.nn
    network = nn.Sequential(
        nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(t)
    for _ in range(1000):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return network.state_dict(), network(inputs).detach().numpy()


def main():
    """Take over, compare, train what is to be new, save, load, compare."""
    x, t = spiral(seed=0)
    t = t.argmax(axis=1)
    state, scores = pretrained(x, t)
    print("taken over:", ", ".join(f"{name} {tuple(a.shape)}" for name, a in state.items()))

    model = make_model()
    from_torch(state, model)
    same = np.allclose(model.scores(x), scores, rtol=1e-5, atol=1e-5)
    print(f"the same scores, but for roundings: {same}")
    print(f"{model.accuracy(x, t):.1%} of the points are on the right arm")

    # Another task, from 60 points: a new last layer, and the others at rates of their own.
    first, _, second, *_ = model.layers
    tuned = Sequential([*model.layers[:-1], affine(16, 2, seed=3)])
    optimizer = Adam(
        lr=0.01,
        groups=[
            {"params": first.params, "lr": 0.0},  # stays as it is
            {"params": second.params, "lr": 0.001},
        ],
    )
    before = [p.copy() for p in tuned.params]
    few = np.random.default_rng(0).permutation(len(x))[:60]
    third = (t == 2).astype(np.int64)
    Trainer(tuned, optimizer, seed=0).fit(x[few], third[few], 60, 10, progress="none")
    for name, p, old in zip(tuned.state_dict(), tuned.params, before, strict=True):
        print(f"{name} moved by up to {abs(p - old).max():.3f}")
    others = np.setdiff1d(np.arange(len(x)), few)
    print(f"third arm or not: {tuned.accuracy(x[others], third[others]):.1%} of the others right")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "third_arm.safetensors"
        tuned.save(path)
        loaded = nnext.load_model(path)
    print("saved, loaded, the same bits:", np.array_equal(loaded.scores(x), tuned.scores(x)))


if __name__ == "__main__":
    main()
