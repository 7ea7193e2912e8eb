"""From sequence to sequence: the book's weights and losses, and what the models learn."""

import copy
import pickle

import numpy as np
import pytest

import nnext
import sequence_reference as book
from nnext import SGD, Step, Trainer
from nnext.models import (
    AttentionDecoder,
    AttentionEncoder,
    AttentionSeq2seq,
    Decoder,
    Encoder,
    PeekyDecoder,
    PeekySeq2seq,
    Seq2seq,
)

V, D, H = 7, 5, 4
KINDS = {Seq2seq: "plain", PeekySeq2seq: "peeky", AttentionSeq2seq: "attention"}
rng = np.random.default_rng(0)
XS, TS = rng.integers(0, V, (3, 5)), rng.integers(0, V, (3, 4))

# Five characters, and a sixth that begins the answer, which is the question backwards.
READ = rng.integers(0, 5, (600, 5))
BACKWARDS = np.concatenate([np.full((600, 1), 5), READ[:, ::-1]], axis=1)


@pytest.fixture(scope="module")
def trained():
    """Models that have learned to write backwards."""
    models = {}
    for kind in KINDS:
        model = kind(6, 16, 32, rng=np.random.default_rng(0))
        trainer = Trainer(model, nnext.Adam(lr=0.01), seed=0)
        epochs = 8 if kind is AttentionSeq2seq else 30
        trainer.fit(READ[:500], BACKWARDS[:500], epochs, 32, 5.0, progress="none")
        models[kind] = model
    return models


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "close"), [("f4", 1e-5), ("f8", 1e-11)])
def test_a_seed_gives_the_books_weights_and_losses(kind, dtype, close):
    np.random.seed(3)
    model = kind(V, D, H, dtype=dtype)
    np.random.seed(3)
    want = book.Seq2seq(V, D, H, KINDS[kind])
    for p, q in zip(model.params, want.params, strict=True):
        assert p.dtype == dtype
        np.testing.assert_array_equal(p, q.astype(dtype))
    step = Step(model, SGD(lr=0.5))
    data = np.random.default_rng(1)
    for _ in range(10):
        xs, ts = data.integers(0, V, (3, 5)), data.integers(0, V, (3, 4))
        assert step(xs, ts) == pytest.approx(want.forward(xs, ts), rel=close)
        want.backward()
        book.sgd(want, 0.5)
    for p, q in zip(model.params, want.params, strict=True):
        np.testing.assert_allclose(p, q, atol=100 * close)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree_with_central_differences(kind):
    model = kind(V, D, H, rng=np.random.default_rng(0), dtype="f8")
    for p in model.params:
        p += np.random.default_rng(1).standard_normal(p.shape) / 5
    check = nnext.check_gradients(model, XS, TS)
    assert check.ok, check


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(1, 1, 2), (2, 3, 2)])
def test_the_shortest_sequences_work(kind, sizes):
    N, T, S = sizes
    model = kind(V, D, H, dtype="f8")
    xs, ts = XS[:N, :T], TS[:N, :S]
    want = book.Seq2seq(V, D, H, KINDS[kind])
    for p, q in zip(want.params, model.params, strict=True):
        p[...] = q
    assert model.forward(xs, ts) == pytest.approx(want.forward(xs, ts))
    model.backward()
    want.backward()
    for grad, expected in zip(model.grads, want.grads, strict=True):
        np.testing.assert_allclose(grad, expected, rtol=1e-9, atol=1e-12)


# Learning


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_write_backwards(trained, kind):
    model, xs, ts = trained[kind], READ[500:], BACKWARDS[500:]
    assert model.loss(xs, ts) < 0.3
    written = [model.generate(x[None], 5, 5) for x in xs]
    assert np.mean([w == t[1:].tolist() for w, t in zip(written, ts, strict=True)]) > 0.7
    assert all(type(i) is int for w in written for i in w)


def test_its_attention_goes_backwards(trained):
    model, xs, ts = trained[AttentionSeq2seq], READ[500:], BACKWARDS[500:]
    model.forward(xs, ts)
    weights = np.stack(model.decoder.attention.attention_weights, axis=1)
    assert weights.shape == (100, 5, 5)
    # Its state holds the first and the last of what it writes; between them it has to look.
    looked = weights.argmax(axis=2)[:, 1:]
    places = np.arange(4)[::-1]
    assert np.mean(abs(looked - places) <= 1) > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_the_highest_score_of_each_step(trained, kind):
    model = trained[kind]
    for x in READ[500:505]:
        written = model.generate(x[None], 5, 7)
        answers = np.array([[5, *written]])
        assert np.isfinite(model.forward(x[None], answers))
        scores = model.decoder.forward(answers[:, :-1], model.encoder.forward(x[None]))
        assert scores.argmax(axis=2)[0].tolist() == written


