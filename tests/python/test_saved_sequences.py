"""Files of models of words and sequences that an earlier version wrote."""

import numpy as np
import pytest

import saved_files
import saved_sequences as saved
from nnext import Trainer, load_model


@pytest.mark.parametrize("name", saved.MODELS)
def test_a_model_of_an_earlier_version_is_read(name):
    model, back = saved.MODELS[name](), load_model(saved.model_file(name))
    saved_files.check_equal(model, back)


def test_its_options_are_read():
    back = load_model(saved.model_file("layers"))
    _, dropout, rnn, lstm, after, gru, *_ = back.layers
    assert dropout.dropout_ratio == 0.25
    assert (rnn.stateful, lstm.stateful, after.stateful, gru.stateful) == (True, False, True, False)
    assert (after.reset_after, gru.reset_after, len(gru.params)) == (True, False, 2)
    assert [layer.params[0].dtype.name for layer in (rnn, after, gru)] == [
        "float64",
        "float32",
        "float16",
    ]
    words = load_model(saved.model_file("words"))
    assert words.loss_layer.offset == 3
    np.testing.assert_array_equal(words.loss_layer.buffers[0], [1, 2, 1, 1, 1, 1, 1])
    language = load_model(saved.model_file("language"))
    assert np.shares_memory(language.params[0], language.params[-2])


def test_a_run_of_an_earlier_version_goes_on():
    whole, batches = saved.run()
    whole.fit(batches, max_epoch=3, progress="none")
    other, batches = saved.run()
    trainer = Trainer.resume(saved.RUN, other.model, other.optimizer)
    assert trainer.history.batches == 6
    lstm, expected = trainer.model.layers[2], whole.model.layers[2]
    assert lstm.h.shape == lstm.c.shape == (2, 2)
    trainer.fit(batches, max_epoch=3, progress="none")
    # Other bits may be meant one day, not another course.
    for p, q in zip(whole.model.params, trainer.model.params, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(lstm.h, expected.h, rtol=1e-7, atol=1e-9)
