"""Files that may come from anybody: damaged, cut off, made to harm; each is a ValueError."""

import json
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save, save_file

from nnext import Affine, Dropout, ReLU, Sequential, _tensor_files, affine, load_model


def make_model(dtype="float32"):
    return Sequential([affine(4, 3, seed=0, dtype=dtype), ReLU(), Dropout(0.5, seed=1),
                       affine(3, 2, seed=2, dtype=dtype)])  # fmt: skip


def write(path, arrays, text):
    """Write a file of any content."""
    path.write_bytes(save(arrays, metadata={"nnext": text if isinstance(text, str) else
                                             json.dumps(text)}))  # fmt: skip


def parts_of(model, path):
    """Return the arrays and the text that the file of a model has."""
    model.save(path)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return load_file(path), json.loads(header["__metadata__"]["nnext"])


def change(text, *path, to):
    *path, last = path
    for key in path:
        text = text[key]
    if to is None:
        del text[last]
    else:
        text[last] = to


CHANGES = {
    "a later format": (("format",), 2, "a file of format 2, written by nnext .*reads format 1"),
    "a format of text": (("format",), "1", "a file of format '1'"),
    "a format that is true": (("format",), True, "a file of format True"),
    "no format": (("format",), None, "a file of format None"),
    "no kind": (("kind",), None, "kind: expected str"),
    "another kind": (("kind",), "song", "expected a model or a checkpoint, got 'song'"),
    "more beside it": (("more",), 1, r"missing or unknown entries \['more'\]"),
    "no model": (("model",), None, r"missing or unknown entries \['model'\]"),
    "a model of text": (("model",), "Sequential", "model: expected dict, got 'Sequential'"),
    "an unknown model": (("model", "type"), "os.system", "an unknown model 'os.system'"),
    "a model that is a list": (("model", "type"), [1], "model: type: expected str"),
    "layers of numbers": (("model", "layers"), [1], r"layers\.0: expected dict, got 1"),
    "no layers": (("model", "layers"), [], "no array|arrays that no layer has|at least one"),
    "layers that are a dict": (("model", "layers"), {}, "model: layers: expected list"),
    "an unknown layer": (("model", "layers", 1, "type"), "Foo", "layers.1: an unknown layer 'Foo'"),
    "a layer twice": (("model", "loss"), {"type": "Affine", "params": ["W"], "buffers": [],
                                          "config": {}}, "there is no array loss_layer.W"),
    "a name that is none": (("model", "layers", 0, "params"), ["W", 7], "params: expected str"),
    "names the wrong way": (("model", "layers", 0, "params"), ["b", "W"], "Affine: W: expected a"),
    "an array too few": (("model", "layers", 0, "params"), ["W"], "layers.0: Affine: .*argument"),
    "one that is not there": (("model", "layers", 0, "params"), ["V"], "no array layers.0.V"),
    "a wrong option": (("model", "layers", 2, "config", "dropout_ratio"), 2, "must be in"),
    "a ratio of text": (("model", "layers", 2, "config", "dropout_ratio"), "x", "a number"),
    "a negative offset": (("model", "layers", 2, "config", "offset"), -1, "at least 0"),
    "an offset of floats": (("model", "layers", 2, "config", "offset"), 1.5, "a whole number"),
    "an unknown option": (("model", "layers", 2, "config", "x"), 1, "layers.2: Dropout: .*'x'"),
    "a loss option": (("model", "loss", "config", "reduction"), "max", "loss_layer: .*reduction"),
    "class weights of text": (("model", "loss", "config", "class_weight"), "a", "loss_layer"),
    "a mark": (("model", "layers", 2, "config", "dropout_ratio"), {"$float": "1"}, "plain value"),
    "an array for an option": (("model", "layers", 2, "config", "dropout_ratio"),
                               {"$array": "layers.0.W"}, "plain value"),
    "shared with nothing": (("model", "shared", "x"), ["layers.9.W", False], "no array 'layers.9"),
    "shared with itself": (("model", "shared", "layers.0.W"), ["layers.0.W", False], "shared"),
    "shared by number": (("model", "shared", "x"), [0, False], "expected str"),
    "shared that no layer has": (("model", "shared", "x"), ["layers.0.W", False], "has: x"),
    "counters of nothing": (("model", "counters", "x"), {"seed": 1}, "expected counters of"),
    "counters of text": (("model", "counters"), "x", "counters: expected dict"),
    "a loss among the layers": (("model", "layers", 1), {"type": "SigmoidWithLoss", "params": [],
                                "buffers": [], "config": {}}, "layers.1"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_text_is_a_value_error_that_names_the_file(tmp_path, name):
    arrays, text = parts_of(make_model(), tmp_path / "m")
    path, value, match = CHANGES[name]
    change(text, *path, to=value)
    write(tmp_path / "wrong", arrays, text)
    with pytest.raises(ValueError, match=r"wrong: (.|\n)*" + match):
        load_model(tmp_path / "wrong")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"layers.0.b": None}, "there is no array layers.0.b"),
        ({"layers.9.b": np.ones(3, np.float32)}, "arrays that no layer has: layers.9.b"),
        (
            {"layers.0.W": np.ones((4, 2), np.float32)},
            r"layers.0: Affine: b: expected shape \(2,\)",
        ),
        ({"layers.0.W": np.ones(4, np.float32)}, "layers.0: Affine: W: expected a matrix"),
        (
            {"layers.0.W": np.ones((4, 3), np.int64)},
            "layers.0: Affine: W: expected a NumPy array of floats",
        ),
        (
            {"layers.0.W": np.ones((4, 3), bool)},
            "layers.0: Affine: W: expected a NumPy array of floats",
        ),
    ],
)
def test_wrong_arrays_are_a_value_error_too(tmp_path, arrays, match):
    have, text = parts_of(make_model(), tmp_path / "m")
    have = {name: array for name, array in (have | arrays).items() if array is not None}
    write(tmp_path / "wrong", have, text)
    with pytest.raises(ValueError, match=f"wrong: {match}"):
        load_model(tmp_path / "wrong")


