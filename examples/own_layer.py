"""A layer of your own, written in NumPy, among nnext's: checked, then trained.

What a layer must keep: `params` and `grads` are lists of arrays of the same shapes; `forward`
remembers what `backward` needs; `backward` writes the gradients into `grads[i]` (it never puts
another array there) and returns the gradient of its input.
"""

import numpy as np

from nnext import Adam, Sequential, Trainer, affine, check_gradients
from nnext.datasets import spiral


class PReLU:
    """``max(x, 0) + a min(x, 0)`` with a learned slope `a` for each column (He et al., 2015)."""

    def __init__(self, a):
        self.params = [a]
        self.grads = [np.zeros_like(a)]

    def forward(self, x):
        """Return an array of the shape of x (N, H)."""
        self.x = x
        return np.where(x > 0, x, self.params[0] * x)

    def backward(self, dout):
        """Write the gradient of the slopes, return the gradient of x."""
        positive = self.x > 0
        self.grads[0][...] = np.where(positive, 0, dout * self.x).sum(axis=0)
        return np.where(positive, dout, self.params[0] * dout)


def make_model(dtype):
    """Build two of nnext's layers with one of ours between them."""
    rng = np.random.RandomState(0)
    slopes = np.full(20, 0.25, dtype=dtype)
    return Sequential(
        [affine(2, 20, rng, dtype=dtype), PReLU(slopes), affine(20, 3, rng, dtype=dtype)]
    )


def main():
    """Compare the gradients with central differences, then train."""
    x, t = spiral()

    # In float64, where central differences are accurate.
    check = check_gradients(make_model(np.float64), x[::10], t[::10])
    print(check)
    if not check.ok:
        raise SystemExit("PReLU.backward is wrong")

    model = make_model(np.float32)
    trainer = Trainer(model, Adam(lr=0.01), seed=0)
    trainer.fit(x, t, max_epoch=100, batch_size=30, eval_interval=100, progress="lines")
    slopes = model.layers[1].params[0]
    print(f"accuracy {model.accuracy(x, t):.1%}, slopes {slopes.min():.2f} to {slopes.max():.2f}")


if __name__ == "__main__":
    main()
