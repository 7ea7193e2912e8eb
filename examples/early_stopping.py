"""Stop when a validation set no longer gains, and keep the best weights: breast cancer data.

Needs scikit-learn for the data: ``pip install ".[data]"``.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import f1_score, roc_auc_score

from nnext import AdamW, Dropout, ReLU, Sequential, Trainer, affine
from nnext.callbacks import EarlyStopping
from nnext.datasets import train_test_split
from nnext.schedules import Cosine, WarmUp


def is_bias(p):
    """Say whether an array is one of the parameters that no weight decay is for."""
    return p.ndim < 2


def main():
    """Train with a validation set, a schedule and groups; measure on what was held out."""
    data = load_breast_cancer()
    x_train, x_test, t_train, t_test = train_test_split(
        data.data, data.target, test_size=0.25, seed=0
    )
    mean, std = x_train.mean(axis=0), x_train.std(axis=0)
    x_train, x_test = (x_train - mean) / std, (x_test - mean) / std

    rng = np.random.RandomState(0)
    model = Sequential([affine(30, 64, rng), ReLU(), Dropout(0.2, seed=0), affine(64, 2, rng)])
    optimizer = AdamW(
        lr=WarmUp(20, Cosine(0.01, steps=1000)),
        weight_decay=0.1,
        groups=[{"params": is_bias, "weight_decay": 0}],
    )
    # The two classes count alike, though one has more samples.
    sample_weight = len(t_train) / (2 * np.bincount(t_train)[t_train])
    stopping = EarlyStopping("val_loss", patience=10)
    trainer = Trainer(model, optimizer, seed=0)
    history = trainer.fit(
        x_train,
        t_train,
        max_epoch=100,
        batch_size=32,
        eval_interval=None,
        sample_weight=sample_weight,
        validation=0.2,
        metrics=["accuracy", f1_score],
        callbacks=[stopping],
    )
    print(f"{len(history.epoch_loss)} epochs, the best was the {stopping.best_epoch}th")
    probability = model.predict_proba(x_test)[:, 1]
    print(f"accuracy {model.accuracy(x_test, t_test):.1%}", end=", ")
    print(f"area under the curve {roc_auc_score(t_test, probability):.3f} on what was held out")


if __name__ == "__main__":
    main()