def test_the_loss_of_much_is_that_of_all_its_batches(trained):
    model = trained[Seq2seq]
    loss = model.loss(READ, BACKWARDS)
    assert model.loss(READ, BACKWARDS, batch_size=70) == pytest.approx(loss)
    assert model.forward(READ, BACKWARDS) == pytest.approx(loss, rel=1e-5)
    h = model.encoder.hs
    model.loss(READ[:9], BACKWARDS[:9])
    assert model.encoder.hs is h


def test_it_trains_with_a_validation_and_from_parts():
    model = Seq2seq(6, 8, 8, rng=np.random.default_rng(0))
    trainer = Trainer(model, nnext.Adam(), seed=0)
    history = trainer.fit(
        READ[:64], BACKWARDS[:64], 2, 16, validation=0.25, accumulate=2, progress="none"
    )
    assert len(history.metrics["val_loss"]) == 2


# Parts


def test_encoders_return_their_last_state_or_all():
    last, every = (
        kind(V, D, H, rng=np.random.default_rng(0), dtype="f8")
        for kind in (Encoder, AttentionEncoder)
    )
    hs = every.forward(XS)
    assert hs.shape == (3, 5, H)
    np.testing.assert_array_equal(last.forward(XS), hs[:, -1])
    np.testing.assert_array_equal(last.hs, hs)
    dh = rng.standard_normal((3, H))
    last.backward(dh)
    dhs = np.zeros_like(hs)
    dhs[:, -1] = dh
    every.backward(dhs)
    for grad, expected in zip(last.grads, every.grads, strict=True):
        np.testing.assert_array_equal(grad, expected)


def test_parts_have_their_layers_arrays_by_name():
    for kind in (Decoder, PeekyDecoder, AttentionDecoder):
        part = kind(V, D, H)
        layers = part.embed, part.lstm, part.affine
        assert [*part.state_dict()] == [
            "embed.W", "lstm.Wx", "lstm.Wh", "lstm.b", "affine.W", "affine.b"
        ]  # fmt: skip
        inner = [p for layer in layers for p in layer.params]
        assert all(p is q for p, q in zip(part.params, inner, strict=True))
        assert repr(part) == f"{kind.__name__}({V}, {D}, {H})"
    assert [*Seq2seq(V, D, H).state_dict()][3:5] == ["encoder.lstm.b", "decoder.embed.W"]
    assert "AttentionDecoder(7, 5, 4)" in repr(AttentionSeq2seq(V, D, H))
    assert "PeekyDecoder" in PeekySeq2seq(V, D, H).summary()


