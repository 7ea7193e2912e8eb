"""The specification of the recurrent layers: the book's steps one by one, in float64.

Every class has ``forward(x, *states)``, which returns the states after the step, and
``backward(*gradients)`` by these, which returns the gradients by x and by the states before; the
gradients by the weights are added up in ``grads``.
"""

import numpy as np

import reference as ref


def slope_of_tanh(y):
    return 1 - y * y


def slope_of_sigmoid(y):
    return y * (1 - y)


class Cell:
    def __init__(self, *weights):
        self.weights = [np.asarray(w, np.float64) for w in weights]
        self.grads = [np.zeros_like(w) for w in self.weights]

    def through_sums(self, x, h, d):
        """Add the gradients of x Wx + h Wh + b, and return those by x and h."""
        Wx, Wh = self.weights[:2]
        for grad, part in zip(self.grads, (x.T @ d, h.T @ d, d.sum(0)), strict=False):
            grad += part
        return d @ Wx.T, d @ Wh.T


class RNN(Cell):
    def forward(self, x, h):
        Wx, Wh, b = self.weights
        self.x, self.before, self.h = x, h, np.tanh(x @ Wx + h @ Wh + b)
        return (self.h,)

    def backward(self, dh):
        return self.through_sums(self.x, self.before, dh * slope_of_tanh(self.h))


class LSTM(Cell):
    def forward(self, x, h, c):
        Wx, Wh, b = self.weights
        f, g, i, o = np.split(x @ Wx + h @ Wh + b, 4, axis=1)
        self.gates = ref.sigmoid(f), np.tanh(g), ref.sigmoid(i), ref.sigmoid(o)
        f, g, i, o = self.gates
        self.x, self.before, self.c_before = x, h, c
        self.c = f * c + g * i
        return o * np.tanh(self.c), self.c

    def backward(self, dh, dc):
        f, g, i, o = self.gates
        tanh_c = np.tanh(self.c)
        dc = dc + dh * o * slope_of_tanh(tanh_c)
        d = (
            dc * self.c_before * slope_of_sigmoid(f),
            dc * i * slope_of_tanh(g),
            dc * g * slope_of_sigmoid(i),
            dh * tanh_c * slope_of_sigmoid(o),
        )
        return *self.through_sums(self.x, self.before, np.hstack(d)), dc * f


class GRU(Cell):
    """The book's; without a bias where there are two weights."""

    def forward(self, x, h):
        Wx, Wh, *b = self.weights
        H = len(Wh)
        inputs = x @ Wx + (b[0] if b else 0)
        z, r = np.split(ref.sigmoid(inputs[:, : 2 * H] + h @ Wh[:, : 2 * H]), 2, axis=1)
        n = np.tanh(inputs[:, 2 * H :] + (r * h) @ Wh[:, 2 * H :])
        self.left = x, h, z, r, n
        return ((1 - z) * h + z * n,)

    def backward(self, dh):
        x, h, z, r, n = self.left
        Wx, Wh = self.weights[:2]
        H = len(Wh)
        dn = dh * z * slope_of_tanh(n)
        dreset = dn @ Wh[:, 2 * H :].T
        dz = dh * (n - h) * slope_of_sigmoid(z)
        dr = dreset * h * slope_of_sigmoid(r)
        d = np.hstack((dz, dr, dn))
        for grad, part in zip(self.grads, (x.T @ d, h.T @ d, d.sum(0)), strict=False):
            grad += part
        self.grads[1][:, 2 * H :] += ((r - 1) * h).T @ dn  # which met r h, not h
        dh_before = dh * (1 - z) + d[:, : 2 * H] @ Wh[:, : 2 * H].T + dreset * r
        return d @ Wx.T, dh_before


class GRUResetAfter(Cell):
    """cuDNN's and PyTorch's: the reset acts on the product of the state."""

    def forward(self, x, h):
        Wx, Wh, b = self.weights
        H = len(Wh)
        inputs, product = x @ Wx + b[: 3 * H], h @ Wh
        z, r = np.split(ref.sigmoid(inputs[:, : 2 * H] + product[:, : 2 * H]), 2, axis=1)
        product = product[:, 2 * H :] + b[3 * H :]
        n = np.tanh(inputs[:, 2 * H :] + r * product)
        self.left = x, h, z, r, n, product
        return ((1 - z) * h + z * n,)

    def backward(self, dh):
        x, h, z, r, n, product = self.left
        Wx, Wh = self.weights[:2]
        dn = dh * z * slope_of_tanh(n)
        dz = dh * (n - h) * slope_of_sigmoid(z)
        dr = dn * product * slope_of_sigmoid(r)
        of_inputs, of_state = np.hstack((dz, dr, dn)), np.hstack((dz, dr, dn * r))
        self.grads[0] += x.T @ of_inputs
        self.grads[1] += h.T @ of_state
        self.grads[2] += np.concatenate((of_inputs.sum(0), (dn * r).sum(0)))
        return of_inputs @ Wx.T, dh * (1 - z) + of_state @ Wh.T


def run(cell, weights, xs, dhs, states):
    """Go through all steps and back.

    Returns hs, the last states, dxs, the gradients by the first states, those by the weights.
    """
    weights = [np.asarray(w, np.float64) for w in weights]
    N, T, _ = xs.shape
    H = len(weights[1])
    states = [np.zeros((N, H)) if s is None else np.asarray(s, np.float64) for s in states]
    xs, dhs = np.asarray(xs, np.float64), np.asarray(dhs, np.float64)
    hs, dxs, steps = np.zeros((N, T, H)), np.zeros(xs.shape), []
    for t in range(T):
        steps.append(cell(*weights))
        states = steps[-1].forward(xs[:, t], *states)
        hs[:, t] = states[0]
    back = [np.zeros((N, H)) for _ in states]
    grads = [np.zeros_like(w) for w in weights]
    for t in reversed(range(T)):
        back[0] = back[0] + dhs[:, t]
        dxs[:, t], *back = steps[t].backward(*back)
        for total, grad in zip(grads, steps[t].grads, strict=True):
            total += grad
    return hs, list(states), dxs, back, grads
