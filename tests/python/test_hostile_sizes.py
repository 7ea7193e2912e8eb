"""Files of models that are made from sizes: what is drawn follows from what the file has."""

import inspect
import tracemalloc

import numpy as np
import pytest

from nnext import _registry as registry
from nnext import load_model
from nnext._names import model_arrays, own_arrays
from test_hostile_files import parts_of, write

SIZES = {"vocab_size": 40, "wordvec_size": 30, "hidden_size": 20}
TYPES = ("float64", "float32", "float16")


def make(name, dtype="float64", **sizes):
    cls = registry._MODELS[name].cls
    taken = inspect.signature(cls).parameters
    options = {n: size for n, size in (SIZES | sizes).items() if n in taken}
    if name == "BetterRnnlm":
        options["wordvec_size"] = options["hidden_size"]
    if "counts" in taken:
        options |= {"window_size": 1, "counts": np.ones(options["vocab_size"], int)}
    return cls(**options, seed=0, dtype=dtype)


def peak_of(use):
    tracemalloc.start()
    try:
        use()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", registry._MODELS)
def test_the_number_of_weights_is_that_of_the_matrices(name):
    model = make(name)
    sizes = [size for n, size in model.config().items() if n in SIZES]
    matrices = [a.size for a in own_arrays(model_arrays(model)).values() if a.ndim == 2]
    assert registry._MODELS[name].weights(*sizes) == sum(matrices)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", registry._MODELS)
def test_a_whole_file_takes_a_few_times_its_size(tmp_path, name, dtype):
    make(name, dtype, vocab_size=2000, wordvec_size=100, hidden_size=100).save(tmp_path / "m")
    load_model(tmp_path / "m")  # what is made once is there
    peak = peak_of(lambda: load_model(tmp_path / "m"))
    assert peak < 8 * (tmp_path / "m").stat().st_size


@pytest.mark.parametrize("junk", ["uint8", "int64", "float16"])
@pytest.mark.parametrize("name", registry._MODELS)
def test_sizes_of_more_weights_than_the_file_has_are_refused(tmp_path, name, junk):
    arrays, text = parts_of(make(name), tmp_path / "m")
    config = text["model"]["config"]
    recurrent = name != "BetterRnnlm" and "wordvec_size" in config
    config |= {n: 1 if recurrent else 700 for n in SIZES if n in config} | {"hidden_size": 700}
    arrays["junk"] = np.zeros(500_000, junk)  # more than 700², but no weights
    write(tmp_path / "wrong", arrays, text)

    def load():
        with pytest.raises(ValueError, match=r"wrong: model: config: a model with .* weights, the"):
            load_model(tmp_path / "wrong")

    assert peak_of(load) < 3 * (tmp_path / "wrong").stat().st_size


@pytest.mark.parametrize("dtype", ["float32", "f8", 8, None])
def test_the_type_is_that_of_the_weights(tmp_path, dtype):
    arrays, text = parts_of(make("Rnnlm"), tmp_path / "m")
    text["model"]["config"]["dtype"] = dtype
    write(tmp_path / "wrong", arrays, text)
    with pytest.raises(ValueError, match=r"wrong: model: config: .*(numbers of type|dtype: exp)"):
        load_model(tmp_path / "wrong")