def test_what_parts_cannot_use_is_refused():
    with pytest.raises(RuntimeError, match=r"Encoder\.backward"):
        Encoder(V, D, H).backward(np.zeros((3, H)))
    with pytest.raises(RuntimeError, match=r"AttentionEncoder\.backward"):
        AttentionEncoder(V, D, H).backward(np.zeros((3, 5, H)))
    encoder, every = Encoder(V, D, H), AttentionEncoder(V, D, H)
    for xs in (XS[0], XS[:, :0], XS[None]):
        with pytest.raises(ValueError, match=r"xs: expected ids (of shape )?\(N, T\)"):
            encoder.forward(xs)
    encoder.forward(XS)
    every.forward(XS)
    with pytest.raises(ValueError, match=r"dh: expected shape \(3, 4\)"):
        encoder.backward(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"dhs: expected shape \(3, 5, 4\)"):
        every.backward(np.zeros((3, 4)))
    for kind in (Encoder, Decoder):
        with pytest.raises(ValueError, match="hidden_size"):
            kind(V, D, 0)
        with pytest.raises(TypeError, match="dtype"):
            kind(V, D, H, dtype="int32")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_cannot_use_is_refused_by_the_callers_name(kind):
    model = kind(V, D, H)
    ids = f"expected ids from 0 to {V - 1}"
    for xs, ts, error, message in [
        (XS, TS[0], ValueError, r"ts: expected ids of shape \(N, T\), got shape \(4,\)"),
        (XS, TS[None], ValueError, r"ts: expected ids of shape \(N, T\), got shape \(1, 3, 4\)"),
        (XS, TS[:, :1], ValueError, r"ts: expected ids \(N, T\), T at least 2"),
        (XS, TS[:2], ValueError, r"ts: expected an answer for each row of xs \(3, 5\)"),
        (3, TS, ValueError, r"xs: expected ids of shape \(N, T\), got shape \(\)"),
        (XS[:, :0], TS, ValueError, r"xs: expected ids \(N, T\), T at least 1"),
        (XS, [[1, 2], [3]], ValueError, "ts: expected an array, got rows of different lengths"),
        (XS + V, TS, IndexError, rf"xs: {ids}, xs\[0, 0\] is \d+"),
        (XS, TS - V, IndexError, rf"ts: {ids}, ts\[0, 0\] is -\d"),
        (XS, [[1, 2, -1, 3]] * 3, IndexError, rf"ts: {ids}, ts\[0, 2\] is -1"),
        (XS.astype("f4"), TS, TypeError, "xs: expected ids, whole numbers, got type float32"),
        (XS, TS > 3, TypeError, "ts: expected ids, whole numbers, got type bool"),
        (np.ma.masked_array(XS, XS > 3), TS, TypeError, r"xs: .*xs\.filled"),
        (XS[:0], TS[:0], nnext.EmptyBatchError, "scores: expected at least 1 sample"),
        (XS, [[1, 2, -1]] * 3, None, ""),  # the answer ends before what is counted
        (XS.tolist(), TS.tolist(), None, ""),
    ]:
        if error is None:
            assert np.isfinite(model.forward(xs, ts))
            continue
        with pytest.raises(error, match=f"^{message}"):
            model.forward(xs, ts)
    for method in (model.scores, model.predict, model.predict_proba):
        with pytest.raises(NotImplementedError, match=f"x: {kind.__name__} scores answers"):
            method(XS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_written_is_refused_by_the_callers_name(kind):
    model = kind(V, D, H)
    for xs, start_id, size, error, message in [
        (XS, 0, 3, ValueError, r"xs: expected ids of one sequence, \(1, T\), got shape \(3, 5\)"),
        (XS[0], 0, 3, ValueError, r"xs: expected ids of shape \(N, T\)"),
        ([[V]], 0, 3, IndexError, r"xs: expected ids from 0 to 6, xs\[0, 0\] is 7"),
        (XS[:1], 0, 0, ValueError, "sample_size: expected"),
        (XS[:1], 0.5, 3, TypeError, "start_id: expected a whole number, got 0.5"),
        (XS[:1], True, 3, TypeError, "start_id: expected a whole number, got True"),
        (XS[:1], V, 3, IndexError, "start_id: expected a character from 0 to 6, got 7"),
        (XS[:1], -1, 3, IndexError, "start_id: expected a character from 0 to 6, got -1"),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            model.generate(xs, start_id, size)
    assert len(model.generate(XS[:1].tolist(), np.int64(1), 3)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_data_are_checked_before_training_and_rows_named(kind):
    wrong = TS.copy()
    wrong[2, 1] = V
    model = kind(V, D, H)
    for x, t, message in [
        (XS, wrong, r"^t: expected ids from 0 to 6, t\[2, 1\] is 7"),
        (np.where(XS[2, 3] == XS, -1, XS), TS, r"^x: expected ids from 0 to 6, x\[\d, \d\] is -1"),
    ]:
        with pytest.raises(IndexError, match=message):
            model.loss(x, t, batch_size=1)
        trainer = Trainer(model, SGD(), seed=0)
        with pytest.raises(IndexError, match=message):
            trainer.fit(x, t, 1, 1, progress="none")
        assert trainer.history.batches == 0


DECODERS = {Decoder: "h", PeekyDecoder: "h", AttentionDecoder: "enc_hs"}


@pytest.mark.parametrize("kind", DECODERS)
def test_what_a_decoder_refuses_leaves_its_states(kind):
    decoder, name = kind(V, D, H, dtype="f8"), DECODERS[kind]
    shape = (3, 5, H) if kind is AttentionDecoder else (3, H)
    h = np.random.default_rng(0).standard_normal(shape)
    with pytest.raises(RuntimeError, match=rf"{kind.__name__}\.backward was called before"):
        decoder.backward(np.zeros((3, 4, V)))
    scores = decoder.forward(TS, h)
    states = decoder.lstm.h, decoder.lstm.c
    for xs, state, error, message in [
        (TS + V, h, IndexError, "xs: expected ids from"),
        (TS / 2, h, TypeError, "xs: expected ids, whole numbers"),
        (TS[0], h, ValueError, r"xs: expected ids of shape \(N, T\)"),
        (TS, h[:2], ValueError, rf"{name}: expected a row for each of xs \(3, 4\), got shape \(2"),
        (TS, h[..., :2], ValueError, rf"{name}: expected shape \(N, "),
        (TS, h[0], ValueError, rf"{name}: expected shape \(N, "),
        (TS, "h", TypeError, f"{name}: cannot compute with type"),
        (TS, None, TypeError, f"{name}: cannot compute with type"),
        (TS, h.astype(complex), TypeError, f"{name}: cannot compute with type complex128"),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            decoder.forward(xs, state)
    for state, start, error, message in [
        (h, 0, ValueError, f"{name}: expected that of one sequence, got shape"),
        (h[:1], V, IndexError, "start_id: expected a character from 0 to 6, got 7"),
        (h[:1], "a", TypeError, "start_id"),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            decoder.generate(state, start, 3)
    assert decoder.lstm.h is states[0]
    assert decoder.lstm.c is states[1]
    for grad in decoder.grads:
        grad[...] = 7
    for bad in (np.zeros((3, 4, V - 1)), np.zeros((3, V)), "d"):
        with pytest.raises((ValueError, TypeError), match=r"^dscore: "):
            decoder.backward(bad)
    assert all((grad == 7).all() for grad in decoder.grads)
    np.testing.assert_array_equal(decoder.forward(TS.tolist(), h.tolist()), scores)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_computes_in_the_type_of_its_parameters(kind):
    decoder = kind(V, D, H)
    shape = (3, 5, H) if kind is AttentionDecoder else (3, H)
    ones = np.ones(shape)
    expected = decoder.forward(TS, ones.astype("f4"))
    for h in (ones, ones.tolist(), ones.astype(int), ones > 0):
        scores = decoder.forward(TS, h)
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(scores, expected)
    assert decoder.forward(TS[:, :0], ones).shape == (3, 0, V)
    assert decoder.forward(TS[:0], ones[:0]).shape == (0, 4, V)


def test_the_attributes_are_those_of_the_books_classes():
    for kind in KINDS:
        model = kind(V, D, H)
        assert model.softmax is model.loss_layer
        assert model.layers == [model.encoder, model.decoder]
        assert [*map(id, model.params)] == [
            id(p) for part in (model.encoder, model.decoder) for p in part.params
        ]
        assert len(model.grads) == len(model.params) == 10
        assert model.encoder.lstm.stateful is False
        assert model.decoder.lstm.stateful is True
        assert model.encoder.hs is None
    attention = model.decoder.attention
    assert attention.params == attention.grads == []
    assert attention.attention_weights is None
    model.forward(XS, TS)
    assert isinstance(attention.attention_weights, list)
    assert np.array(attention.attention_weights).shape == (3, 3, 5)  # steps, rows, what is read


# Files and copies


@pytest.mark.parametrize("kind", KINDS)
def test_files_keep_parameters_and_models(kind, tmp_path):
    model, other = kind(V, D, H), kind(V, D, H)
    loss = model.forward(XS, TS)
    assert other.forward(XS, TS) != loss
    model.save_params(tmp_path / "params")
    other.load_params(tmp_path / "params")
    assert other.forward(XS, TS) == loss
    pytest.importorskip("safetensors")
    model.save(tmp_path / "model")
    again = nnext.load_model(tmp_path / "model")
    assert type(again) is kind
    assert again.forward(XS, TS) == loss
    with pytest.raises(ValueError, match="one of nnext's own"):
        nnext.register_model(kind.__name__, kind)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_learns_apart(kind, way):
    model = kind(V, D, H)
    again = way(model)
    before = [p.copy() for p in model.params]
    losses = [Step(again, SGD(lr=0.5))(XS, TS) for _ in range(20)]
    assert losses[-1] < losses[0]
    for p, kept in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, kept)


def test_a_copy_by_joblib_learns_too(tmp_path):
    joblib = pytest.importorskip("joblib")
    model = AttentionSeq2seq(V, D, H)
    joblib.dump(model, tmp_path / "model")
    again = joblib.load(tmp_path / "model")
    losses = [[Step(m, SGD(lr=0.5))(XS, TS) for _ in range(5)] for m in (model, again)]
    assert losses[0] == losses[1]


def test_sizes_in_a_file_that_its_arrays_cannot_have_are_refused_before_they_are_made(tmp_path):
    pytest.importorskip("safetensors")
    Seq2seq(V, D, H).save(tmp_path / "model")
    content = (tmp_path / "model").read_bytes()
    for old, new in [(b'hidden_size\\": 4', b'hidden_size\\": 9'),
                     (b'vocab_size\\": 7', b'vocab_size\\":9e9')]:  # fmt: skip
        assert old in content
        (tmp_path / "model").write_bytes(content.replace(old, new))
        with pytest.raises(ValueError, match="model"):
            nnext.load_model(tmp_path / "model")
