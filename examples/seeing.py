"""See a small network learn: five pictures of one training, on points drawn here.

    python examples/seeing.py [FOLDER]

Needs matplotlib: ``pip install ".[plot]"``. Writes five pictures, here or into FOLDER.
"""

import sys
from pathlib import Path

from nnext import Adam, ReLU, Sequential, Trainer, affine, plotting
from nnext.callbacks import RecordParameters
from nnext.datasets import spiral, train_test_split

NAMES = ["first arm", "second arm", "third arm"]


def main(folder):
    """Train, and draw what happened, what was learned, and how."""
    x_train, x_test, t_train, t_test = train_test_split(*spiral(seed=0), test_size=0.25, seed=0)
    t_train, t_test = t_train.argmax(axis=1), t_test.argmax(axis=1)  # labels, for their names
    model = Sequential([affine(2, 16, seed=0), ReLU(), affine(16, 3, seed=1)])
    record = RecordParameters()
    trainer = Trainer(model, Adam(lr=0.02), seed=0)
    trainer.fit(
        x_train,
        t_train,
        max_epoch=20,
        batch_size=15,
        validation=(x_test, t_test),
        metrics=["accuracy"],
        callbacks=[record],
        progress="none",
    )
    print(f"accuracy {model.accuracy(x_test, t_test):.1%} on points that were held out")

    # How it went: the losses, the ring where the validation loss was lowest, the accuracy.
    trainer.plot(path=folder / "learning_curve.png")
    # What was learned: who owns which part of the plane, and who is taken for whom.
    plotting.plot_decision_boundary(model, x_test, t_test, path=folder / "boundary.png")
    plotting.plot_confusion_matrix(
        *(model, t_test, x_test), class_names=NAMES, path=folder / "confusion.png"
    )
    # How: the graph of one batch with its gradients, and where weights and gradients went.
    plotting.plot_graph(model, x_test[:8], t_test[:8], path=folder / "graph.png")
    plotting.plot_parameters(record, path=folder / "parameters.png")
    print(f"five pictures are in {folder.resolve()}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
