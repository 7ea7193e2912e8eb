"""The book's trainer of language models: which words it reads, what it notes and prints."""

import copy
import re
import sys

import numpy as np
import pytest

import nnext
from nnext import SGD, Step
from nnext.models import BetterRnnlm, Rnnlm
from nnext.trainer import RnnlmTrainer

TEXT = np.random.default_rng(0).integers(0, 6, 50)


class Reads:
    """A model of one parameter that notes what it is given, and has given losses."""

    def __init__(self, losses=()):
        self.params, self.grads = [np.zeros(1)], [np.zeros(1)]
        self.seen, self.losses = [], list(losses)

    def forward(self, xs, ts):
        self.seen.append((xs, ts))
        return self.losses.pop(0) if self.losses else 1.0

    def backward(self):
        self.grads[0][...] = 1


def trained(model=None, optimizer=None, xs=TEXT[:-1], ts=TEXT[1:], **options):
    trainer = RnnlmTrainer(model or Reads(), optimizer or SGD(lr=0.1))
    options = {"max_epoch": 1, "batch_size": 3, "time_size": 4, "progress": "none", **options}
    trainer.fit(xs, ts, **options)
    return trainer


@pytest.mark.parametrize(
    ("size", "batch_size", "time_size"), [(49, 3, 4), (50, 4, 3), (12, 3, 4), (1, 1, 1)]
)
def test_it_reads_on_and_on_in_parts_side_by_side(size, batch_size, time_size):
    xs, ts = TEXT[:size], TEXT[::-1][:size]
    model = Reads()
    trainer = trained(model, xs=xs, ts=ts, max_epoch=3, batch_size=batch_size, time_size=time_size)
    batches, jump = size // (batch_size * time_size), size // batch_size
    assert len(model.seen) == 3 * batches
    assert trainer.time_idx == 3 * batches * time_size
    for i, seen in enumerate(model.seen):
        for got, text in zip(seen, (xs, ts), strict=True):
            assert got.shape == (batch_size, time_size)
            for n in range(batch_size):
                for t in range(time_size):
                    assert got[n, t] == text[(n * jump + i * time_size + t) % size]


def test_batches_can_be_taken_by_hand():
    trainer = RnnlmTrainer(Reads(), SGD())
    assert trainer.time_idx is None
    xs, ts = trainer.get_batch(TEXT, TEXT, 2, 3)
    np.testing.assert_array_equal(xs, [TEXT[:3], TEXT[25:28]])
    np.testing.assert_array_equal(ts, xs)
    np.testing.assert_array_equal(trainer.get_batch(TEXT, TEXT, 2, 3)[0][0], TEXT[3:6])
    assert trainer.time_idx == 6
    for x, t in [(TEXT, TEXT[1:]), ([], [])]:
        with pytest.raises(ValueError, match="t: expected"):
            trainer.get_batch(x, t, 2, 3)
    with pytest.raises(ValueError, match="time_size"):
        trainer.get_batch(TEXT, TEXT, 2, 0)


def test_it_notes_the_perplexity_where_the_book_does(capsys):
    losses = [1.0, 2.0, 3.0, 4.0] * 2
    trainer = RnnlmTrainer(Reads(losses), SGD())
    assert trainer.ppl_list is None
    returned = trainer.fit(TEXT[:-1], TEXT[1:], 2, 3, 4, eval_interval=2, progress="lines")
    # After the first batch of an epoch, and then every second one; what is left goes on.
    expected = np.exp([1.0, 2.5, (4 + 1) / 2, 2.5])
    np.testing.assert_allclose(trainer.ppl_list, expected)
    assert returned is trainer.ppl_list
    assert trainer.eval_interval == 2
    assert trainer.current_epoch == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"| epoch {epoch} |  iter {i} / 4 | time 0[s] | perplexity {ppl:.2f}"
        for (epoch, i), ppl in zip([(1, 1), (1, 3), (2, 1), (2, 3)], expected, strict=True)
    ]
    trainer.fit(TEXT[:-1], TEXT[1:], 1, 3, 4, eval_interval=None, progress="lines")
    assert capsys.readouterr().out == ""
    assert trainer.ppl_list == []
    assert trainer.current_epoch == 3
    trainer.fit(TEXT[:-1], TEXT[1:], 1, 3, 4, progress="lines")
    assert re.match(r"\| epoch 4 \|  iter 1 / 4 ", capsys.readouterr().out)


def test_a_bar_says_what_it_shows(capsys):
    pytest.importorskip("tqdm")
    trained(progress="bar", max_epoch=2)
    assert "epoch 2/2" in (shown := capsys.readouterr().err)
    assert "perplexity 2.718" in shown


