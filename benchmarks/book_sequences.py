"""The method's own NumPy code for sequences: chapters 5 to 8 of "Deep Learning from Scratch 2".

The formulas and the order of operations are the book's: a loop over the steps, and for each step a
layer of its own, with gradients of its own that are added up. Arrays have the type of the weights,
so that float64 weights make the specification. `GRUResetAfter`, which the book does not have, is
that of PyTorch, written in the same way.
"""

from typing import Any

import book
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def sigmoid(x: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-x))
    return y


# One step


class Cell:
    """One step: states go in and come out, the first of them is the output."""

    states = 1

    def __init__(self, *params: Array) -> None:
        self.params = list(params)
        self.grads = [np.zeros_like(p) for p in params]
        self.cache: tuple[Array, ...] = ()

    def forward(self, x: Array, *states: Array) -> tuple[Array, ...]:
        raise NotImplementedError

    def backward(self, *dstates: Any) -> tuple[Array, ...]:
        """Return the gradients by the input and by the states that came in."""
        raise NotImplementedError

    def write(self, *grads: Array) -> None:
        for own, grad in zip(self.grads, grads, strict=True):
            own[...] = grad


class RNN(Cell):
    def forward(self, x: Array, *states: Array) -> tuple[Array, ...]:
        Wx, Wh, b = self.params
        (h_prev,) = states
        h_next = np.tanh(np.dot(h_prev, Wh) + np.dot(x, Wx) + b)
        self.cache = x, h_prev, h_next
        return (h_next,)

    def backward(self, *dstates: Any) -> tuple[Array, ...]:
        Wx, Wh, _ = self.params
        x, h_prev, h_next = self.cache
        dt = dstates[0] * (1 - h_next**2)
        db = np.sum(dt, axis=0)
        dWh = np.dot(h_prev.T, dt)
        dh_prev = np.dot(dt, Wh.T)
        dWx = np.dot(x.T, dt)
        dx = np.dot(dt, Wx.T)
        self.write(dWx, dWh, db)
        return dx, dh_prev


class LSTM(Cell):
    states = 2

    def forward(self, x: Array, *states: Array) -> tuple[Array, ...]:
        Wx, Wh, b = self.params
        h_prev, c_prev = states
        H = h_prev.shape[1]
        A = np.dot(x, Wx) + np.dot(h_prev, Wh) + b
        f = sigmoid(A[:, :H])
        g = np.tanh(A[:, H : 2 * H])
        i = sigmoid(A[:, 2 * H : 3 * H])
        o = sigmoid(A[:, 3 * H :])
        c_next = f * c_prev + g * i
        h_next = o * np.tanh(c_next)
        self.cache = x, h_prev, c_prev, i, f, g, o, c_next
        return h_next, c_next

    def backward(self, *dstates: Any) -> tuple[Array, ...]:
        Wx, Wh, _ = self.params
        dh_next, dc_next = dstates
        x, h_prev, c_prev, i, f, g, o, c_next = self.cache
        tanh_c = np.tanh(c_next)
        ds = dc_next + (dh_next * o) * (1 - tanh_c**2)
        dc_prev = ds * f
        di = ds * g
        df = ds * c_prev
        do = dh_next * tanh_c
        dg = ds * i
        di *= i * (1 - i)
        df *= f * (1 - f)
        do *= o * (1 - o)
        dg *= 1 - g**2
        dsums = np.hstack((df, dg, di, do))
        dWh = np.dot(h_prev.T, dsums)
        dWx = np.dot(x.T, dsums)
        db = dsums.sum(axis=0)
        self.write(dWx, dWh, db)
        return np.dot(dsums, Wx.T), np.dot(dsums, Wh.T), dc_prev


