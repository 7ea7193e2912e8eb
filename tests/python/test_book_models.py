"""Models as the book writes them, derived from nnext's `BaseModel`: trained, copied, kept."""

import copy
import os
import pickle
import struct
from contextlib import suppress

import numpy as np
import pytest

import nnext
from nnext.base_model import BaseModel
from nnext.layers import Affine, Embedding, MatMul, SoftmaxWithLoss
from nnext.optimizer import SGD
from nnext.step import Step
from nnext.trainer import Trainer, remove_duplicate


class Chain(BaseModel):
    """As ch06/rnnlm.py: no call of the constructor, a list of layers, ``predict`` for scores."""

    def __init__(self, words=7, size=4, dtype="f"):
        rng = np.random.RandomState(0)
        E = (rng.randn(words, size) / 10).astype(dtype)
        self.layers = [Embedding(E), MatMul(E.T)]
        self.loss_layer = SoftmaxWithLoss()
        self.params, self.grads = [], []
        for layer in self.layers:
            self.params += layer.params
            self.grads += layer.grads

    def predict(self, xs):
        for layer in self.layers:
            xs = layer.forward(xs)
        return xs

    def forward(self, xs, ts):
        return self.loss_layer.forward(self.predict(xs), ts)

    def backward(self, dout=1):
        dout = self.loss_layer.backward(dout)
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


class Half:
    def __init__(self, first, last, seed):
        rng = np.random.RandomState(seed)
        self.affine = Affine(rng.randn(first, last).astype("f"), np.zeros(last, "f"))
        self.params, self.grads = self.affine.params, self.affine.grads

    def forward(self, x):
        return self.affine.forward(x)

    def backward(self, dout):
        return self.affine.backward(dout)


class Parts(BaseModel):
    """As ch07/seq2seq.py: parts in attributes, no list of layers, a loss of another name."""

    def __init__(self, size=4):
        self.encoder, self.decoder = Half(size, 3, 0), Half(3, 5, 1)
        self.softmax = SoftmaxWithLoss()
        self.params = self.encoder.params + self.decoder.params
        self.grads = self.encoder.grads + self.decoder.grads

    def forward(self, xs, ts):
        return self.softmax.forward(self.decoder.forward(self.encoder.forward(xs)), ts)

    def backward(self, dout=1):
        return self.encoder.backward(self.decoder.backward(self.softmax.backward(dout)))


def data(model):
    rng = np.random.RandomState(2)
    if isinstance(model, Chain):
        return rng.randint(0, 7, 20), rng.randint(0, 7, 20)
    return rng.randn(20, 4).astype("f"), rng.randint(0, 5, 20)


models = pytest.mark.parametrize("kind", [Chain, Parts])


@models
def test_they_are_trained_and_shared_weights_once(kind):
    model = kind()
    x, t = data(model)
    before = model.forward(x, t)
    trainer = Trainer(model, SGD(0.5), seed=0)
    assert (trainer.loss_list, trainer.eval_interval, trainer.current_epoch) == ([], None, 0)
    history = trainer.fit(x, t, 5, 4, max_grad=5.0, eval_interval=2, progress="none")
    assert model.forward(x, t) < before
    assert trainer.loss_list == history.loss
    assert len(trainer.loss_list) == 13
    assert (trainer.eval_interval, trainer.current_epoch) == (2, 5)
    trainer.fit(x, t, 1, 4, eval_interval=None, progress="none")
    assert (trainer.eval_interval, trainer.current_epoch) == (None, 6)


@models
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies_have_arrays_of_their_own_that_are_still_their_layers(kind, way):
    model = kind()
    other = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))
    x, t = data(model)
    before = [p.copy() for p in model.params]
    Step(other, SGD(0.5))(x, t)
    assert other.forward(x, t) != model.forward(x, t)
    for p, old in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, old)
    if kind is Chain:
        assert np.shares_memory(other.layers[0].params[0], other.layers[1].params[0])


