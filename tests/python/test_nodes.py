"""The nodes of the book's graphs: what they compute, and that their gradients are right."""

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import nodes
from reference import normal


def test_the_books_apples():
    # Two apples at 100 each, with a tax of 10 %.
    apples, tax = nodes.Multiply(), nodes.Multiply()
    assert tax.forward(apples.forward(100, 2), 1.1) == pytest.approx(220)
    d_price, d_tax = tax.backward(1)
    assert (*apples.backward(d_price), d_tax) == pytest.approx((2.2, 110, 200))


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_multiply_passes_the_gradient_times_the_other_input(dtype):
    x, y, dout = normal(dtype, 3, 4), normal(dtype, 3, 4, seed=1), normal(dtype, 3, 4, seed=2)
    node = nodes.Multiply()
    ref.assert_same_bits(node.forward(x, y), x * y)
    dx, dy = node.backward(dout)
    ref.assert_same_bits(dx, dout * y)
    ref.assert_same_bits(dy, dout * x)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_add_passes_the_gradient_on_to_both(dtype):
    x, y, dout = normal(dtype, 3, 4), normal(dtype, 3, 4, seed=1), normal(dtype, 3, 4, seed=2)
    node = nodes.Add()
    ref.assert_same_bits(node.forward(x, y), x + y)
    dx, dy = node.backward(dout)
    assert dx is dout
    assert dy is dout


@pytest.mark.parametrize("n", [1, 2, 5])
def test_branch_sums_what_comes_back(n):
    x = normal(np.float32, 3, 4)
    node = nodes.Branch(n)
    branches = node.forward(x)
    assert len(branches) == n
    assert all(b is x for b in branches)
    douts = [normal(np.float32, 3, 4, seed=i) for i in range(n)]
    dx = node.backward(*douts)
    expected = douts[0].copy()
    for dout in douts[1:]:
        expected += dout
    ref.assert_same_bits(dx, expected)
    assert not np.shares_memory(dx, douts[0])


def test_branch_has_two_branches_unless_told_otherwise():
    assert len(nodes.Branch().forward(np.ones(3))) == 2


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_repeat_of_the_books_example(dtype):
    D, N = 8, 7
    x, dout = normal(dtype, 1, D), normal(dtype, N, D)
    node = nodes.Repeat(N)
    ref.assert_same_bits(node.forward(x), np.repeat(x, N, axis=0))
    dx = node.backward(dout)
    ref.assert_close(dx, ref.f64(dout).sum(axis=0, keepdims=True), N, abs(dout).sum(axis=0))
    assert dx.dtype == dtype


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_sum_of_the_books_example(dtype):
    D, N = 8, 7
    x, dout = normal(dtype, N, D), normal(dtype, 1, D)
    node = nodes.Sum()
    y = node.forward(x)
    ref.assert_close(y, ref.f64(x).sum(axis=0, keepdims=True), N, abs(x).sum(axis=0))
    ref.assert_same_bits(node.backward(dout), np.repeat(dout, N, axis=0))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (3, 1), (2, 3, 4), (0, 4), (3, 0)])
@pytest.mark.parametrize("n", [1, 3])
def test_repeat_is_numpys_and_sums_the_copies(n, shape, axis):
    x = np.random.default_rng(0).integers(-9, 9, shape).astype(np.float64)
    node = nodes.Repeat(n, axis)
    y = node.forward(x)
    np.testing.assert_array_equal(y, np.repeat(x, n, axis), strict=True)
    np.testing.assert_array_equal(node.backward(y), n * x, strict=True)


@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (3, 1), (2, 3, 4), (0, 4), (3, 0)])
def test_sum_is_numpys_and_repeats_the_gradient(shape, axis, keepdims):
    x = np.random.default_rng(0).integers(-9, 9, shape).astype(np.float64)
    node = nodes.Sum(axis, keepdims)
    y = node.forward(x)
    np.testing.assert_array_equal(y, x.sum(axis=axis, keepdims=keepdims), strict=True)
    expected = np.zeros(shape) + x.sum(axis=axis, keepdims=True)
    np.testing.assert_array_equal(node.backward(y), expected, strict=True)


def test_one_dimension_is_repeated_and_summed_too():
    node = nodes.Sum(0, keepdims=False)
    assert node.forward(np.arange(4.0)) == 6
    np.testing.assert_array_equal(node.backward(2.0), np.full(4, 2.0))
    node = nodes.Repeat(2)
    np.testing.assert_array_equal(node.forward([1.0, 5.0]), [1, 1, 5, 5])
    np.testing.assert_array_equal(node.backward([1.0, 2.0, 3.0, 4.0]), [3, 7])


def test_the_product_node_is_the_layer():
    assert nodes.MatMul is nnext.MatMul


def test_a_graph_of_nodes_has_the_right_gradients():
    # z = sum over rows of (repeat(b) + x) * (repeat(b) + x): b branches, and so does the sum.
    x = normal(np.float64, 5, 3)
    b = normal(np.float64, 1, 3, seed=1)
    repeat, add, branch, multiply, total = (
        nodes.Repeat(5),
        nodes.Add(),
        nodes.Branch(),
        nodes.Multiply(),
        nodes.Sum(axis=0),
    )

    def forward(b):
        return total.forward(multiply.forward(*branch.forward(add.forward(repeat.forward(b), x))))

    numerical = nnext.numerical_gradient(lambda b: forward(b).sum(), b)
    forward(b)
    d_sum, dx = add.backward(branch.backward(*multiply.backward(total.backward(np.ones((1, 3))))))
    np.testing.assert_allclose(repeat.backward(d_sum), numerical, rtol=1e-8)
    np.testing.assert_allclose(dx, 2 * (x + b), rtol=1e-15)


