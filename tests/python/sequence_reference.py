"""The specification of what stands around recurrent layers, and of the book's models of sequences.

Plain NumPy in float64, step by step where the book goes step by step. The models draw their weights
as the book's programs do, so that a seed says what they learn.
"""

import numpy as np

import recurrent_reference as spec
import reference as ref

GATES = {spec.RNN: 1, spec.LSTM: 4, spec.GRU: 3}  # how many matrices (D, H) stand side by side


class Recurrent:
    """A recurrent layer over time: `states` are h, and for an LSTM c; stateful, they go on."""

    def __init__(self, cell, Wx, Wh, b, stateful=False):
        self.cell, self.stateful = cell, stateful
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(p) for p in self.params]
        self.set_state()

    def set_state(self, *states):
        self.states = [*states] + [None] * (1 + (self.cell is spec.LSTM) - len(states))

    def forward(self, xs):
        N, T, _ = xs.shape
        zeros = np.zeros((N, len(self.params[1])))
        states = [zeros if s is None or not self.stateful else s for s in self.states]
        hs, self.steps = np.empty((N, T, zeros.shape[1])), []
        for t in range(T):
            self.steps.append(self.cell(*self.params))
            states = self.steps[-1].forward(xs[:, t], *states)
            hs[:, t] = states[0]
        self.states = states
        return hs

    def backward(self, dhs):
        """Nothing comes from after the last step: backpropagation is truncated."""
        N, T, H = dhs.shape
        dxs = np.empty((N, T, len(self.params[0])))
        back = [np.zeros((N, H)) for _ in self.states]
        for grad in self.grads:
            grad[...] = 0
        for t in reversed(range(T)):
            back[0] = back[0] + dhs[:, t]
            dxs[:, t], *back = self.steps[t].backward(*back)
            for total, grad in zip(self.grads, self.steps[t].grads, strict=True):
                total += grad
        self.dh, self.dstates = back[0], back
        return dxs


class Table:
    def __init__(self, W):
        self.params, self.grads = [W], [np.zeros_like(W)]

    def forward(self, ids):
        self.ids = ids
        return self.params[0][ids]

    def backward(self, dout):
        self.grads[0][...] = 0
        np.add.at(self.grads[0], self.ids, dout)


class Linear:
    def __init__(self, W, b):
        self.params, self.grads = [W, b], [np.zeros_like(W), np.zeros_like(b)]

    def forward(self, x):
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, dout):
        self.grads[0][...] = np.einsum("ntd,ntm->dm", self.x, dout)
        self.grads[1][...] = dout.sum(axis=(0, 1))
        return dout @ self.params[0].T


class Drop:
    """Draws from np.random, where it trains."""

    def __init__(self, ratio):
        self.params, self.grads, self.ratio, self.train = [], [], ratio, True

    def forward(self, x):
        self.factor = 1.0
        if self.train:
            self.factor = (np.random.rand(*x.shape) > self.ratio) / (1 - self.ratio)
        return x * self.factor

    def backward(self, dout):
        return dout * self.factor


def softmax_loss(xs, ts, ignore=-1):
    """Return the mean loss of the steps whose label is not ignored, and the gradient of `xs`."""
    y, counted = ref.softmax(xs), ts != ignore
    dx, loss = np.zeros_like(xs), 0.0
    for n, t in np.argwhere(counted):
        loss -= np.log(y[n, t, ts[n, t]])
        dx[n, t] = y[n, t]
        dx[n, t, ts[n, t]] -= 1
    return loss / counted.sum(), dx / counted.sum()


def sigmoid_loss(xs, ts):
    """Return the mean over the steps of the binary cross entropy, and the gradient of `xs`."""
    y = ref.sigmoid(xs)
    losses = -(ts * np.log(y) + (1 - ts) * np.log(1 - y))
    return losses.mean(axis=0).mean(), (y - ts) / xs.size


class Attention:
    """All steps of a decoder, one by one."""

    def forward(self, hs_enc, hs_dec):
        self.enc, self.dec, self.weights = hs_enc, hs_dec, []
        out = np.empty_like(hs_dec)
        for t in range(hs_dec.shape[1]):
            a = ref.softmax((hs_enc * hs_dec[:, t, None]).sum(axis=2))
            out[:, t] = (hs_enc * a[:, :, None]).sum(axis=1)
            self.weights.append(a)
        return out

    def backward(self, dout):
        denc, ddec = np.zeros_like(self.enc), np.empty_like(self.dec)
        for t, a in enumerate(self.weights):
            d = dout[:, t, None]
            da = (self.enc * d).sum(axis=2)
            ds = a * (da - (a * da).sum(axis=1, keepdims=True))
            denc += a[:, :, None] * d + ds[:, :, None] * self.dec[:, t, None]
            ddec[:, t] = (ds[:, :, None] * self.enc).sum(axis=1)
        return denc, ddec