@models
def test_parameters_are_kept_under_the_name_of_the_class(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, other = kind(), kind()
    model.save_params()
    path = tmp_path / f"{kind.__name__}.pkl"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes()[:4] == b"PK\3\4"  # never a pickle
    for p in other.params:
        p[...] = 0
    other.load_params()
    for p, q in zip(model.params, other.params, strict=True):
        np.testing.assert_array_equal(p, q)
    model.save_params(file_name=tmp_path / "other.pkl")
    other.load_params(file_name="other.pkl")
    with pytest.raises(FileNotFoundError):
        other.load_params("../nowhere/Rnnlm.pkl")


@models
def test_the_rest_of_a_model_works_too(kind):
    model = kind()
    state = model.state_dict()
    assert sum(a.size for a in state.values()) == (28 if kind is Chain else 35)
    model.load_state_dict(state)
    assert list(model.buffers) == []
    assert kind.__name__ in repr(model)
    shown = ["Embedding", "MatMul"] if kind is Chain else ["encoder", "Half", "decoder"]
    assert all(name in repr(model) for name in shown)
    assert f"{28 if kind is Chain else 35}" in model.summary().splitlines()[-1]
    with pytest.raises(NotImplementedError, match="defines neither loss_input"):
        model.scores(data(model)[0])


def test_a_model_may_call_the_constructor_without_arguments():
    class Own(BaseModel):
        def __init__(self):
            super().__init__()
            self.params, self.grads = [np.zeros(2)], [np.zeros(2)]

    model = Own()
    assert (model.layers, model.loss_layer, BaseModel().params) == ([], None, [])
    assert repr(model) == "Own(\n)  2 parameters, type float64"
    assert copy.deepcopy(model).params[0].tolist() == [0, 0]
    with pytest.raises(NotImplementedError, match="does not define forward"):
        model.forward(1, 2)
    with pytest.raises(TypeError, match="scores"):
        model.predict(1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_shared_weights_are_summed_into_the_first(dtype):
    W, b = np.zeros((2, 3), dtype), np.zeros(3, dtype)
    equal = np.zeros((3, 2), dtype)  # a coincidence, which the book takes for the transpose
    grads = [np.full(p.shape, i, dtype) for i, p in enumerate([W, b, W, W.T, equal], 1)]
    params, kept = remove_duplicate([W, b, W, W.T, equal], grads)
    assert [id(p) for p in params] == [id(W), id(b), id(equal)]
    assert [id(g) for g in kept] == [id(grads[0]), id(grads[1]), id(grads[4])]
    assert [g.max() for g in kept] == [8, 2, 5]
    assert remove_duplicate([], []) == ([], [])
    with pytest.raises(ValueError, match=r"one for each of the 2 params.* got 1: \(2, 3\)"):
        remove_duplicate([W, b], [W])


# The book's files


def book_file(path, arrays, protocol=4):
    """Write what the book's ``save_params`` writes."""
    with open(path, "wb") as file:
        pickle.dump([np.asarray(a).astype(np.float16) for a in arrays], file, protocol)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_books_files_are_read(tmp_path, protocol, dtype):
    model, path = Chain(dtype=dtype), tmp_path / "Rnnlm.pkl"
    rng = np.random.RandomState(1)
    E = rng.randn(7, 4).astype(dtype)
    book_file(path, [E, E.T], protocol)
    arrays = list(model.params)
    model.load_params(path)
    np.testing.assert_array_equal(arrays[0], E.astype(np.float16).astype(dtype))
    assert np.shares_memory(arrays[0], model.params[1])


@pytest.mark.parametrize("kind", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", range(6))
def test_floats_of_any_size_and_order_are_read(tmp_path, kind, order, protocol):
    model, path = nnext.Sequential([nnext.affine(3, 2, seed=0)]), tmp_path / "file"
    W = np.array([[1, 2], [3, 4], [5, 6]], kind, order=order)
    path.write_bytes(pickle.dumps([W, np.array([7, -0.0], kind)], protocol))
    model.load_params(path)
    np.testing.assert_array_equal(model.params[0], W.astype("f"))
    np.testing.assert_array_equal(model.params[1], [7, 0])


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_files_of_the_time_before_numpy_2_are_read(tmp_path, protocol):
    model, path = Chain(), tmp_path / "Rnnlm.pkl"
    E = np.random.RandomState(1).randn(7, 4).astype(np.float16)
    new = pickle.dumps([E, E.T], protocol)
    old = new.replace(b"numpy._core.", b"numpy.core.")
    assert old != new
    path.write_bytes(old)
    model.load_params(path)
    np.testing.assert_array_equal(model.params[0], E.astype("f"))


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_without_elements_or_axes_are_read(tmp_path, protocol):
    class Odd(BaseModel):
        def __init__(self):
            self.params = [np.zeros((0, 3)), np.zeros(())]
            self.grads = [np.zeros((0, 3)), np.zeros(())]

    model, path = Odd(), tmp_path / "Odd.pkl"
    book_file(path, [np.ones((0, 3)), 2.5], protocol)
    model.load_params(path)
    assert model.params[1] == 2.5


def refused(model, path, match):
    before = [p.copy() for p in model.params]
    with pytest.raises(ValueError, match=match) as error:
        model.load_params(path)
    assert str(path) in str(error.value)
    for p, old in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, old)


def test_what_does_not_fit_is_refused_and_nothing_overwritten(tmp_path):
    model, path = Chain(), tmp_path / "Rnnlm.pkl"
    E = np.ones((7, 4))
    book_file(path, [E])
    refused(model, path, "holds 1 parameters, the model has 2")
    book_file(path, [E, E.T, E])
    refused(model, path, "holds 3 parameters, the model has 2")
    book_file(path, [])
    refused(model, path, "holds 0 parameters, the model has 2")
    book_file(path, [E, E])
    refused(model, path, r"parameter 1 has the shape \(7, 4\), the model's \(4, 7\)")
    book_file(path, [np.ones((700, 400)), E.T])
    refused(model, path, "holds more data than the model's 2 parameters take")
    path.write_bytes(pickle.dumps([E, np.full((4, 7), 1e300)]))
    refused(model, path, "too large for the model's type")
    norm = nnext.Sequential([nnext.batch_norm(3)])
    book_file(path, [np.ones(3), np.ones(3)])
    refused(norm, path, "holds 0 buffers, the model has 2")
    model.params[0].flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        model.load_params(path)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "content",
    [
        np.ones((7, 4)),
        [np.ones((7, 4)), 1.0],
        [np.ones((7, 4)), np.float16(1)],
        [np.ones((7, 4), int), np.ones((4, 7), int)],
        [np.ones((7, 4), complex), np.ones((4, 7), complex)],
        [np.full((7, 4), None), np.full((4, 7), None)],
        [np.zeros(7, [("a", "f2", 4)]), np.ones((4, 7))],
        [[np.ones((7, 4))], np.ones((4, 7))],
        {"word_vecs": np.ones((7, 4))},
        "text",
        None,
        ["text", b"bytes"],
        [np.ma.ones((7, 4)), np.ones((4, 7))],
        [range(3), {1, 2}],
        [np.dtype("f2"), np.ndarray],
    ],
)
def test_other_pickles_are_refused(tmp_path, content, protocol):
    path = tmp_path / "Rnnlm.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    refused(Chain(), path, "is not a file of save_params")


class Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def hostile(path):
    """Pickles that would run something, or change what is there, as they are loaded."""
    marker = str(path.with_name("ran"))
    E = np.ones((7, 4), np.float16)
    array = pickle.dumps([E, E.T], 2)
    yield pickle.dumps([Runs(os.mkdir, (marker,)), E])
    yield pickle.dumps([E, E.T, Runs(os.mkdir, (marker,))], 2)
    yield pickle.dumps(Runs(eval, (f"__import__('os').mkdir({marker!r})",)), 0)
    yield pickle.dumps(Runs(np.load, (marker,)))
    yield b"cos\nmkdir\n(V" + marker.encode() + b"\ntR."
    yield b"(cos\nmkdir\nV" + marker.encode() + b"\no."
    yield b"(V" + marker.encode() + b"\nios\nmkdir\n."
    yield b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93."  # a name with a dot
    yield b"\x80\x02cnumpy\nndarray\n}U\x01aK\x01s\x86b."  # sets an attribute of a class
    yield b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nN}X\x01\0\0\0aK\x01s\x86b."
    yield b"\x80\x02cnumpy\ndtype\nN(X\x02\0\0\0f2K\0K\1tb."
    yield b"\x80\x02cnumpy.core.multiarray\nscalar\n."
    yield b"\x80\x02c_codecs\ndecode\n."
    yield array.replace(b"latin1", b"rot_13")
    yield b"\x80\x02P1\n."  # a persistent id
    yield b"\x80\x02\x82\x01."  # an extension
    yield b"\x80\x02]r\xff\xff\xff\x7f."  # a place in the memo: 16 GB of one that is a list
    yield b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R."  # 2 GB of bytes
    yield b"(lp2147483647\n."
    yield b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f."  # bytes without end
    yield b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f]."
    yield b"\x80\x02]" + b"\x85" * 200_000 + b"}\x94K\x01s."  # a key whose hash has no end
    yield b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."  # lists in lists
    yield b"\x80\x02](I1\n" + b"I" + b"9" * 10_000 + b"\ne."
    yield array + array
    yield array + b"rest"
    yield b"\x80\x02" + b"\x90" * 10 + b"."  # sets
    huge = struct.pack("<q", 2**62)
    yield array.replace(b"K\x07K\x04\x86", b"\x8a\x08" + huge + b"K\x04\x86")


