"""What a new user hands to ``fit`` by mistake is told by its name, before anything changes."""

import numpy as np
import pytest

from nnext import SGD, Sequential, SoftmaxWithLoss, SquaredError, Trainer, affine
from nnext.base_model import BaseModel

rng = np.random.default_rng(0)
X = rng.standard_normal((30, 2)).astype(np.float32)
Z = rng.standard_normal((30, 3)).astype(np.float32)
T = rng.integers(0, 3, 30)


class TwoInputs(BaseModel):
    """The scores are a sum over two inputs, of 2 and 3 features."""

    def __init__(self, names):
        self.names = names
        self.a, self.b = affine(2, 3, seed=0), affine(3, 3, seed=1)
        super().__init__([self.a, self.b], SoftmaxWithLoss())

    def loss_input(self, x):
        first, second = (x[name] for name in self.names)
        return self.a.forward(first) + self.b.forward(second)

    def forward(self, x, t):
        return self.loss_layer.forward(self.loss_input(x), t)

    def backward(self, dout=1):
        dout = self.loss_layer.backward(dout)
        self.a.backward(dout)
        self.b.backward(dout)


def chain(loss=None, outputs=3):
    return Sequential([affine(2, outputs, seed=0)], loss)


def trainer(model=None):
    return Trainer(chain() if model is None else model, SGD(0.1), seed=0)


def refused(kind, message, *data, over=None, **options):
    over = trainer() if over is None else over
    before = [p.copy() for p in over.model.params]
    with pytest.raises(kind, match=message):
        over.fit(*data, **{"max_epoch": 1, "progress": "none", **options})
    for p, q in zip(over.model.params, before, strict=True):
        np.testing.assert_array_equal(p, q)
    assert over.history.batches == 0


def fit(*data, over=None, **options):
    over = trainer() if over is None else over
    over.fit(*data, **{"max_epoch": 1, "progress": "none", **options})
    return over


# --- arrays ---------------------------------------------------------------------------------------


class Tensor:
    """What cannot be made an array, as a tensor that needs a gradient."""

    def __len__(self):
        return 30

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


class Frame:
    """What can be made one, as a DataFrame or Series."""

    def __init__(self, array):
        self.array = array

    def __len__(self):
        return len(self.array)

    def __getitem__(self, name):
        raise KeyError(name)

    def __iter__(self):
        return iter(["first", "second"])

    def __array__(self, dtype=None, copy=None):
        return self.array


MIXED = X.astype(object)
MIXED[:, 1] = "cat"
STRINGS = np.array(["cat", "dog", "cow"])[T]


@pytest.mark.parametrize(
    ("x", "t", "kind", "message"),
    [
        (X, STRINGS, TypeError, "^t: .* got type <U3; np.unique.t, return_inverse=True. gives"),
        (X, STRINGS.astype("S"), TypeError, r"^t: .* got type \|S3; np.unique"),
        (X.astype(str), T, TypeError, "^x: expected an array of numbers, got type <U"),
        (X.astype(complex), T, TypeError, "^x: expected an array of numbers, got type complex128"),
        (X.astype("datetime64[s]"), T, TypeError, "^x: .* got type datetime64"),
        (np.zeros((30, 2), "f4,f4"), T, TypeError, "^x: expected an array of numbers, got type"),
        (np.zeros((30, 2), "V4"), T, TypeError, r"^x: .* got type \|V4"),
        (Tensor(), T, TypeError, "^x: .* got Tensor, of which none can be made: Can't call numpy"),
        (X, Tensor(), TypeError, "^t: .* got Tensor, of which none can be made"),
        ([[1.0, 2]] * 4 + [[1.0]], T[:5], ValueError, "^x: .* lengths .row 0 has 2, row 4 has 1."),
        (X, [[0]] * 29 + [[0, 1]], ValueError, "^t: .* lengths .row 0 has 1, row 29 has 2."),
        (
            X,
            [*T[:29].tolist(), None],
            TypeError,
            r"^t: .* objects, object \(30,\); \[29\] is None$",
        ),
        (X, STRINGS.astype(object), TypeError, r"^t: .*; \[0\] is '.*'; np.unique.t, return_inv"),
        (MIXED, T, TypeError, r"^x: .* got objects, object \(30, 2\); \[0, 1\] is 'cat'$"),
        (X.astype(object), T, TypeError, r"^x: .* got objects, object \(30, 2\)$"),
        (X[:, :1], T, ValueError, "."),
        (X, T[:29], ValueError, "^t: expected 30 labels"),
        (X, T.astype(float) + 0.5, (TypeError, ValueError), "."),
        (X, np.where(T > 1, np.nan, T), (TypeError, ValueError), "."),
    ],
)
def test_what_are_no_samples_or_labels_is_refused_by_name(x, t, kind, message):
    refused(kind, message, x, t)


def test_what_can_be_made_an_array_is_data():
    expected = fit(X, T)
    for x, t in [(Frame(X), Frame(T)), (X.tolist(), T.tolist())]:
        over = fit(x, t, validation=(x, t))
        np.testing.assert_array_equal(over.model.params[0], expected.model.params[0])
    weighted = fit(Frame(X), Frame(T), sample_weight=Frame(np.ones(30)))
    assert weighted.history.epoch_loss == pytest.approx(expected.history.epoch_loss)


def test_targets_that_are_nan_are_told():
    over = trainer(chain(SquaredError(), 1))
    t = X[:, :1].astype(float)
    t[3] = np.nan
    with pytest.warns(RuntimeWarning, match="the loss is nan in epoch 1, step 1: .* data not"):
        fit(X, t, over=over)


# --- several inputs -------------------------------------------------------------------------------