# Models, with weights of the book's draws


def randn(rows, columns, divisor):
    return np.random.randn(rows, columns) / divisor


def recurrent(cell, D, H, stateful):
    n = GATES[cell] * H
    Wx = randn(D, n, np.sqrt(D))
    return Recurrent(cell, Wx, randn(H, n, np.sqrt(H)), np.zeros(n), stateful)


def linear(H, V):
    return Linear(randn(H, V, np.sqrt(H)), np.zeros(V))


class Chain:
    def __init__(self, layers):
        self.layers = layers
        self.params = [p for layer in layers for p in layer.params]
        self.grads = [grad for layer in layers for grad in layer.grads]

    def forward(self, xs, ts):
        for layer in self.layers:
            xs = layer.forward(xs)
        loss, self.dscores = softmax_loss(xs, ts)
        return loss

    def backward(self):
        dout = self.dscores
        for layer in reversed(self.layers):
            dout = layer.backward(dout)


def simple_rnnlm(V, D, H, cell=spec.RNN):
    return Chain([Table(randn(V, D, 100)), recurrent(cell, D, H, True), linear(H, V)])


def rnnlm(V, D, H):
    return simple_rnnlm(V, D, H, spec.LSTM)


def better_rnnlm(V, D, H, ratio):
    """The weights of the last layer are the table's, transposed."""
    table = Table(randn(V, D, 100))
    first, second = recurrent(spec.LSTM, D, H, True), recurrent(spec.LSTM, H, H, True)
    last = Linear(table.params[0].T, np.zeros(V))
    return Chain([table, Drop(ratio), first, Drop(ratio), second, Drop(ratio), last])


class Seq2seq:
    """`kind` is "plain", "peeky" or "attention"."""

    def __init__(self, V, D, H, kind="plain"):
        self.kind = kind
        self.enc = [Table(randn(V, D, 100)), recurrent(spec.LSTM, D, H, False)]
        table = Table(randn(V, D, 100))
        seen, beside = H * (kind == "peeky"), H * (kind != "plain")
        self.dec = [table, recurrent(spec.LSTM, seen + D, H, True), linear(beside + H, V)]
        self.attention = Attention()
        self.params = [p for layer in self.enc + self.dec for p in layer.params]
        self.grads = [grad for layer in self.enc + self.dec for grad in layer.grads]

    def forward(self, xs, ts):
        self.hs = self.enc[1].forward(self.enc[0].forward(xs))
        h = self.hs[:, -1]
        table, rnn, last = self.dec
        rnn.set_state(h)
        x = table.forward(ts[:, :-1])
        peeked = np.repeat(h[:, None], x.shape[1], axis=1)
        if self.kind == "peeky":
            x = np.concatenate([peeked, x], axis=2)
        y = rnn.forward(x)
        if self.kind == "peeky":
            y = np.concatenate([peeked, y], axis=2)
        if self.kind == "attention":
            y = np.concatenate([self.attention.forward(self.hs, y), y], axis=2)
        loss, self.dscores = softmax_loss(last.forward(y), ts[:, 1:])
        return loss

    def backward(self):
        table, rnn, last = self.dec
        H = self.hs.shape[2]
        dhs, dy = np.zeros_like(self.hs), last.backward(self.dscores)
        if self.kind == "peeky":
            dhs[:, -1] += dy[:, :, :H].sum(axis=1)
            dy = dy[:, :, H:]
        if self.kind == "attention":
            denc, ddec = self.attention.backward(dy[:, :, :H])
            dhs += denc
            dy = dy[:, :, H:] + ddec
        dx = rnn.backward(dy)
        dhs[:, -1] += rnn.dh
        if self.kind == "peeky":
            dhs[:, -1] += dx[:, :, :H].sum(axis=1)
            dx = dx[:, :, H:]
        table.backward(dx)
        self.enc[0].backward(self.enc[1].backward(dhs))


def sgd(model, lr, tied=None):
    """Update the parameters; `tied` are places (i, j) of which j is the transpose of i."""
    if tied:
        i, j = tied
        model.grads[i] += model.grads[j].T
    for k, (p, grad) in enumerate(zip(model.params, model.grads, strict=True)):
        if not tied or k != tied[1]:
            p -= lr * grad