def test_hostile_pickles_run_nothing(tmp_path):
    path = tmp_path / "Rnnlm.pkl"
    model, count = Chain(), 0
    for content in hostile(path):
        path.write_bytes(content)
        refused(model, path, "is not a file of save_params|holds more data|holds 0 parameters")
        count += 1
    assert count > 20
    assert [p.name for p in tmp_path.iterdir()] == ["Rnnlm.pkl"]
    book_file(path, model.params)  # and nothing is changed for the next file
    model.load_params(path)


@pytest.mark.parametrize("protocol", range(6))
def test_the_largest_numbers_fit_below_the_limit(tmp_path, protocol):
    class Large(BaseModel):
        def __init__(self):
            self.params, self.grads = [np.zeros(50_000)], [np.zeros(50_000)]

    model, path = Large(), tmp_path / "Large.pkl"
    x = np.frombuffer(b"\n\\\x1a\xff\0\xe0\xe0\x40" * 50_000, "<f8")  # none stays one letter
    path.write_bytes(pickle.dumps([x], protocol))
    model.load_params(path)
    np.testing.assert_array_equal(model.params[0], x)


@pytest.mark.parametrize("protocol", range(6))
def test_cut_and_changed_pickles_are_refused_or_read_as_arrays(tmp_path, protocol):
    model, path = Parts(), tmp_path / "Parts.pkl"
    whole = pickle.dumps([p.astype(np.float16) for p in model.params], protocol)
    for end in range(1, len(whole), 4):
        path.write_bytes(whole[:end])
        refused(model, path, "is not a file of save_params")
    rng = np.random.RandomState(0)
    for _ in range(100):
        changed = bytearray(whole)
        changed[rng.randint(1, len(whole))] = rng.randint(256)
        path.write_bytes(changed)
        with suppress(ValueError):  # else other numbers, as far as anybody can know
            model.load_params(path)