def header_only(text):
    return len(text).to_bytes(8, "little") + text


RUBBISH = {
    "nothing": b"",
    "a byte": b"x",
    "text": b"x" * 100,
    "a length alone": (100).to_bytes(8, "little"),
    "a huge length": (2**63 - 1).to_bytes(8, "little") + b"{" * 50,
    "an empty header": header_only(b"{}"),
    "no JSON": header_only(b"{" + b"x" * 50),
    "a list": header_only(b"[1, 2]  "),
    "brackets without end": header_only(b'{"a":' + b"[" * 100_000),
    "not UTF-8": header_only(b'{"\xff": 1}'),
    "metadata of numbers": header_only(b'{"__metadata__": {"nnext": 1}}'),
    "a list for metadata": header_only(b'{"__metadata__": [1]}'),
    "text that is no JSON": header_only(b'{"__metadata__": {"nnext": "{"}}'),
    "text that is a number": header_only(b'{"__metadata__": {"nnext": "1"}}'),
    "NaN in it": header_only(b'{"__metadata__": {"nnext": "{\\"format\\": NaN}"}}'),
    "a name twice in it": header_only(
        b'{"__metadata__": {"nnext": "{\\"format\\": 1, \\"format\\": 1}"}}'
    ),
    "a number of many digits": header_only(
        b'{"__metadata__": {"nnext": "{\\"format\\": ' + b"9" * 5000 + b'}"}}'
    ),
    "terabytes": header_only(
        b'{"__metadata__": {"nnext": "{\\"format\\": 1}"}, "a": {"dtype": "F32", '
        b'"shape": [1099511627776], "data_offsets": [0, 4398046511104]}}'
    ),
    "more than a size can be": header_only(
        b'{"__metadata__": {"nnext": "{\\"format\\": 1}"}, "a": {"dtype": "F32", '
        b'"shape": [4294967296, 4294967296, 4294967296], "data_offsets": [0, 0]}}'
    ),
    "a negative shape": header_only(
        b'{"__metadata__": {"nnext": "{\\"format\\": 1}"}, "a": {"dtype": "F32", '
        b'"shape": [-1], "data_offsets": [0, 0]}}'
    ),
    "a type of eight bits": header_only(
        b'{"__metadata__": {"nnext": "{\\"format\\": 1}"}, "a": {"dtype": "F8_E4M3", '
        b'"shape": [0], "data_offsets": [0, 0]}}'
    ),
    "an array twice": header_only(
        b'{"__metadata__": {"nnext": "{\\"format\\": 1}"}, "a": {"dtype": "F32", '
        b'"shape": [0], "data_offsets": [0, 0]}, "a": {"dtype": "F32", "shape": [0], '
        b'"data_offsets": [0, 0]}}'
    ),
}


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_is_a_value_error_that_names_the_file(tmp_path, name):
    path = tmp_path / "rubbish"
    path.write_bytes(RUBBISH[name])
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"rubbish: "):
        load_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


