"""Small estimators and data for the tests of `nnext.sklearn`, which need scikit-learn."""

import numpy as np
from sklearn.datasets import load_iris

from nnext.sklearn import MLPClassifier, MLPRegressor

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)


def classifier(**options):
    return MLPClassifier(**{"hidden_layer_sizes": 8, "max_iter": 5, "random_state": 0, **options})


def regressor(**options):
    return MLPRegressor(**{"hidden_layer_sizes": 8, "max_iter": 5, "random_state": 0, **options})


def same_weights(one, other):
    pairs = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    return all(np.array_equal(p, q) for p, q in pairs)