@pytest.mark.parametrize("max_grad", [None, 0.1])
def test_it_does_the_steps_of_step(max_grad):
    model = BetterRnnlm(6, 4, 4, 0.5, rng=np.random.RandomState(0))
    by_hand = copy.deepcopy(model)
    trained(model, SGD(lr=0.5), max_epoch=2, max_grad=max_grad)
    step = Step(by_hand, SGD(lr=0.5), max_grad)
    source = RnnlmTrainer(by_hand, SGD())
    for _ in range(8):
        step(*source.get_batch(TEXT[:-1], TEXT[1:], 3, 4))
    for p, q in zip(model.params, by_hand.params, strict=True):
        np.testing.assert_array_equal(p, q)


def test_batches_whose_labels_are_all_ignored_count_nothing():
    ts = TEXT[1:].copy()
    ts[[0, 1, 2, 3, 16, 17, 18, 19, 32, 33, 34, 35]] = -1  # of the first batch
    trainer = trained(Rnnlm(6, 4, 4), ts=ts, eval_interval=1)
    assert len(trainer.ppl_list) == 3
    assert np.isfinite(trainer.ppl_list).all()


def test_a_loss_that_is_too_large_is_infinite_and_one_that_is_none_is_told():
    assert trained(Reads([1e4])).ppl_list == [np.inf]
    with pytest.warns(RuntimeWarning, match="loss is nan in epoch 1, step 3"):
        trainer = trained(Reads([1.0, 1.0, np.nan]), eval_interval=1)
    assert np.isnan(trainer.ppl_list[2])


def test_what_cannot_be_trained_on_is_refused_before_anything_happens():
    model = Reads()
    for options, message in [
        ({"xs": TEXT}, "ts: expected 50 words, one for each of xs, got 49"),
        ({"xs": TEXT[:11], "ts": TEXT[:11]}, "xs: expected at least 12 words, 3 x 4 for a batch"),
        ({"xs": [], "ts": []}, "xs: expected at least 12 words"),
        ({"xs": TEXT[None], "ts": TEXT[None]}, r"xs: expected ids of shape \(N,\), got shape"),
        ({"max_epoch": 0}, "max_epoch"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"time_size": 0}, "time_size"),
        ({"eval_interval": 0}, "eval_interval"),
        ({"max_grad": -1.0}, "max_grad"),
        ({"progress": "loud"}, "progress"),
    ]:
        with pytest.raises(ValueError, match=message):
            trained(model, **options)
    with pytest.raises(TypeError, match="xs: expected ids"):
        trained(model, xs=TEXT[:-1] / 2)
    assert not model.seen
    with pytest.raises(TypeError, match="model"):
        RnnlmTrainer(object(), SGD())
    with pytest.raises(TypeError, match="optimizer"):
        RnnlmTrainer(model, SGD)


def test_the_perplexities_are_drawn(saved_figures, tmp_path):
    trainer = trained(Reads([2.0, 1.5, 1.0, 0.5]), eval_interval=1)
    trainer.plot(path=tmp_path / "ppl.png")
    trainer.plot(ylim=(0, 500), path=tmp_path / "ppl.svg")
    first, second = (figure.axes[0] for figure in saved_figures)
    np.testing.assert_allclose(first.lines[0].get_ydata(), trainer.ppl_list)
    assert first.get_xlabel() == "iterations (x1)"
    assert first.get_ylabel() == "perplexity"
    assert second.get_ylim() == (0, 500)
    with pytest.raises(ValueError, match="none to draw yet"):
        RnnlmTrainer(Reads(), SGD()).plot(path=tmp_path / "none.png")


def test_it_says_how_far_it_is():
    trainer = trained()
    assert repr(trainer) == f"RnnlmTrainer(Reads, {trainer.optimizer!r}, 1 epoch so far)"
    trainer.fit(TEXT[:-1], TEXT[1:], 2, 3, 4, progress="none")
    assert repr(trainer).endswith("3 epochs so far)")


def test_an_interrupted_bar_is_closed_and_the_trainer_goes_on():
    class Fails(Reads):
        def forward(self, xs, ts):
            if len(self.seen) == 2:
                self.seen.clear()
                raise KeyboardInterrupt
            return super().forward(xs, ts)

    trainer = RnnlmTrainer(Fails(), nnext.SGD())
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(TEXT[:-1], TEXT[1:], 1, 3, 4, progress="none", eval_interval=1)
    assert len(trainer.ppl_list) == 2
    assert trainer.current_epoch == 0
    trainer.fit(TEXT[:25], TEXT[1:26], 1, 3, 4, progress="none")
    assert trainer.current_epoch == 1


def test_losses_that_nobody_asks_for_are_not_kept():
    class Same(Reads):
        """Returns one and the same number, and counts who holds it."""

        loss = float("1.25")

        def forward(self, xs, ts):
            self.losses.append(sys.getrefcount(self.loss))
            return self.loss

    for interval in (None, 1000):
        model = Same()
        trained(model, max_epoch=9, eval_interval=interval)
        assert len(model.losses) == 36
        assert max(model.losses[1:]) == min(model.losses[1:])
