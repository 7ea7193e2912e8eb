"""Handwritten digits from data to a saved model: Sequential, Dropout, Trainer, AdamW.

Needs the extras: ``pip install ".[demo]"``. Writes digits_loss.png and digits.npz.
"""

import numpy as np

from nnext import AdamW, Dropout, ReLU, Sequential, Trainer
from nnext.datasets import digits, train_test_split
from nnext.models import affine


def make_model(seed):
    """Build a network of two hidden layers for the 64 pixels of a digit."""
    rng = np.random.RandomState(seed)
    return Sequential(
        [
            affine(64, 128, rng),
            ReLU(),
            Dropout(0.2, seed=seed),
            affine(128, 64, rng),
            ReLU(),
            affine(64, 10, rng),
        ]
    )


def main():
    """Train, look at the accuracy after each epoch, save, load, predict."""
    x_train, x_test, t_train, t_test = train_test_split(*digits(), test_size=0.25, seed=0)
    model = make_model(seed=0)
    print(model.summary())

    trainer = Trainer(model, AdamW(lr=0.003), seed=0)
    trainer.fit(
        x_train,
        t_train,
        max_epoch=20,
        batch_size=32,
        max_grad=5.0,
        on_epoch=lambda trainer: {"test accuracy": model.accuracy(x_test, t_test)},
    )
    trainer.plot(path="digits_loss.png")
    model.save_params("digits.npz")

    again = make_model(seed=1)  # other weights, until the saved ones are loaded
    again.load_params("digits.npz")
    print(f"accuracy on the {len(x_test)} digits held out: {again.accuracy(x_test, t_test):.1%}")
    for proba, true in zip(again.predict_proba(x_test[:5]), t_test[:5], strict=True):
        print(f"a {true} is taken for a {proba.argmax()}, with probability {proba.max():.3f}")


if __name__ == "__main__":
    main()
