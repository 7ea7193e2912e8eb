"""What the estimators do with data of every kind: byte orders, strides, types, sparse formats."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse

from sklearn_nets import X, Y, classifier, regressor, same_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning"),
]

FORMATS = ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")


@pytest.mark.parametrize("kind", [classifier, regressor])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_byte_orders_change_no_bit(kind, dtype):
    native, swapped = X.astype(f"={dtype}"), X.astype(f"={dtype}").astype(f">{dtype}")
    made, other = kind().fit(native, Y), kind().fit(swapped, Y.astype(">i8"))
    assert made.coefs_[0].dtype == other.coefs_[0].dtype == np.dtype(dtype)
    assert same_weights(made, other)
    np.testing.assert_array_equal(made._outputs(native), made._outputs(swapped))
    assert same_weights(made.partial_fit(native, Y), other.partial_fit(swapped, Y))
    assert kind(dtype="float64").fit(swapped, Y).coefs_[0].dtype == np.float64


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),  # read-only
        lambda x: x.astype(np.longdouble),
        lambda x: x.astype(object),
        lambda x: x.tolist(),
        lambda x: memoryview(np.ascontiguousarray(x)),
    ],
)
def test_the_same_numbers_give_the_same_weights(change):
    x = change(X)
    made = classifier().fit(x, Y)
    assert same_weights(made, classifier().fit(X, Y))
    np.testing.assert_array_equal(made.predict_proba(x), made.predict_proba(X))


@pytest.mark.parametrize("dtype", ["f2", ">f2", "i1", ">i4", "u8", "?"])
def test_other_types_are_computed_in_float64(dtype):
    x = (X > 0.3).astype(dtype)
    assert same_weights(classifier().fit(x, Y), classifier().fit(x.astype(np.float64), Y))


@pytest.mark.parametrize("library", ["pandas"])
def test_nullable_columns(library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame(X.astype(np.float32)).astype("Float32")
    assert same_weights(
        classifier(dtype="float32").fit(frame, Y), classifier().fit(np.float32(X), Y)
    )


@pytest.mark.parametrize("made", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("name", FORMATS)
def test_every_sparse_format_is_what_its_rows_are(made, name):
    x = made(X * (X > 0.5))
    rows, other = classifier().fit(x, Y), classifier().fit(x.asformat(name), Y)
    assert same_weights(rows, other)
    np.testing.assert_array_equal(rows.predict_proba(x), rows.predict_proba(x.asformat(name)))


def _set(name, at, value):
    def change(x):
        getattr(x, name)[at] = value

    return change


def _put(name, value):
    def change(x):
        setattr(x, name, value(getattr(x, name)))

    return change


def _far_key(x):
    x._dict[(0, 10**6)] = 1.0


BROKEN = {
    ("csr", "csc", "bsr"): [
        _set("indices", 3, 10**6),
        _set("indices", 3, -5),
        _set("indptr", 1, -1),
        _set("indptr", 1, 10**6),
        _set("indptr", -1, 10**6),
        _set("indptr", -1, 0),  # which SciPy's own check takes for a matrix without elements
        _set("indptr", 0, 1),
        _put("indptr", lambda indptr: indptr[:-1]),
        _put("indices", lambda indices: indices[:-2]),
        _put("data", lambda data: data[:-2]),
    ],
    ("lil",): [
        lambda x: x.rows[2].append(10**6),
        lambda x: (x.rows[2].append(10**6), x.data[2].append(1.0)),
        lambda x: (x.rows[2].insert(0, -5), x.data[2].insert(0, 1.0)),
        lambda x: x.data[2].append(1.0),
        _put("rows", lambda rows: rows[:-1]),
    ],
    ("dia",): [
        _put("offsets", lambda offsets: offsets[:-1]),
        _put("data", lambda data: data[:-1]),
        _put("data", lambda data: data[0]),
    ],
    ("coo",): [
        *(_set(axis, 3, wrong) for axis in ("row", "col") for wrong in (10**6, -5)),
        _put("row", lambda row: row[:-1]),
        _put("data", lambda data: data[:-1]),
    ],
    ("dok",): [_far_key],
}


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for names, all_ in BROKEN.items() for name in names for change in all_],
)
@pytest.mark.parametrize("made", [sparse.csr_array, sparse.csr_matrix])
def test_a_sparse_matrix_that_points_outside_of_itself_is_refused(made, name, change):
    good = made(X * (X > 0.5))
    fitted = classifier().fit(good, Y)
    before = [W.copy() for W in fitted.coefs_]
    bad = good.asformat(name).copy()
    change(bad)
    for call in (
        lambda: fitted.fit(bad, Y),
        lambda: fitted.partial_fit(bad, Y),
        lambda: fitted.predict(bad),
        lambda: fitted.score(bad, Y),
    ):
        with pytest.raises(ValueError, match=r"^X: expected a sparse matrix|exceeds"):
            call()
    assert all(map(np.array_equal, before, fitted.coefs_))


def test_an_indicator_matrix_that_points_outside_of_itself_is_refused():
    bad = sparse.csr_array(np.eye(3, dtype=int)[Y])
    bad.indices[3] = 10**6
    with pytest.raises(ValueError, match=r"^y: expected a sparse matrix .* an index is 1000000"):
        classifier().fit(X, bad)


def test_the_check_writes_nothing_into_the_matrix():
    good = sparse.csr_array(X * (X > 0.5))
    indices, data = (np.append(a, a[:5]) for a in (good.indices, good.data))  # more than is used
    roomy = sparse.csr_array((data, indices, good.indptr), good.shape)
    roomy.indices, roomy.data = indices, data
    assert same_weights(classifier().fit(roomy, Y), classifier().fit(good, Y))
    assert roomy.indices is indices
    assert roomy.data is data


def test_numbers_to_predict_may_be_sparse():
    y = sparse.csr_array(X[:, :2] * (X[:, :2] > 0))
    made = regressor().fit(X, y)
    assert same_weights(made, regressor().fit(X, y.toarray()))
    assert made.predict(X).shape == (len(X), 2)
