"""The optimizers against PyTorch, the paper behind Nesterov and the book, and at extremes."""

import numpy as np
import pytest

import nnext
import nnext.book.optimizer as book
import reference as ref
from nnext import _nnext

STEPS = 100
START = [1.0, -2.0, 0.5, 3.0]


def gradient(p, t):
    """Gradient of a bowl that is not round, with dents that wander."""
    return np.array([1.0, 3.0, 0.2, 8.0]) * p + np.sin(3 * p + t)


# Each with PyTorch's name, its options there and here, where 100 steps of PyTorch 2.13.0 end, and
# how close to that. (PyTorch's Adam divides by the corrected root plus eps; the book's adds eps to
# the root as it is: as much as 4e-6 of a step, no more than eps is worth.)
PEERS = {
    "SGD": (
        ("SGD", {"lr": 0.05}),
        nnext.SGD(lr=0.05),
        [-0.04454649839035232, 0.007414236013705739, -0.028759958254249856, 0.0396145230835204],
        1e-12,
    ),
    "Momentum": (
        ("SGD", {"lr": 0.05, "momentum": 0.9}),
        nnext.Momentum(lr=0.05, momentum=0.9),
        [-0.04615754729243345, -0.014501830246339662, -0.07589517923123536, -0.03669049931505055],
        1e-12,
    ),
    "Nesterov": (
        ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        nnext.Nesterov(lr=0.05, momentum=0.9),
        [-0.1070873750169662, -0.026202433943600365, -0.472266045431376, 0.09372382258922263],
        1e-12,
    ),
    "AdaGrad": (
        ("Adagrad", {"lr": 0.05, "eps": 1e-7}),
        nnext.AdaGrad(lr=0.05),
        [0.40776025431955526, -1.160538087450351, 0.3506760565148896, 2.1288774216893698],
        1e-12,
    ),
    "RMSprop": (
        ("RMSprop", {"lr": 0.05, "alpha": 0.97, "eps": 1e-7}),
        nnext.RMSprop(lr=0.05, decay_rate=0.97),
        [-0.08123058454477944, 0.009686128781865234, -0.5291934093111428, 0.011180722750755644],
        1e-12,
    ),
    "Adam": (
        ("Adam", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-7}),
        nnext.Adam(lr=0.05, beta1=0.8, beta2=0.99),
        [-0.010283971758373152, -0.0030446310886844026, 0.06714229418752193, 0.12449619585316374],
        1e-6,
    ),
    "AdamW": (
        ("AdamW", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.3}),
        nnext.AdamW(lr=0.05, beta1=0.8, beta2=0.99, eps=1e-6, weight_decay=0.3),
        [-0.009608249511041667, -0.002801577851671488, -0.0006957813612090084, 0.0030157592327215],
        1e-12,
    ),
}


def ends(optimizer, dtype=np.float64):
    optimizer.reset()
    p = np.array(START, dtype)
    for t in range(STEPS):
        optimizer.update([p], [gradient(p, t).astype(dtype)])
    return p


@pytest.mark.parametrize("name", PEERS)
def test_100_steps_end_where_those_of_pytorch_do(name):
    _, optimizer, recorded, tolerance = PEERS[name]
    np.testing.assert_allclose(ends(optimizer), recorded, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ends(optimizer, np.float32), recorded, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PEERS)
def test_the_recorded_numbers_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    (method, options), _, recorded, _ = PEERS[name]
    p = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, method)([p], **options)
    for t in range(STEPS):
        p.grad = torch.from_numpy(gradient(p.detach().numpy(), t))
        optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), recorded, rtol=0, atol=1e-12)


def parabola(optimizer, curvature=1.0, steps=5):
    p = np.ones(1)
    for _ in range(steps):
        optimizer.update([p], [curvature * p])
    return p[0]


def test_nesterov_of_a_hand_computed_case():
    # p: 1, 0.43 = 1 - 0.57, then 0.43 - 0.243 - 0.57 * 0.43, the velocity -0.3 after the first
    p, optimizer = np.ones(1), nnext.Nesterov(lr=0.3, momentum=0.9)
    for expected in (0.43, 0.43 - 0.81 * 0.3 - 0.57 * 0.43):
        optimizer.update([p], [p.copy()])
        np.testing.assert_allclose(p, [expected], rtol=1e-15)
    np.testing.assert_allclose(parabola(nnext.Nesterov(lr=0.3)), -0.3478522397, rtol=1e-12)
    np.testing.assert_allclose(parabola(book.Nesterov(lr=0.3)), -0.1389000501, rtol=1e-9)


def test_nesterov_is_the_classical_method_seen_from_the_point_ahead():
    """With y = p + m v: v = m v - lr f'(y), p += v."""
    m, lr = 0.9, 0.05
    p, v = np.array(START), np.zeros(4)
    ahead, optimizer = p.copy(), nnext.Nesterov(lr=lr, momentum=m)
    for t in range(STEPS):
        v = m * v - lr * gradient(p + m * v, t)
        p = p + v
        optimizer.update([ahead], [gradient(ahead, t)])
        np.testing.assert_allclose(ahead, p + m * v, rtol=0, atol=1e-12)


