"""The data of fit are read, cast and checked before the first weight changes."""

import numpy as np
import pytest

from nnext.base_model import BaseModel
from nnext.layers import (
    AffineSoftmaxWithLoss,
    Dropout,
    Embedding,
    ReLU,
    SigmoidWithLoss,
    SoftmaxWithLoss,
)
from nnext.models import Sequential, affine
from nnext.optimizer import SGD, Adam
from nnext.trainer import Trainer


def chain(dtype="float32", loss=None):
    rng = np.random.default_rng(0)
    layers = [affine(2, 4, rng, dtype=dtype), Dropout(0.2, seed=0), ReLU()]
    if not isinstance(loss, AffineSoftmaxWithLoss):
        layers.append(affine(4, 3, rng, dtype=dtype))
    return Sequential(layers, loss)


def fused():
    return AffineSoftmaxWithLoss(np.ones((4, 3), np.float32), ignore_label=-1)


def points(n=20):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 2)).astype("f4"), rng.integers(0, 3, n)


def fit(model, x, t, **options):
    trainer = Trainer(model, Adam(), seed=0)
    trainer.fit(x, t, **{"max_epoch": 1, "batch_size": 3, "progress": "none", **options})
    return trainer


def refused(model, x, t, kind, message, **options):
    """Expect an error before anything has changed."""
    before = [p.copy() for p in model.params]
    trainer = Trainer(model, optimizer := Adam(), seed=0)
    state = trainer._rng.get_state()[1].copy()
    with pytest.raises(kind, match=message):
        trainer.fit(x, t, **{"max_epoch": 1, "batch_size": 3, "progress": "none", **options})
    for p, q in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, q)
    assert optimizer.iter == trainer.history.batches == 0
    np.testing.assert_array_equal(trainer._rng.get_state()[1], state)


@pytest.mark.parametrize("make_loss", [SoftmaxWithLoss, fused])
@pytest.mark.parametrize("row", [0, 7, 19])
def test_a_bad_label_is_named_by_its_row_in_the_data(make_loss, row):
    x, t = points()
    t[row] = 3
    model = chain(loss=make_loss())
    refused(model, x, t, IndexError, rf"\b{row}\b")
    assert model.layers[1].offset == 0  # of Dropout: looking at the data is not training


def test_labels_of_the_wrong_shape_or_binary_ones_out_of_range_are_refused():
    x, t = points()
    refused(chain(), x, np.zeros((20, 2), int), ValueError, r"\(20, 2\)")
    binary = np.zeros((20, 3))
    binary[11, 1] = 2
    refused(chain(loss=SigmoidWithLoss()), x, binary, ValueError, r"\b11\b")
    fit(chain(loss=SigmoidWithLoss()), x, np.eye(3)[t])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_data_of_which_every_label_is_ignored_are_refused(reduction):
    loss = SoftmaxWithLoss(ignore_label=-1, reduction=reduction)
    x, _ = points()
    refused(chain(loss=loss), x, np.full(20, -1), ValueError, "t: every label is ignored")


def test_a_loss_that_cannot_tell_is_checked_batch_by_batch():
    class Plain:
        params, grads = [], []

        def __init__(self):
            self.inner = SoftmaxWithLoss()
            self.forward, self.backward = self.inner.forward, self.inner.backward

    x, t = points()
    fit(chain(loss=Plain()), x, t)
    t[4] = 9
    with pytest.raises(IndexError):
        fit(chain(loss=Plain()), x, t)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("given", ["float16", ">f4", "float32", "float64", "longdouble"])
def test_floating_data_are_cast_to_the_parameters_type_once(dtype, given):
    seen = set()
    model = chain(dtype)
    forward = model.forward
    model.forward = lambda x, t: seen.add(x.dtype) or forward(x, t)
    x, t = points()
    data = x.astype(given)
    fit(model, data, t)
    assert seen == {np.dtype(dtype)}
    np.testing.assert_array_equal(data, x.astype(given))  # the caller's own is left alone


def test_whole_numbers_and_data_for_parameters_of_several_types_stay():
    class Model:
        def __init__(self, *dtypes):
            self.params = [np.zeros(1, dtype) for dtype in dtypes]
            self.grads = [np.zeros(1, dtype) for dtype in dtypes]
            self.seen = set()

        def forward(self, x, t):
            self.seen.add(x.dtype.name)
            return 1.0

        def backward(self):
            pass

    for model, dtype in [
        (Model("float32"), "int64"),
        (Model("float32"), "bool"),
        (Model("float32", "float64"), "float64"),
    ]:
        fit(model, np.ones((4, 2), dtype), np.zeros(4, int))
        assert model.seen == {dtype}
    words = np.array([[0, 1], [2, 1]])
    rng = np.random.default_rng(0)
    table = Embedding(rng.standard_normal((3, 2)).astype("f4"))
    fit(Sequential([table, affine(2, 3, rng)]), words, words)


def test_a_number_that_is_infinite_in_the_parameters_type_is_refused():
    x, t = points()
    x = x.astype(np.float64)
    x[6, 1] = -1e300
    message = r"x: row 6 holds -1e\+300, which is infinite in float32"
    refused(chain(), x, t, ValueError, message)
    x[6, 1] = 1e-300
    with np.errstate(all="raise"):
        fit(chain(), x, t)
    x[6, 1] = np.inf  # it is what it was
    fit(chain(), x, t, on_nonfinite="ignore")