class GRU(Cell):
    """The book's: no bias, and the state is reset before the product."""

    def forward(self, x: Array, *states: Array) -> tuple[Array, ...]:
        (Wxz, Wxr, Wxh), (Whz, Whr, Whh) = (np.split(W, 3, axis=1) for W in self.params)
        (h_prev,) = states
        z = sigmoid(np.dot(x, Wxz) + np.dot(h_prev, Whz))
        r = sigmoid(np.dot(x, Wxr) + np.dot(h_prev, Whr))
        h_hat = np.tanh(np.dot(x, Wxh) + np.dot(r * h_prev, Whh))
        self.cache = x, h_prev, z, r, h_hat
        return ((1 - z) * h_prev + z * h_hat,)

    def backward(self, *dstates: Any) -> tuple[Array, ...]:
        (Wxz, Wxr, Wxh), (Whz, Whr, Whh) = (np.split(W, 3, axis=1) for W in self.params)
        (dh_next,) = dstates
        x, h_prev, z, r, h_hat = self.cache
        dh_prev = dh_next * (1 - z)
        dt = dh_next * z * (1 - h_hat**2)
        dWhh = np.dot((r * h_prev).T, dt)
        dhr = np.dot(dt, Whh.T)
        dWxh = np.dot(x.T, dt)
        dx = np.dot(dt, Wxh.T)
        dh_prev += r * dhr
        dz = dh_next * h_hat - dh_next * h_prev
        dt = dz * z * (1 - z)
        dWhz = np.dot(h_prev.T, dt)
        dh_prev += np.dot(dt, Whz.T)
        dWxz = np.dot(x.T, dt)
        dx += np.dot(dt, Wxz.T)
        dt = dhr * h_prev * r * (1 - r)
        dWhr = np.dot(h_prev.T, dt)
        dh_prev += np.dot(dt, Whr.T)
        dWxr = np.dot(x.T, dt)
        dx += np.dot(dt, Wxr.T)
        self.write(np.hstack((dWxz, dWxr, dWxh)), np.hstack((dWhz, dWhr, dWhh)))
        return dx, dh_prev


class GRUResetAfter(Cell):
    """PyTorch's and cuDNN's: the product of the state is reset, its bias with it."""

    def forward(self, x: Array, *states: Array) -> tuple[Array, ...]:
        Wx, Wh, b = self.params
        (h_prev,) = states
        H = h_prev.shape[1]
        A, B = np.dot(x, Wx) + b[: 3 * H], np.dot(h_prev, Wh)
        z = sigmoid(A[:, :H] + B[:, :H])
        r = sigmoid(A[:, H : 2 * H] + B[:, H : 2 * H])
        u = B[:, 2 * H :] + b[3 * H :]
        h_hat = np.tanh(A[:, 2 * H :] + r * u)
        self.cache = x, h_prev, z, r, u, h_hat
        return ((1 - z) * h_prev + z * h_hat,)

    def backward(self, *dstates: Any) -> tuple[Array, ...]:
        Wx, Wh, _ = self.params
        (dh_next,) = dstates
        x, h_prev, z, r, u, h_hat = self.cache
        dt = dh_next * z * (1 - h_hat**2)
        dz = dh_next * (h_hat - h_prev) * z * (1 - z)
        dr = dt * u * r * (1 - r)
        du = dt * r
        dx_sums, dh_sums = np.hstack((dz, dr, dt)), np.hstack((dz, dr, du))
        db = np.concatenate((dx_sums.sum(axis=0), du.sum(axis=0)))
        self.write(np.dot(x.T, dx_sums), np.dot(h_prev.T, dh_sums), db)
        return np.dot(dx_sums, Wx.T), dh_next * (1 - z) + np.dot(dh_sums, Wh.T)


# All steps


class Recurrent:
    """All steps of a layer, one by one; stateful, it begins where it ended."""

    cell: type[Cell]

    def __init__(self, *params: Array, stateful: bool = False) -> None:
        self.params = list(params)
        self.grads = [np.zeros_like(p) for p in params]
        self.stateful = stateful
        self.states: list[Any] = [None] * self.cell.states
        self.layers: list[Cell] = []
        self.dh: Any = None

    def forward(self, xs: Array) -> Array:
        N, T, _ = xs.shape
        H, dtype = len(self.params[1]), self.params[1].dtype
        self.layers = []
        hs = np.empty((N, T, H), dtype)
        states = [
            np.zeros((N, H), dtype) if s is None or not self.stateful else s for s in self.states
        ]
        for t in range(T):
            layer = self.cell(*self.params)
            states = list(layer.forward(xs[:, t, :], *states))
            hs[:, t, :] = states[0]
            self.layers.append(layer)
        self.states = states
        return hs

    def backward(self, dhs: Array) -> Array:
        N, T, _ = dhs.shape
        dxs = np.empty((N, T, len(self.params[0])), self.params[0].dtype)
        dstates: list[Any] = [0] * self.cell.states
        grads: list[Any] = [0] * len(self.params)
        for t in reversed(range(T)):
            layer = self.layers[t]
            dx, *dstates = layer.backward(dhs[:, t, :] + dstates[0], *dstates[1:])
            dxs[:, t, :] = dx
            for i, grad in enumerate(layer.grads):
                grads[i] += grad
        for own, grad in zip(self.grads, grads, strict=True):
            own[...] = grad
        self.dh = dstates[0]
        return dxs

    def set_state(self, h: Array) -> None:
        self.states = [h] + [None] * (self.cell.states - 1)


class TimeRNN(Recurrent):
    cell = RNN


class TimeLSTM(Recurrent):
    cell = LSTM


class TimeGRU(Recurrent):
    cell = GRU


class TimeGRUResetAfter(Recurrent):
    cell = GRUResetAfter


