"""Predict numbers: how far diabetes has gone after a year, from ten measurements.

Needs scikit-learn for the data: ``pip install ".[data]"``.
"""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score

from nnext import AdamW, HuberLoss, ReLU, Sequential, SquaredError, Trainer, affine
from nnext.callbacks import EarlyStopping
from nnext.datasets import train_test_split


def main():
    """Train with two losses; measure on what was held out."""
    data = load_diabetes()
    x_train, x_test, t_train, t_test = train_test_split(
        data.data, data.target[:, None], test_size=0.25, seed=0
    )
    x_mean, x_std = x_train.mean(axis=0), x_train.std(axis=0)
    t_mean, t_std = t_train.mean(), t_train.std()
    x_train, x_test = (x_train - x_mean) / x_std, (x_test - x_mean) / x_std

    # A target far from the prediction draws it by its square, or under Huber's loss by its size.
    for loss in (SquaredError(), HuberLoss(0.5)):
        rng = np.random.RandomState(0)
        model = Sequential([affine(10, 16, rng), ReLU(), affine(16, 1, rng)], loss)
        trainer = Trainer(model, AdamW(lr=0.003, weight_decay=1.0), seed=0)
        history = trainer.fit(
            x_train,
            (t_train - t_mean) / t_std,
            max_epoch=200,
            batch_size=32,
            eval_interval=None,
            validation=0.2,
            callbacks=[EarlyStopping("val_loss", patience=20)],
            progress="none",
        )
        y = model.predict(x_test) * t_std + t_mean
        error = abs(y - t_test).mean()
        epochs = len(history.epoch_loss)
        print(
            f"{loss}: {epochs} epochs, R² {r2_score(t_test, y):.2f}, off by {error:.0f} on average"
        )


if __name__ == "__main__":
    main()