def test_nesterov_is_stable_where_the_books_formula_diverges():
    """With momentum 0.9 the product of rate and curvature may reach 1.357; the book's: 0.859."""
    for product, steps in [(0.9, 1000), (1.3, 200)]:
        assert abs(parabola(nnext.Nesterov(lr=0.1), 10 * product, steps)) < 1e-3
        assert abs(parabola(book.Nesterov(lr=0.1), 10 * product, steps)) > 1e6


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("numbers", [{"lr": 0.01, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.5}])
def test_the_books_nesterov_is_the_books(dtype, numbers):
    r = np.random.default_rng(0)
    p, grads = r.standard_normal(40).astype(dtype), r.standard_normal((6, 40)).astype(dtype)
    start = p.astype(np.float64)
    optimizer = book.Nesterov(**numbers)
    for g in grads:
        optimizer.update([p], [g])
    expected = ref.book_nesterov(start, grads.astype(np.float64), **numbers)
    ref.assert_close(p, expected, 72, abs(start) + 10 * abs(grads.astype(np.float64)).sum(0))
    assert optimizer.state_dict()["type"] == "nnext.book.optimizer.Nesterov"
    with pytest.raises(ValueError, match=r"nnext\.optimizer\.Nesterov.*nnext\.book"):
        nnext.Nesterov().load_state_dict(optimizer.state_dict())


def test_the_book_module_has_all_optimizers_of_the_book():
    names = set(book.__all__) - {"GPU", "np"}  # which the book's star imports give too
    assert names == set(nnext.optimizer.__all__) - {"AdamW"}
    for name in names - {"Nesterov"}:
        assert issubclass(getattr(book, name), getattr(nnext, name))
        state = getattr(book, name)(lr=0.5).state_dict()
        other = getattr(nnext, name)()
        other.load_state_dict(state)
        assert other.lr == 0.5


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_without_memory_a_gradient_is_divided_by_its_own_size(name, dtype):
    """A small gradient after a large one: ``v + (g² - v)`` would be 0, and eps the divisor."""
    options = {"eps": 1e-9, "weight_decay": 0} if name == "AdamW" else {}
    optimizer = getattr(nnext, name)(lr=1.0, beta1=0, beta2=0, **options)
    for g in (1, 1e-4, 3e4, -1e-4, 1e-10):
        p = np.zeros(5, dtype)
        optimizer.reset()
        optimizer.update([p], [np.full(5, 1000, dtype)])
        p[:] = 0
        optimizer.update([p], [np.full(5, g, dtype)])
        np.testing.assert_allclose(p, -g / (abs(g) + options.get("eps", 1e-7)), rtol=1e-6)


@pytest.mark.parametrize("beta", [1e-12, 1e-6, 0.01, 0.3, 0.499])
@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_a_mean_that_forgets_fast_loses_no_digits(beta, dtype):
    optimizer, p = nnext.Adam(beta1=beta, beta2=beta), np.ones(3, dtype)
    m = v = 0.0
    for g in (1e3, 1.0, 1e-3, 1e-6):
        m, v = beta * m + (1 - beta) * g, beta * v + (1 - beta) * g * g
        optimizer.update([p], [np.full(3, g, dtype)])
        rtol = 20 * np.finfo(dtype).eps
        np.testing.assert_allclose(optimizer.m[0].astype(float), m, rtol=rtol)
        np.testing.assert_allclose(optimizer.v[0].astype(float), v, rtol=rtol)


@pytest.mark.parametrize("size", [1e-307, 1e-200, 1e200, 2e307])
def test_the_norm_of_gradients_is_finite_where_its_value_is(size):
    grads = [np.full((1, 1), 3 * size), np.zeros(0), np.full(1, -4 * size)]
    np.testing.assert_allclose(_nnext.clip_grads(grads, 1e308), 5 * size, rtol=1e-15)
    np.testing.assert_array_equal(grads[0], [[3 * size]])
    if size > 1:
        _nnext.clip_grads(grads, 1.0)
        np.testing.assert_allclose([grads[0][0, 0], grads[2][0]], [0.6, -0.8], rtol=1e-15)


def test_gradients_are_clipped_by_factors_that_float32_cannot_hold():
    grads = [np.full(1000, 3e38, np.float32), np.array([1e-3, 0], np.float32)]
    norm = _nnext.clip_grads(grads, 1e-3)
    np.testing.assert_allclose(norm, 3e38 * np.sqrt(1000), rtol=1e-6)
    np.testing.assert_allclose(grads[0], 1e-3 / np.sqrt(1000), rtol=1e-6)
    np.testing.assert_array_equal(grads[1], 0)


def test_the_norm_of_infinite_gradients_is_infinite_and_of_nan_nan():
    assert _nnext.clip_grads([np.array([1e200, np.inf])], 1.0) == np.inf
    assert np.isnan(_nnext.clip_grads([np.array([np.inf, 1]), np.array([np.nan])], 1.0))