def test_texts_have_a_largest_size(tmp_path, monkeypatch):
    path = tmp_path / "m"
    make_model().save(path)
    monkeypatch.setattr(_tensor_files, "_LARGEST_TEXT", 100)
    with pytest.raises(ValueError, match=r"m: a text of \d+ bytes, more than model.save writes"):
        load_model(path)
    with pytest.raises(ValueError, match="the options of the layers take"):
        make_model().save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_header_of_many_small_things_takes_little_memory(tmp_path):
    path = tmp_path / "rubbish"
    path.write_bytes(header_only(b'{"a": [' + b"[]," * 1_000_000 + b"[]]}"))
    tracemalloc.start()
    with pytest.raises(ValueError, match="rubbish: "):
        load_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23  # the file is 3 MB, as lists they would be 90


def test_what_else_is_refused(tmp_path):
    path = tmp_path / "m"
    make_model().save_params(path)
    with pytest.raises(ValueError, match=r"m: an archive, as save_params writes it: .*load_params"):
        load_model(path)
    save_file({"a": np.ones(3)}, path)
    with pytest.raises(ValueError, match=r"m: arrays that nnext did not write"):
        load_model(path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        load_model(tmp_path)
    with pytest.raises(IsADirectoryError):
        make_model().save(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        for use in (load_model, make_model().save):
            with pytest.raises(OSError, match="no regular file"):
                use(tmp_path / "pipe")
    model = make_model()
    model.layers[0].params[0] = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match="is not the array"):
        model.save(path)


def check_read_or_refused(path):
    try:
        found = load_model(path)
    except ValueError as error:
        found = str(error)
    assert isinstance(found, Sequential) or found.startswith(f"{path}: ")


def small_file(tmp_path):
    path = tmp_path / "m"
    Sequential([Affine(np.ones((1, 2), np.float32), np.zeros(2, np.float32))]).save(path)
    return path.read_bytes()


def test_a_file_that_ends_anywhere_is_refused(tmp_path):
    content, path = small_file(tmp_path), tmp_path / "short"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"short: (damaged, or not in|no file of)"):
            load_model(path)
    for more in (content + b"x", content * 2):
        path.write_bytes(more)
        with pytest.raises(ValueError, match="short: "):
            load_model(path)


@settings(max_examples=400, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 3)),
                        min_size=1, max_size=4))  # fmt: skip
@example(changes=[(0.0, b"\xff", 1)])
def test_a_changed_file_is_read_or_refused(tmp_path, changes):
    content, path = bytearray(small_file(tmp_path)), tmp_path / "changed"
    for where, new, over in changes:
        start = int(where * len(content))
        content[start : start + over] = new
    path.write_bytes(content)
    check_read_or_refused(path)


@settings(max_examples=300, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data())
def test_a_changed_text_is_read_or_refused(tmp_path, data):
    """As above, but of values: few changes of bytes leave JSON that is JSON."""
    arrays, text = parts_of(make_model(), tmp_path / "m")
    leaves = []

    def walk(value):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            leaves.append((value, key))
            if isinstance(inner, dict | list):
                walk(inner)

    walk(text)
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
        | st.sampled_from(["Affine", "Dropout", "W", "layers.0.W", "$array", "Sequential"]),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$array", "$float", "$tuple", "seed", "W"]), inner,
                          max_size=2),
        max_leaves=4,
    )  # fmt: skip
    where, key = data.draw(st.sampled_from(leaves))
    where[key] = data.draw(values)
    write(tmp_path / "changed", arrays, text)
    check_read_or_refused(tmp_path / "changed")