@pytest.mark.parametrize("node", [nodes.Multiply(), nodes.Add()], ids=["multiply", "add"])
def test_operands_of_two_shapes_are_refused(node):
    with pytest.raises(ValueError, match=r"y has shape \(3,\), expected \(2, 3\)"):
        node.forward(np.ones((2, 3)), np.ones(3))
    with pytest.raises(RuntimeError, match="before"):  # nothing was remembered
        node.backward(np.ones((2, 3)))


@pytest.mark.parametrize(
    ("node", "inputs", "expected"),
    [
        (nodes.Multiply(), 2, (2, 3)),
        (nodes.Add(), 2, (2, 3)),
        (nodes.Branch(1), 1, (2, 3)),
        (nodes.Repeat(4), 1, (8, 3)),
        (nodes.Sum(), 1, (1, 3)),
        (nodes.Sum(1, keepdims=False), 1, (2,)),
    ],
    ids=["multiply", "add", "branch", "repeat", "sum", "sum of rows"],
)
def test_a_gradient_of_another_shape_is_refused(node, inputs, expected):
    node.forward(*[np.ones((2, 3))] * inputs)
    node.backward(np.ones(expected))
    with pytest.raises(ValueError, match=r"has shape \(7, 7\), expected " + f"\\({expected[0]},"):
        node.backward(np.ones((7, 7)))


@pytest.mark.parametrize(
    "node",
    [nodes.Multiply(), nodes.Add(), nodes.Branch(1), nodes.Repeat(2), nodes.Sum()],
    ids=lambda node: type(node).__name__,
)
def test_backward_before_forward_says_so(node):
    name = type(node).__name__
    with pytest.raises(RuntimeError, match=rf"{name}\.backward was called before {name}\.forward"):
        node.backward(1.0)


@pytest.mark.parametrize("value", [None, 1j, "a", object(), [None], np.array([1j])], ids=str)
@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        (nodes.Multiply(), 2),
        (nodes.Add(), 2),
        (nodes.Branch(1), 1),
        (nodes.Repeat(1), 1),
        (nodes.Sum(), 1),
    ],
    ids=lambda node: type(node).__name__,
)
def test_what_cannot_be_computed_with_is_named(node, inputs, value):
    value = value if np.ndim(value) or inputs == 2 else [value]  # some need an axis
    with pytest.raises(TypeError, match="x: cannot compute with type"):
        node.forward(*[value] * inputs)
    good = np.ones(np.shape(value))
    outputs = node.forward(*[good] * inputs)
    bad = np.full(np.shape(outputs[0] if isinstance(outputs, tuple) else outputs), value)
    if bad.shape:  # a number is cast
        with pytest.raises(TypeError, match=r"dout(s\[0\])?: cannot compute with type"):
            node.backward(bad)


def test_wrong_counts_and_axes_are_refused():
    for node in (nodes.Branch, nodes.Repeat):
        for n in (0, 2.5, "a", None, True):
            with pytest.raises(ValueError, match=f"n: .* at least 1, got {n!r}"):
                node(n)
        with pytest.raises(ValueError, match="n: expected a number of 64 bits"):
            node(10**30)
    for make in (lambda axis: nodes.Repeat(2, axis), nodes.Sum):
        for axis in (0.5, "a", None):
            with pytest.raises(TypeError, match=f"axis: expected a whole number, got {axis!r}"):
                make(axis)
        for axis in (64, -65, 10**30):
            with pytest.raises(ValueError, match=f"axis: expected that of an array, got {axis}"):
                make(axis)
    for keepdims in ("no", None, 1):
        with pytest.raises(TypeError, match=f"keepdims: expected True or False, got {keepdims!r}"):
            nodes.Sum(keepdims=keepdims)
    branch = nodes.Branch(3)
    branch.forward(np.ones(2))
    with pytest.raises(ValueError, match="2 gradients came back, expected 3"):
        branch.backward(np.ones(2), np.ones(2))
    for node in (nodes.Repeat(2, axis=1), nodes.Sum(axis=1)):
        with pytest.raises(ValueError, match="axis 1 is out of bounds"):
            node.forward(np.ones(3))


def test_nodes_keep_the_contract_of_layers():
    model = nnext.Sequential([nnext.MatMul(normal(np.float64, 4, 3)), nodes.Repeat(2)])
    assert nnext.check_gradients(model, normal(np.float64, 3, 4), [0, 1, 2, 0, 1, 2]).ok


def test_numpy_integers_are_integers():
    node = nodes.Repeat(np.int8(100), axis=np.int8(0))
    assert node.forward(np.ones((3, 1))).shape == (300, 1)
    np.testing.assert_array_equal(node.backward(np.ones((300, 1))), np.full((3, 1), 100))
    assert type(nodes.Branch(np.int8(2)).n) is type(nodes.Sum(np.int8(1)).axis) is int