def hostile_shape(count):
    """A pickle of an array whose shape is a tuple of as many numbers of 255 bytes."""
    number = b"\x8a\xff" + b"\xff" * 254 + b"\x7f"
    head = b"\x80\x02]cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    head = head.replace(b"U\x01b", b"C\x01b")
    shape = b"(" + number + b"q\x00" + b"h\x00" * count + b"t"
    kind = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R"
    return head + b"(K\x01" + shape + kind + b"\x89C\x00tba."


def test_a_shape_of_thousands_of_numbers_is_refused_at_once(tmp_path):
    path = tmp_path / "params.pkl"
    path.write_bytes(hostile_shape(30_000))
    model = nnext.TwoLayerNet(100, 50, 10)
    before = [p.copy() for p in model.params]
    with pytest.raises(ValueError, match=r"params\.pkl") as error:
        model.load_params(path)
    assert len(str(error.value)) < 500
    for p, q in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, q)


def test_a_text_is_made_bytes_no_more_often_than_it_is_there(tmp_path):
    text = b"X" + (50_000).to_bytes(4, "little") + b"a" * 50_000 + b"q\x00"
    start = b"\x80\x02](c_codecs\nencode\nq\x01" + text + b"X\x06\x00\x00\x00latin1q\x02"
    again = b"h\x01h\x00h\x02\x86R"
    path = tmp_path / "params.pkl"
    path.write_bytes(start + again * 5_000 + b"e.")
    with pytest.raises(ValueError, match="more bytes than it has itself"):
        nnext.TwoLayerNet(100, 50, 10).load_params(path)
