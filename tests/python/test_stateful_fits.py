"""What `Trainer.fit` looks at before it trains, of models that hold states of other rows."""

import numpy as np
import pytest

from nnext import SGD, Sequential, Trainer
from nnext._layer import Layer
from nnext.models import BetterRnnlm, Rnnlm, SimpleRnnlm
from nnext.time_layers import TimeAffine, TimeEmbedding, TimeLSTM, TimeSoftmaxWithLoss
from runs import check_same_run

V = 5
IDS = np.random.default_rng(0).integers(0, V, (60, 4))
ROWS = 10


def chain(*others):
    rng = np.random.default_rng(0)
    Wx, Wh, b, table, W, c = (
        rng.standard_normal(shape) for shape in ((4, 16), (4, 16), 16, (V, 4), (4, V), V)
    )
    return Sequential(
        [TimeEmbedding(table), *others, TimeLSTM(Wx, Wh, b, stateful=True), TimeAffine(W, c)],
        TimeSoftmaxWithLoss(),
    )


class Noise(Layer):
    """Adds noise always, and remembers where it was."""

    state_names = ("rng",)

    def __init__(self):
        super().__init__()
        self.rng = np.random.RandomState(3)

    def forward(self, x):
        return x + self.rng.standard_normal(x.shape)

    def backward(self, dout):
        return dout


MODELS = {
    "SimpleRnnlm": lambda: SimpleRnnlm(V, 4, 4, seed=0),
    "Rnnlm": lambda: Rnnlm(V, 4, 4, seed=0),
    "BetterRnnlm": lambda: BetterRnnlm(V, 4, 4, 0.5, seed=0),
    "a chain": chain,
    "a chain with noise": lambda: chain(Noise()),
}


def trainer(name):
    return Trainer(MODELS[name](), SGD(0.5), seed=0)


def fit(over, x=IDS, t=IDS, **options):
    return over.fit(x, t, 1, ROWS, progress="none", **options)


def standing(model):
    """Return all that a run changes: parameters and states."""
    layers = [layer for layer in model.layers if hasattr(layer, "h")]
    states = [getattr(layer, name) for layer in layers for name in layer.state_names]
    return [array.copy() for array in [*model.params, *states]]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def right(y_true, y_pred):
    return float(np.mean(y_true == y_pred))


@pytest.mark.parametrize("name", MODELS)
def test_a_run_with_a_validation_goes_on_from_its_checkpoint_to_the_bit(tmp_path, name):
    options = {"validation": (IDS[:ROWS], IDS[:ROWS]), "metrics": ["accuracy"]}
    whole = trainer(name)
    fit(whole, **options)
    whole.save_checkpoint(tmp_path / "run")
    resumed = Trainer.resume(tmp_path / "run", MODELS[name](), SGD())
    for over in (whole, resumed):
        fit(over, **options)
    check_same_run(whole, resumed)
    assert_same(standing(whole.model), standing(resumed.model))


@pytest.mark.parametrize("name", ["SimpleRnnlm", "Rnnlm", "BetterRnnlm"])
def test_a_language_model_is_validated_on_any_number_of_rows(name):
    over, plain = trainer(name), trainer(name)
    for _ in range(2):
        fit(over, validation=(IDS[:23], IDS[:23]), metrics={"right": right})
        fit(plain)
    assert over.history.metrics["val_loss"][-1] == over.model.loss(IDS[:23], IDS[:23])
    assert_same(standing(over.model), standing(plain.model))


def test_functions_are_tried_on_few_rows_without_the_states_of_many():
    over = Trainer(chain(), SGD(0.5), seed=0)
    data = IDS[np.arange(100) % 60]
    for _ in range(2):  # of 100 rows 64 are tried
        over.fit(
            data, data, 1, 100, validation=(data, data), metrics={"right": right}, progress="none"
        )
    assert len(over.history.metrics["val_right"]) == 2


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("wrong", ["x", "t"])
def test_a_wrong_id_is_found_first_whatever_states_there_are(name, wrong):
    over = trainer(name)
    fit(over)
    before = standing(over.model)
    data = {"x": IDS, "t": IDS}
    data[wrong] = IDS.copy()
    data[wrong][59, 3] = V
    place = r"^x: row 59: " if wrong == "x" else r"^t\[59\]: "
    with pytest.raises(IndexError, match=place):
        fit(over, **data)
    with pytest.raises(IndexError, match=rf"^validation: {place[1:]}"):
        fit(over, validation=(data["x"], data["t"]))
    with pytest.raises(IndexError, match=place):
        over.model.loss(data["x"], data["t"], batch_size=ROWS)
    assert_same(standing(over.model), before)


@pytest.mark.parametrize("name", ["SimpleRnnlm", "Rnnlm", "BetterRnnlm"])
def test_scores_are_those_of_a_text_that_begins(name):
    model = MODELS[name]()
    fresh = model.predict(IDS[:ROWS])
    before = standing(model)
    for rows in (ROWS, 2):
        np.testing.assert_array_equal(model.scores(IDS[:rows]), fresh[:rows])
        np.testing.assert_array_equal(model(IDS[:rows]), fresh[:rows])
    assert_same(standing(model), before)
    assert not np.array_equal(model.predict(IDS[:ROWS]), fresh)
