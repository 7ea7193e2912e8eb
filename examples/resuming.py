"""Training that may be interrupted: run it again, and it goes on where it was, to the bit.

    python examples/resuming.py [FILE]

Ctrl-C, a power failure or ``kill -9`` lose no more than the batches since the last checkpoint.
Needs safetensors for the file: ``pip install ".[files]"``.
"""

import sys
from pathlib import Path

from nnext import Adam, Dropout, ReLU, Sequential, Trainer, affine
from nnext.callbacks import EarlyStopping, ModelCheckpoint
from nnext.datasets import spiral
from nnext.schedules import Cosine


def main(path):
    """Begin, or go on from the file if there is one."""
    x, t = spiral(seed=0)
    model = Sequential([affine(2, 64, seed=0), ReLU(), Dropout(0.1, seed=0), affine(64, 3, seed=1)])
    optimizer = Adam(lr=Cosine(0.02, steps=3000))

    if path.exists():
        trainer = Trainer.resume(path, model, optimizer)
        print(f"going on after {trainer.history.batches} batches")
    else:
        trainer = Trainer(model, optimizer, seed=0)

    # The arguments are the same each time: the epochs are those of the whole run.
    trainer.fit(
        x,
        t,
        max_epoch=300,
        batch_size=30,
        eval_interval=500,
        validation=0.2,
        metrics=["accuracy"],
        callbacks=[EarlyStopping(patience=100), ModelCheckpoint(path, every=50)],
        progress="none",
    )
    history = trainer.history
    print(f"{history.batches} batches, loss {history.epoch_loss[-1]:.6f}")
    print(f"accuracy {model.accuracy(x, t):.1%}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "resuming.safetensors"))
