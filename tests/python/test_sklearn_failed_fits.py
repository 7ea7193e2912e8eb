"""A fit that raises leaves an estimator as it was: attributes, weights, optimizer, records."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from nnext import callbacks
from sklearn_nets import X, Y, classifier, regressor, same_weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

EVENTS = [
    *("on_train_begin", "on_epoch_begin", "on_batch_begin", "on_gradients"),
    *("on_batch_end", "on_epoch_end", "on_train_end"),
]


class OutOfCallbackError(Exception):
    pass


class Raise(callbacks.Callback):
    """Raise at the second time of an event, or at the first of those that come once."""

    def __init__(self, event, error=OutOfCallbackError):
        self.left = 1 if event.startswith("on_train") else 2
        self.error = error
        setattr(self, event, self.count)

    def count(self, fit):
        self.left -= 1
        if self.left == 0:
            raise self.error


def fitted(made):
    """Return what a fit has written, as bytes."""
    return pickle.dumps({k: v for k, v in vars(made).items() if k not in made.get_params()})


def check_untouched(made, error, fit, **options):
    made.set_params(**options)
    before, scores = fitted(made), made.predict(X)
    arrays = [*made.coefs_, *made.intercepts_]
    with pytest.raises(error):
        fit(made)
    assert fitted(made) == before
    assert all(a is b for a, b in zip(arrays, [*made.coefs_, *made.intercepts_], strict=True))
    np.testing.assert_array_equal(made.predict(X), scores)


WAYS = {
    "fresh": ({}, lambda made, *data: made.fit(*data)),
    "warm": ({"warm_start": True}, lambda made, *data: made.fit(*data)),
    "partial": ({}, lambda made, *data: made.partial_fit(*data)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [classifier, regressor])
@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({"callbacks": [3]}, (X, Y)),
        ({"callbacks": [callbacks.EarlyStopping("val_loss")]}, (X, Y)),
        ({"alpha": -1}, (X, Y)),
        ({"random_state": "seven"}, (X, Y)),
        ({}, (X, Y, np.full(len(Y), np.nan))),
        ({}, (X, Y, np.zeros(len(Y)))),
        ({}, (X[:0], Y[:0])),
        ({}, (X, Y[:-1])),
        ({}, (np.where(X > 2, np.nan, X), Y)),
        ({}, (X, np.array(["a", 1] * 75, object))),
    ],
)
def test_what_cannot_be_used(way, kind, options, data):
    going_on, fit = WAYS[way]
    made = kind(solver="sgd", learning_rate_init=0.1).fit(X, Y)
    check_untouched(made, (ValueError, TypeError), lambda m: fit(m, *data), **options, **going_on)


@pytest.mark.parametrize("way", WAYS)
def test_weights_that_overflow(way):
    going_on, fit = WAYS[way]
    made = regressor(solver="sgd", learning_rate_init=0.1).fit(X, Y)
    check_untouched(made, ValueError, lambda m: fit(m, X * 1e300, Y), **going_on)


@pytest.mark.parametrize("data", [(X[:, :3], Y), (X[:, :3], Y % 2)])
def test_a_failed_fresh_fit_keeps_features_and_classes(data):
    made = classifier().fit(X, Y)
    check_untouched(made, ValueError, lambda m: m.fit(*data, np.zeros(len(Y))))
    assert made.n_features_in_ == 4
    assert len(made.classes_) == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("event", EVENTS)
def test_an_exception_out_of_a_callback(way, early_stopping, event):
    if way == "partial" and (early_stopping or event.startswith("on_epoch")):
        pytest.skip("there is one epoch, and no early stopping")
    going_on, fit = WAYS[way]
    made = classifier(batch_size=50, early_stopping=early_stopping).fit(X, Y)
    check_untouched(
        made,
        OutOfCallbackError,
        lambda m: fit(m, X, Y),
        callbacks=[Raise(event)],
        **going_on,
    )
    made.set_params(callbacks=None)
    again = classifier(batch_size=50, early_stopping=early_stopping, **going_on).fit(X, Y)
    assert same_weights(fit(made, X, Y), fit(again, X, Y))
    assert made.loss_curve_ == again.loss_curve_


@pytest.mark.parametrize("error", [OutOfCallbackError, KeyboardInterrupt])
@pytest.mark.parametrize("warm_start", [False, True])
def test_an_exception_out_of_a_callback_of_lbfgs(error, warm_start):
    made = classifier().fit(X, Y)
    check_untouched(
        made,
        error,
        lambda m: m.fit(X, Y),
        solver="lbfgs",
        warm_start=warm_start,
        callbacks=[Raise("on_epoch_end", error)],
    )


def test_a_first_fit_that_fails_leaves_nothing():
    made = classifier(callbacks=[Raise("on_epoch_end")])
    with pytest.raises(OutOfCallbackError):
        made.fit(X, Y)
    assert set(vars(made)) == set(made.get_params())


def test_what_a_fit_no_longer_has_is_gone():
    made = classifier().fit(X, Y)
    made.set_params(solver="lbfgs").fit(X, Y)
    assert not hasattr(made, "loss_curve_")
    assert not hasattr(made, "_optimizer")


def test_callbacks_find_the_estimator_that_is_being_fitted():
    class Look(callbacks.Callback):
        def on_epoch_end(self, fit):
            self.scores.append(fit.estimator.score(X, Y))
            self.losses.append(fit.estimator.loss_curve_[-1])
            self.coefs = fit.estimator.coefs_

    look = Look()
    look.scores, look.losses = [], []
    made = classifier(callbacks=[look]).fit(X, Y)
    assert look.scores[-1] == made.score(X, Y)
    assert look.losses == made.loss_curve_
    assert look.coefs[0] is made.coefs_[0]


def test_arrays_that_somebody_holds_are_not_written_by_a_later_fit():
    made = classifier().fit(X, Y)
    held, curve = made.coefs_[0], made.loss_curve_
    values, losses = held.copy(), list(curve)
    made.partial_fit(X, Y)
    made.set_params(warm_start=True).fit(X, Y)
    np.testing.assert_array_equal(held, values)
    assert curve == losses
    assert made.loss_curve_[: len(losses)] == losses


def test_an_option_that_a_callback_sets_stays_set():
    class Sets(callbacks.Callback):
        def on_epoch_end(self, fit):
            estimator.set_params(alpha=0.5)

    estimator = classifier(callbacks=[Sets()])
    estimator.fit(X, Y)
    assert estimator.alpha == 0.5