class TimeEmbedding:
    def __init__(self, W: Array) -> None:
        self.params = [W]
        self.grads = [np.zeros_like(W)]

    def forward(self, xs: Array) -> Array:
        (W,) = self.params
        N, T = xs.shape
        out = np.empty((N, T, W.shape[1]), W.dtype)
        self.layers = []
        for t in range(T):
            layer = book.Embedding(W)
            out[:, t, :] = layer.forward(xs[:, t])
            self.layers.append(layer)
        return out

    def backward(self, dout: Array) -> None:
        grad: Any = 0
        for t, layer in enumerate(self.layers):
            layer.backward(dout[:, t, :])
            grad += layer.grads[0]
        self.grads[0][...] = grad


class TimeAffine:
    def __init__(self, W: Array, b: Array) -> None:
        self.params = [W, b]
        self.grads = [np.zeros_like(W), np.zeros_like(b)]

    def forward(self, x: Array) -> Array:
        N, T, _ = x.shape
        W, b = self.params
        out: Array = np.dot(x.reshape(N * T, -1), W) + b
        self.x = x
        return out.reshape(N, T, -1)

    def backward(self, dout: Array) -> Array:
        N, T, _ = self.x.shape
        W, _ = self.params
        rows = dout.reshape(N * T, -1)
        db = np.sum(rows, axis=0)
        dW = np.dot(self.x.reshape(N * T, -1).T, rows)
        dx: Array = np.dot(rows, W.T).reshape(self.x.shape)
        self.grads[0][...] = dW
        self.grads[1][...] = db
        return dx


class TimeSoftmaxWithLoss:
    ignore_label = -1

    def forward(self, xs: Array, ts: Array) -> Any:
        N, T, V = self.shape = xs.shape
        self.mask = (ts != self.ignore_label).reshape(N * T)
        self.ts = ts.reshape(N * T)
        self.ys = book.softmax(xs.reshape(N * T, V))
        logs = np.log(self.ys[np.arange(N * T), self.ts])
        logs *= self.mask
        return -np.sum(logs) / self.mask.sum()

    def backward(self, dout: float = 1) -> Array:
        dx = self.ys
        dx[np.arange(len(dx)), self.ts] -= 1
        dx *= dout
        dx /= self.mask.sum()
        dx *= self.mask[:, np.newaxis]
        return dx.reshape(self.shape)


class TimeDropout:
    """Draws from `rng`, that others can draw the same."""

    def __init__(self, ratio: float, rng: np.random.RandomState) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []
        self.ratio = ratio
        self.rng = rng

    def forward(self, xs: Array) -> Array:
        flg = self.rng.rand(*xs.shape) > self.ratio
        self.mask: Array = flg.astype(np.float32) * (1 / (1.0 - self.ratio))
        out: Array = xs * self.mask
        return out

    def backward(self, dout: Array) -> Array:
        dx: Array = dout * self.mask
        return dx


class Attention:
    """One step of the decoder: the weights of the encoder's states, and their sum."""

    def __init__(self) -> None:
        self.softmax = book.Softmax()

    def forward(self, hs: Array, h: Array) -> Array:
        N, T, H = hs.shape
        self.hs, self.hr = hs, h.reshape(N, 1, H)
        self.a = self.softmax.forward(np.sum(hs * self.hr, axis=2))
        self.ar = self.a.reshape(N, T, 1)
        c: Array = np.sum(hs * self.ar, axis=1)
        return c

    def backward(self, dout: Array) -> tuple[Array, Array]:
        N, T, H = self.hs.shape
        dt = dout.reshape(N, 1, H).repeat(T, axis=1)
        dar = dt * self.hs
        dhs0 = dt * self.ar
        ds = self.softmax.backward(np.sum(dar, axis=2))
        dt = ds.reshape(N, T, 1).repeat(H, axis=2)
        dhs1 = dt * self.hr
        dh = np.sum(dt * self.hs, axis=1)
        return dhs0 + dhs1, dh


class TimeAttention:
    def forward(self, hs_enc: Array, hs_dec: Array) -> Array:
        out = np.empty_like(hs_dec)
        self.layers = []
        for t in range(hs_dec.shape[1]):
            layer = Attention()
            out[:, t, :] = layer.forward(hs_enc, hs_dec[:, t, :])
            self.layers.append(layer)
        return out

    def backward(self, dout: Array) -> tuple[Array, Array]:
        dhs_enc: Any = 0
        dhs_dec = np.empty_like(dout)
        for t, layer in enumerate(self.layers):
            dhs, dhs_dec[:, t, :] = layer.backward(dout[:, t, :])
            dhs_enc += dhs
        return dhs_enc, dhs_dec