def test_inputs_of_a_dict_may_be_lists():
    names = ["a", "b"]
    lists, arrays = trainer(TwoInputs(names)), trainer(TwoInputs(names))
    fit({"a": X.tolist(), "b": Z.tolist()}, T, over=lists, validation=0.2, batch_size=7)
    fit({"a": X, "b": Z}, T, over=arrays, validation=0.2, batch_size=7)
    for p, q in zip(lists.model.params, arrays.model.params, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (
            {"a": X, "b": Z[:29]},
            ValueError,
            r"of shape \(30,\), got x\['a'\] of 30, x\['b'\] of 29",
        ),
        ({"a": X.tolist(), "b": [[1, 2, 3]]}, ValueError, r"got x\['a'\] of 30, x\['b'\] of 1$"),
        ({"a": X[:29], "b": Z[:29]}, ValueError, r"t: expected 29 labels, .* row of x\['a'\]"),
        ({"a": X, "b": [[1.0], [1.0, 2.0]]}, ValueError, r"x\['b'\]: .*row 0 has 1, row 1 has 2"),
        ({"a": X, "b": None}, TypeError, r"x\['b'\]: expected a NumPy array .* NoneType"),
        ({"a": X, "b": Z[:0]}, ValueError, r"x\['b'\]: expected at least one sample"),
        ({"a": X, "b": Z.astype(str)}, TypeError, r"x\['b'\]: expected an array of numbers"),
        ({}, ValueError, "x: expected at least one input, got an empty dict"),
    ],
)
def test_an_input_that_does_not_fit_is_named(x, kind, message):
    refused(kind, message, x, T, over=trainer(TwoInputs(["a", "b"])))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ((X, Z[:29]), r"as many rows as t, of shape \(30,\), got x\[0\] of 30, x\[1\] of 29"),
        ((X[:29], Z[:29]), r"t: expected 29 labels, one for each row of x\[0\]"),
    ],
)
def test_an_input_of_a_tuple_that_does_not_fit_is_named(x, message):
    refused(ValueError, message, x, T, over=trainer(TwoInputs([0, 1])))


def test_too_few_rows_are_not_taken_for_inputs():
    refused(TypeError, "^x: expected one array .* a tuple of 29 arrays", tuple(X[:29]), T)


# --- iterables of batches -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X, "^t: expected labels; without them .* got ndarray"),
        (Frame(X), "^t: expected labels; without them .* got Frame"),
        ({"a": X}, "^t: expected labels; without them .* got dict"),
        ("abc", "^t: expected labels; without them .* got str"),
        (None, "^t: expected labels; without them .* got NoneType"),
        ((X, T), r"^x: .* batch 1 is ndarray; samples that are no batches .* fit\(x, t\)"),
        (["ab", "cd"], r"^x: .* batch 1 is str; samples that are no batches"),
        ([{"x": X, "t": T}], "^x: .* batch 1 is dict"),
        ([(X, T, None, None)], "^x: .* batch 1 is tuple of length 4"),
        ([(X, STRINGS)], "^batch 1: t: expected an array of numbers, got type <U3"),
        ([("ab", "cd")], "^batch 1: x: expected an array of numbers, got type <U2"),
    ],
)
def test_what_gives_no_batches_is_told_apart(x, message):
    refused(TypeError, message, x)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((X[:0], T[:0]), r"^batch 1: x: expected at least one sample, got shape \(0, 2\)"),
        ((X, T[:29]), "^batch 1: t: expected 30 labels"),
        ((X, T, np.ones(29)), "^batch 1: sample_weight: expected 30 weights"),
        ((X, T, -np.ones(30)), "^batch 1: sample_weight: expected finite numbers"),
    ],
)
def test_a_batch_that_does_not_fit_is_numbered(batch, message):
    refused(ValueError, message, [batch])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"batch_size": 32}, ValueError, "batch_size: an iterable gives its own batches"),
        ({"batch_size": 0}, ValueError, "batch_size: expected a whole number of at least 1"),
        ({"drop_last": True}, ValueError, "drop_last: an iterable gives its own batches"),
        ({"sample_weight": np.ones(30)}, ValueError, "sample_weight: an iterable gives its own"),
        ({"validation": 0.1}, TypeError, "got float; no part of an iterable can be set apart"),
        ({"metrics": ["accuracy"]}, ValueError, "metrics: with an iterable of batches they need"),
    ],
)
def test_no_option_is_taken_and_ignored(options, kind, message):
    refused(kind, message, [(X, T)], **options)


def test_weights_of_batches_that_nothing_takes_are_refused():
    class Own:
        params, grads = [], []

        def forward(self, x, t):
            return 0.0

        def backward(self, dout=1):
            return np.zeros((30, 3), np.float32)

    over = trainer(chain(Own()))
    refused(
        TypeError, "^batch 1: sample_weight: the forward of the loss Own", [(X, T, T)], over=over
    )


def test_a_batch_of_which_every_weight_is_0_changes_nothing():
    ones, zeros = np.ones(10), np.zeros(10)
    batches = [(X[i : i + 10], T[i : i + 10], w) for i, w in ((0, ones), (10, zeros), (20, ones))]
    over = fit(batches)
    other = fit([batches[0], batches[2]])
    np.testing.assert_array_equal(over.model.params[0], other.model.params[0])
    assert over.history.epoch_loss == other.history.epoch_loss


@pytest.mark.parametrize("error", [TypeError, NotImplementedError])
def test_an_iterable_need_not_know_its_length(error):
    class Loader:
        def __iter__(self):
            return iter([[X, T], [X, T]])

        def __len__(self):
            raise error("object of an iterable dataset has no len()")

    assert fit(Loader(), max_epoch=2).history.batches == 4


def test_lists_of_arrays_and_pairs_are_batches():
    assert fit([[X, T], (X.tolist(), T.tolist())]).history.batches == 2
