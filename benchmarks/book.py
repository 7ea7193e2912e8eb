"""The method's own NumPy code, to compare with: common/ of "Deep Learning from Scratch 2".

The formulas and the order of operations are the book's. ReLU, Tanh, LeakyReLU, SiLU, GELU and
LayerNorm, which the book does not have, are written as NumPy's users write them; BatchNorm is that
of the book before it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# PyTorch's Adam adds eps after the bias correction of the root, the book before. With this one the
# first step, the one that is checked, is the same.
TORCH_EPS = 1e-7 / (1 - 0.999) ** 0.5


def softmax(x: Array) -> Array:
    x = x - x.max(axis=1, keepdims=True)
    x = np.exp(x)
    x /= x.sum(axis=1, keepdims=True)
    return x


def cross_entropy_error(y: Array, t: Array) -> Any:
    batch_size = y.shape[0]
    return -np.sum(np.log(y[np.arange(batch_size), t] + 1e-7)) / batch_size


class SoftmaxWithLoss:
    def forward(self, x: Array, t: Array) -> Any:
        self.t = t
        self.y = softmax(x)
        return cross_entropy_error(self.y, self.t)

    def backward(self, dout: float = 1) -> Array:
        batch_size = self.t.shape[0]
        dx: Array = self.y.copy()
        dx[np.arange(batch_size), self.t] -= 1
        dx *= dout
        dx = dx / batch_size
        return dx


class Affine:
    def __init__(self, W: Array, b: Array) -> None:
        self.params = [W, b]
        self.grads = [np.zeros_like(W), np.zeros_like(b)]

    def forward(self, x: Array) -> Array:
        W, b = self.params
        out: Array = np.dot(x, W) + b
        self.x = x
        return out

    def backward(self, dout: Array) -> Array:
        W, _ = self.params
        dx: Array = np.dot(dout, W.T)
        dW = np.dot(self.x.T, dout)
        db = np.sum(dout, axis=0)
        self.grads[0][...] = dW
        self.grads[1][...] = db
        return dx


class Sigmoid:
    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []

    def forward(self, x: Array) -> Array:
        self.out: Array = 1 / (1 + np.exp(-x))
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * (1.0 - self.out) * self.out


class ReLU:
    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []

    def forward(self, x: Array) -> Array:
        self.out = np.maximum(x, 0)
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * (self.out > 0)


class Tanh:
    def forward(self, x: Array) -> Array:
        self.out: Array = np.tanh(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        dx: Array = dout * (1 - self.out**2)
        return dx


class LeakyReLU:
    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.where(x > 0, x, self.slope * x)

    def backward(self, dout: Array) -> Array:
        return np.where(self.x > 0, dout, self.slope * dout)


class SiLU:
    def forward(self, x: Array) -> Array:
        self.x = x
        self.y: Array = 1 / (1 + np.exp(-x))
        out: Array = x * self.y
        return out

    def backward(self, dout: Array) -> Array:
        dx: Array = dout * self.y * (1 + self.x * (1 - self.y))
        return dx


class GELU:
    """By tanh: NumPy has no error function."""

    root = (2 / np.pi) ** 0.5

    def forward(self, x: Array) -> Array:
        self.x = x
        self.tanh: Array = np.tanh(self.root * (x + 0.044715 * x * x * x))
        out: Array = 0.5 * x * (1 + self.tanh)
        return out

    def backward(self, dout: Array) -> Array:
        x, y = self.x, self.tanh
        inner = self.root * (1 + 3 * 0.044715 * x * x)
        dx: Array = dout * (0.5 * (1 + y) + 0.5 * x * (1 - y * y) * inner)
        return dx


class Softmax:
    def forward(self, x: Array) -> Array:
        self.out = softmax(x)
        return self.out

    def backward(self, dout: Array) -> Array:
        dx: Array = self.out * dout
        sumdx = np.sum(dx, axis=1, keepdims=True)
        dx -= self.out * sumdx
        return dx


class LayerNorm:
    axis = 1

    def __init__(self, gamma: Array, beta: Array, eps: float = 1e-5) -> None:
        self.params = [gamma, beta]
        self.grads = [np.zeros_like(gamma), np.zeros_like(beta)]
        self.eps = eps

    def forward(self, x: Array) -> Array:
        gamma, beta = self.params
        self.mean = x.mean(axis=self.axis, keepdims=True)
        xc = x - self.mean
        self.var = np.mean(xc**2, axis=self.axis, keepdims=True)
        self.std = np.sqrt(self.var + self.eps)
        self.xn = xc / self.std
        out: Array = gamma * self.xn + beta
        return out

    def backward(self, dout: Array) -> Array:
        gamma, _ = self.params
        self.grads[0][...] = np.sum(self.xn * dout, axis=0)
        self.grads[1][...] = dout.sum(axis=0)
        dxn = gamma * dout
        mean = dxn.mean(axis=self.axis, keepdims=True)
        slope = np.mean(dxn * self.xn, axis=self.axis, keepdims=True)
        dx: Array = (dxn - mean - self.xn * slope) / self.std
        return dx


class BatchNorm(LayerNorm):
    axis = 0

    def __init__(self, gamma: Array, beta: Array, eps: float = 1e-5, momentum: float = 0.9) -> None:
        super().__init__(gamma, beta, eps)
        self.running_mean, self.running_var = np.zeros_like(gamma), np.ones_like(gamma)
        self.momentum = momentum

    def forward(self, x: Array) -> Array:
        out = super().forward(x)
        m = self.momentum
        self.running_mean = m * self.running_mean + (1 - m) * self.mean[0]
        self.running_var = m * self.running_var + (1 - m) * self.var[0]
        return out


class Dropout:
    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.dropout_ratio = dropout_ratio

    def forward(self, x: Array) -> Array:
        flg = np.random.rand(*x.shape) > self.dropout_ratio
        scale = 1 / (1.0 - self.dropout_ratio)
        self.mask: Array = flg.astype(np.float32) * np.float32(scale)
        out: Array = x * self.mask
        return out

    def backward(self, dout: Array) -> Array:
        dx: Array = dout * self.mask
        return dx


class Embedding:
    def __init__(self, W: Array) -> None:
        self.params = [W]
        self.grads = [np.zeros_like(W)]

    def forward(self, idx: Array) -> Array:
        (W,) = self.params
        self.idx = idx
        out: Array = W[idx]
        return out

    def backward(self, dout: Array) -> None:
        (dW,) = self.grads
        dW[...] = 0
        np.add.at(dW, self.idx, dout)


class Net:
    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        self.loss_layer = SoftmaxWithLoss()
        self.params = [p for layer in layers for p in layer.params]
        self.grads = [g for layer in layers for g in layer.grads]

    def forward(self, x: Array, t: Array) -> Any:
        for layer in self.layers:
            x = layer.forward(x)
        return self.loss_layer.forward(x, t)

    def backward(self, dout: float = 1) -> Array:
        grad = self.loss_layer.backward(dout)
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        return grad


class SGD:
    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr

    def update(self, params: list[Array], grads: list[Array]) -> None:
        for i in range(len(params)):
            params[i] -= self.lr * grads[i]


class Momentum:
    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        self.lr = lr
        self.momentum = momentum
        self.v: list[Array] = []

    def update(self, params: list[Array], grads: list[Array]) -> None:
        if not self.v:
            self.v = [np.zeros_like(param) for param in params]
        for i in range(len(params)):
            self.v[i] = self.momentum * self.v[i] - self.lr * grads[i]
            params[i] += self.v[i]


class AdaGrad:
    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr
        self.h: list[Array] = []

    def update(self, params: list[Array], grads: list[Array]) -> None:
        if not self.h:
            self.h = [np.zeros_like(param) for param in params]
        for i in range(len(params)):
            self.h[i] += grads[i] * grads[i]
            params[i] -= self.lr * grads[i] / (np.sqrt(self.h[i]) + 1e-7)


class Adam:
    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.iter = 0
        self.m: list[Array] = []
        self.v: list[Array] = []

    def update(self, params: list[Array], grads: list[Array]) -> None:
        if not self.m:
            self.m = [np.zeros_like(param) for param in params]
            self.v = [np.zeros_like(param) for param in params]
        self.iter += 1
        # float(): a NumPy scalar would turn float32 into float64 here, and cost NumPy dearly
        lr_t = float(self.lr * np.sqrt(1.0 - self.beta2**self.iter) / (1.0 - self.beta1**self.iter))
        for i in range(len(params)):
            self.m[i] += (1 - self.beta1) * (grads[i] - self.m[i])
            self.v[i] += (1 - self.beta2) * (grads[i] ** 2 - self.v[i])
            params[i] -= lr_t * self.m[i] / (np.sqrt(self.v[i]) + 1e-7)
