"""The book's spiral (chapter 1.4) with every step of the learning method written out.

The network is a plain class of its own, the loop is the book's; only the layers, their gradients
and the optimizer's step are nnext's. Compare `digits.py`, where `Sequential` and `Trainer` do this.
"""

import numpy as np

from nnext.datasets import spiral
from nnext.layers import Affine, Sigmoid, SoftmaxWithLoss
from nnext.optimizer import SGD


class TwoLayerNet:
    """Affine, sigmoid, affine, and softmax with loss."""

    def __init__(self, input_size, hidden_size, output_size):
        W1 = 0.01 * np.random.randn(input_size, hidden_size)
        W2 = 0.01 * np.random.randn(hidden_size, output_size)
        self.layers = [
            Affine(W1.astype(np.float32), np.zeros(hidden_size, dtype=np.float32)),
            Sigmoid(),
            Affine(W2.astype(np.float32), np.zeros(output_size, dtype=np.float32)),
        ]
        self.loss_layer = SoftmaxWithLoss()
        # The layers' own arrays: the optimizer writes into params, backward into grads.
        self.params, self.grads = [], []
        for layer in self.layers:
            self.params += layer.params
            self.grads += layer.grads

    def scores(self, x):
        """Forward through the layers: one score for each class."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def forward(self, x, t):
        """Return the mean loss of a batch."""
        return self.loss_layer.forward(self.scores(x), t)

    def backward(self):
        """Go back from the loss, in reverse order: every layer fills its grads."""
        dout = self.loss_layer.backward()
        for layer in reversed(self.layers):
            dout = layer.backward(dout)


def main():
    """Train on mini-batches, print the loss every thirty epochs."""
    max_epoch, batch_size = 300, 30
    np.random.seed(0)
    x, t = spiral()
    model = TwoLayerNet(input_size=2, hidden_size=10, output_size=3)
    optimizer = SGD(lr=1.0)

    for epoch in range(1, max_epoch + 1):
        order = np.random.permutation(len(x))
        total_loss = 0.0
        for first in range(0, len(x), batch_size):
            batch = order[first : first + batch_size]
            loss = model.forward(x[batch], t[batch])
            model.backward()
            optimizer.update(model.params, model.grads)
            total_loss += loss * len(batch)
        if epoch % 30 == 0:
            print(f"| epoch {epoch:3d} | loss {total_loss / len(x):.4f} |")

    right = np.mean(model.scores(x).argmax(axis=1) == t.argmax(axis=1))
    print(f"{right:.1%} of the points are on the right arm")


if __name__ == "__main__":
    main()