class Sparse:
    """What a sparse matrix of SciPy has."""

    shape = (20, 2)

    def toarray(self):
        return np.zeros(self.shape)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"x": Sparse()}, TypeError, r"x: .* a sparse matrix must be made dense.* x\.toarray\(\)"),
        ({"t": Sparse()}, TypeError, r"t: .* a sparse matrix must be made dense.* t\.toarray\(\)"),
        ({"x": np.full((20, 2), None)}, TypeError, r"x: .* of numbers, got objects.*\(20, 2\)"),
        ({"x": {"a": 1}}, ValueError, r"x\['a'\]: expected at least one sample, got shape \(\)"),
        ({"x": None}, TypeError, "x: .* got NoneType"),
        ({"x": iter([1])}, TypeError, "x: .* got list_iterator"),
        (
            {"x": (np.ones((20, 2)), np.ones((20, 3)))},
            TypeError,
            r"x: expected one array, got a tuple of 2: the model has one input.*concatenate",
        ),
        ({"x": [np.ones((20, 2))] * 2}, TypeError, "x: expected one array .* a list of 2 arrays"),
        ({"t": (np.ones(20), np.ones(20))}, TypeError, "t: expected one array .* a tuple of 2"),
        ({"x": [[1.0], [1.0, 2.0]]}, ValueError, "x: .* rows of different lengths"),
        (
            {"x": np.zeros((0, 2)), "t": []},
            ValueError,
            r"x: expected at least one sample.*\(0, 2\)",
        ),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_by_name(changes, kind, message):
    x, t = points()
    refused(chain(), changes.get("x", x), changes.get("t", t), kind, message)


def test_lists_of_rows_are_data():
    x, t = points()
    fit(chain(), list(x), [int(label) for label in t])


class Stateful:
    """Remembers what it saw, as a recurrent layer does between batches."""

    def __init__(self):
        self.params, self.grads, self.h = [], [], None

    def forward(self, x):
        self.h = x if self.h is None else self.h * 0.5 + x
        return self.h

    def backward(self, dout):
        return dout


@pytest.mark.parametrize("container", [list, dict, None])
def test_checking_the_labels_leaves_no_trace_in_the_layers(container):
    cell = Stateful()

    class Holder(Stateful):
        def __init__(self):
            super().__init__()
            self.inner = {list: [cell], dict: {"cell": cell}, None: cell}[container]

        def forward(self, x):
            return cell.forward(x)

    model = Sequential([Holder(), affine(4, 3, seed=0)])
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    with pytest.raises(IndexError):
        Trainer(model, SGD()).fit(x, np.arange(6) + 7, progress="none")
    assert cell.h is None


@pytest.mark.parametrize("value", ["a", 1, None, np.ones(2)], ids=repr)
def test_whether_the_last_batch_is_dropped_is_true_or_false(value):
    refused(chain(), *points(), TypeError, "drop_last: expected True or False", drop_last=value)
    fit(chain(), *points(), drop_last=np.True_)


@pytest.mark.parametrize("row", [0, 40, 49])
@pytest.mark.parametrize("index", [7, -1])
@pytest.mark.parametrize("width", [(), (1,), (3,)])
def test_a_bad_index_is_named_by_its_row_in_the_data(row, index, width):
    model = Sequential([Embedding(np.ones((5, 3), "f4")), affine(3, 3, seed=0)])
    x = np.random.default_rng(0).integers(0, 5, (50, *width))
    t = np.zeros_like(x)
    fit(model, x, t)
    t[20] = 9  # the labels of rows that cannot be scored are not left unchecked
    x[(row, *(-1 for _ in width))] = index
    refused(model, x, t, IndexError, rf"^x: row {row}: index {index} ")


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_bad_label_of_a_sequence_is_named_by_its_sample(one_hot):
    model = Sequential([affine(2, 3, seed=0)])
    x, t = np.zeros((50, 3, 2), "f4"), np.zeros((50, 3), int)
    if one_hot:
        t = np.eye(3, dtype=int)[t]
        t[20, 1] = 1
        kind, message = ValueError, r"^t\[20\]: row 1 "
    else:
        t[20, 1] = 9
        kind, message = IndexError, r"^t\[20\]: label 9 in row 1 "
    refused(model, x, t, kind, message)
    with pytest.raises(kind, match=message):
        model.loss(x, t, batch_size=7)
    refused(model, x, np.zeros((50, 2), int), ValueError, r"\(50, 2\)")


class TwoTables(BaseModel):
    """Columns of indices of two vocabularies."""

    def __init__(self):
        self.tables = [Embedding(np.full((n, 2), 0.1, np.float32)) for n in (1000, 10)]
        self.last = affine(2, 3, seed=0)
        super().__init__([*self.tables, self.last], SoftmaxWithLoss())

    def scores(self, x):
        first, second = (table.forward(x[:, i]) for i, table in enumerate(self.tables))
        return self.last.forward(first + second)

    def forward(self, x, t):
        return self.loss_layer.forward(self.scores(x), t)

    def backward(self, dout=1):
        grad = self.last.backward(self.loss_layer.backward(dout))
        for table in self.tables:
            table.backward(grad)


def test_an_index_of_each_column_is_checked():
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(900, 1000, 50), rng.integers(0, 10, 50)], axis=1)
    t = rng.integers(0, 3, 50)
    fit(TwoTables(), x, t)
    x[33, 1] = 50
    refused(TwoTables(), x, t, IndexError, "x: row 33: index 50")
    with pytest.raises(IndexError, match="x: row 33: index 50"):
        TwoTables().loss(x, t, batch_size=8)


def test_rows_of_labels_are_named_as_rows():
    x, t = points()
    rows = np.eye(3)[t]
    rows[8] = 0.5
    refused(chain(), x, rows, ValueError, "^t: row 8 ")
