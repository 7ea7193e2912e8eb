"""The models of words and sequences whose files lie in data/: written once and read for ever.

``python tests/python/saved_sequences.py`` writes those that are not there yet.
"""

import numpy as np

from nnext import SGD, Sequential, Trainer
from nnext.models import CBOW, AttentionSeq2seq, BetterRnnlm
from nnext.time_layers import (
    TimeAffine,
    TimeBiLSTM,
    TimeDropout,
    TimeEmbedding,
    TimeGRU,
    TimeLSTM,
    TimeRNN,
    TimeSoftmaxWithLoss,
)
from saved_files import DATA, numbers


def layers():
    """Return a model of all recurrent layers, of several types, with options off their defaults."""
    lstm = [numbers(shape, "float32", 4) for shape in ((2, 4), (1, 4), (4,))]
    return Sequential(
        [
            TimeEmbedding(numbers((6, 3), "float32", 0)),
            TimeDropout(0.25),
            TimeRNN(*_weights("float64", (3, 2), (2, 2), (2,)), stateful=True),
            TimeLSTM(*_weights("float32", (2, 8), (2, 8), (8,))),
            TimeGRU(*_weights("float32", (2, 9), (3, 9), (12,)), True, reset_after=True),
            TimeGRU(*_weights("float16", (3, 6), (2, 6))),
            TimeBiLSTM(*lstm, *(a / 2 for a in lstm)),
            TimeAffine(*_weights("float32", (2, 6), (6,))),
        ],
        TimeSoftmaxWithLoss(ignore_label=4, label_smoothing=0.125),
    )


def words():
    """Return a model whose loss has the counts of a text, and has drawn words three times."""
    model = CBOW(7, 3, 1, [0, 1, 2, 3, 4, 1, 5, 6], sample_size=2, rng=np.random.default_rng(1))
    for _ in range(3):
        model.forward([[0, 2], [1, 3]], [1, 2])
    return model


def attention():
    """Return an encoder and a decoder that looks at its states."""
    return AttentionSeq2seq(7, 3, 4, rng=np.random.default_rng(2), dtype="float64")


def language():
    """Return a model whose last layer has the table of the first."""
    return BetterRnnlm(6, 4, 4, 0.25, rng=np.random.default_rng(3))


MODELS = {make.__name__: make for make in (layers, words, attention, language)}


def model_file(name):
    """Return where the model of that name is stored."""
    return DATA / f"sequences_{name}_0.3.0.safetensors"


RUN = DATA / "sequences_checkpoint_0.3.0.safetensors"


def run():
    """Return the trainer of a stateful model with a stream of masks, and its batches."""
    model = Sequential(
        [
            TimeEmbedding(numbers((6, 3), "float64", 0)),
            TimeDropout(0.5, seed=3),
            TimeLSTM(*_weights("float64", (3, 8), (2, 8), (8,)), stateful=True),
            TimeAffine(*_weights("float64", (2, 6), (6,))),
        ],
        TimeSoftmaxWithLoss(),
    )
    text = np.arange(2 * 13).reshape(2, 13) % 6
    batches = [(text[:, i : i + 3], text[:, i + 1 : i + 4]) for i in range(0, 12, 3)]
    return Trainer(model, SGD(lr=0.125), seed=3), batches


def write_checkpoint():
    """Interrupt the run in the middle of its second epoch."""
    trainer, batches = run()

    class Stop:
        def on_batch_end(self, trainer):
            if trainer.history.batches == 6:
                trainer.save_checkpoint(RUN)
                raise KeyboardInterrupt

    try:
        trainer.fit(batches, max_epoch=3, progress="none", callbacks=[Stop()])
    except KeyboardInterrupt:
        return
    raise AssertionError("it was not interrupted")


def _weights(dtype, *shapes):
    return [numbers(shape, dtype, 3 + i) / 2 for i, shape in enumerate(shapes)]


if __name__ == "__main__":
    for name, make in MODELS.items():
        if not model_file(name).exists():
            make().save(model_file(name))
    if not RUN.exists():
        write_checkpoint()
