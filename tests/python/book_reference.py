"""The book's formulas in plain NumPy, in the type of what they are given: what `nnext.book` has to
give, bit for bit but for rounding. With EPS at 0 the losses are the exact ones of nnext itself.
"""

import numpy as np

EPS = 1e-7  # what the book adds to a probability before it takes the logarithm


class _Layer:
    def __init__(self, *params):
        self.params = list(params)
        self.grads = [np.zeros_like(p) for p in params]


class MatMul(_Layer):
    def forward(self, x):
        self.x = x
        return x.astype(self.params[0].dtype) @ self.params[0]

    def backward(self, dout):
        (W,) = self.params
        self.grads[0][...] = self.x.T.astype(W.dtype) @ dout
        return dout @ W.T


class Affine(_Layer):
    def forward(self, x):
        W, b = self.params
        self.x = x
        return x @ W + b

    def backward(self, dout):
        self.grads[0][...] = self.x.T @ dout
        self.grads[1][...] = np.ones(len(dout), dout.dtype) @ dout
        return dout @ self.params[0].T


class Sigmoid(_Layer):
    def forward(self, x):
        self.out = np.reciprocal(1 + np.exp(-x))
        return self.out

    def backward(self, dout):
        return self.out * (1 - self.out) * dout


class Softmax(_Layer):
    def forward(self, x):
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        self.out = e / np.sum(e, axis=1, keepdims=True)
        return self.out

    def backward(self, dout):
        inner = np.sum(dout * self.out, axis=1, keepdims=True)
        return self.out * (dout - inner)


class Dropout(_Layer):
    def __init__(self, dropout_ratio=0.5):
        super().__init__()
        self.ratio = dropout_ratio

    def forward(self, x, train_flg=True):
        if not train_flg:
            return (1 - self.ratio) * x
        self.mask = np.random.random_sample(x.shape) > self.ratio
        return np.where(self.mask, x, 0).astype(x.dtype)

    def backward(self, dout):
        return np.where(self.mask, dout, 0).astype(dout.dtype)


class Embedding(_Layer):
    def forward(self, idx):
        self.idx = idx
        return self.params[0][idx]

    def backward(self, dout):
        dW = self.grads[0]
        dW[...] = 0
        for word, row in zip(self.idx.ravel(), dout.reshape(-1, dW.shape[1]), strict=True):
            dW[word] += row


class SoftmaxWithLoss(_Layer):
    def forward(self, x, t):
        self.y = Softmax().forward(x)
        self.t = np.argmax(t, axis=1) if t.shape == x.shape else t
        return -np.mean(np.log(self.y[np.arange(len(x)), self.t] + EPS))

    def backward(self, dout=1):
        dx = self.y.copy()
        dx[np.arange(len(dx)), self.t] -= 1
        return dx * (dout / len(dx))


class SigmoidWithLoss(_Layer):
    def forward(self, x, t):
        self.y, self.t = Sigmoid().forward(x), t
        self.loss = -np.mean(np.log(np.where(t == 1, self.y, 1 - self.y) + EPS))
        return self.loss

    def backward(self, dout=1):
        return ((self.y - self.t) * (dout / len(self.t))).astype(self.y.dtype)


class _Optimizer:
    """Calls ``step(p, g, *state)`` for each parameter, with `slots` arrays that begin as zeros."""

    slots = 0

    def __init__(self, lr=0.01, **options):
        self.lr, self.iter, self.state = lr, 0, None
        vars(self).update(options)

    def update(self, params, grads):
        if self.state is None:
            self.state = [[np.zeros_like(p) for _ in range(self.slots)] for p in params]
        self.iter += 1
        for p, g, state in zip(params, grads, self.state, strict=True):
            self.step(p, g, *state)


class SGD(_Optimizer):
    def step(self, p, g):
        p += -self.lr * g


class Momentum(_Optimizer):
    slots, momentum = 1, 0.9

    def step(self, p, g, v):
        v[...] = self.momentum * v - self.lr * g
        p += v


class Nesterov(_Optimizer):
    """The book's, which has the new velocity in the place of the old one."""

    slots, momentum = 1, 0.9

    def step(self, p, g, v):
        m = self.momentum
        v[...] = m * v - self.lr * g
        p += m**2 * v - (1 + m) * self.lr * g


class AdaGrad(_Optimizer):
    slots = 1

    def step(self, p, g, h):
        h += g**2
        p -= self.lr * g / (h**0.5 + 1e-7)


class RMSprop(_Optimizer):
    slots, decay_rate = 1, 0.99

    def step(self, p, g, h):
        h[...] = self.decay_rate * h + (1 - self.decay_rate) * g**2
        p -= self.lr * g / (h**0.5 + 1e-7)


class Adam(_Optimizer):
    slots, beta1, beta2 = 2, 0.9, 0.999

    def step(self, p, g, m, v):
        m += (1 - self.beta1) * (g - m)
        v += (1 - self.beta2) * (g**2 - v)
        rate = self.lr * (1 - self.beta2**self.iter) ** 0.5 / (1 - self.beta1**self.iter)
        p -= rate * m / (v**0.5 + 1e-7)


def clip_grads(grads, max_norm):
    norm = sum(float(np.sum(g.astype(np.float64) ** 2)) for g in grads) ** 0.5
    if max_norm < norm + 1e-6:
        for g in grads:
            g *= max_norm / (norm + 1e-6)


def remove_duplicate(params, grads):
    """Keep the first of the arrays that are one, or one the transposed view of the other."""
    own, summed = [], []
    for p, g in zip(params, grads, strict=True):
        for q, total in zip(own, summed, strict=True):
            if p is q:
                total += g
                break
            if p.base is q and p.shape == q.T.shape:
                total += g.T
                break
        else:
            own.append(p)
            summed.append(g)
    return own, summed


class Trainer:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer
        self.loss_list, self.current_epoch = [], 0

    def fit(self, x, t, max_epoch=10, batch_size=32, max_grad=None, eval_interval=20):
        losses = []
        for _ in range(max_epoch):
            order = np.random.permutation(np.arange(len(x)))
            x, t = x[order], t[order]  # on top of the order before
            for i in range(len(x) // batch_size):
                rows = slice(batch_size * i, batch_size * i + batch_size)
                losses.append(self.model.forward(x[rows], t[rows]))
                self.model.backward()
                params, grads = remove_duplicate(self.model.params, self.model.grads)
                if max_grad is not None:
                    clip_grads(grads, max_grad)
                self.optimizer.update(params, grads)
                if eval_interval is not None and i % eval_interval == 0:
                    self.loss_list.append(float(np.mean(losses)))
                    losses = []
            self.current_epoch += 1
