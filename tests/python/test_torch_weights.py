"""PyTorch's weights: names, orientation, and what does not fit; with PyTorch where it is there."""

import numpy as np
import pytest
from ml_dtypes import bfloat16

import reference as ref
from nnext import (
    Affine,
    AffineSoftmaxWithLoss,
    BatchNorm,
    Dropout,
    Embedding,
    LayerNorm,
    MatMul,
    ReLU,
    Sequential,
    SoftmaxWithLoss,
    affine,
)
from nnext._recurrent import TimeGRU, TimeLSTM, TimeRNN
from nnext.base_model import BaseModel
from nnext.layers import Layer
from nnext.torch_weights import from_torch, to_torch


def random(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def make_model(dtype="float32"):
    return Sequential([affine(4, 5, dtype=dtype), ReLU(), Dropout(0.5), affine(5, 3, dtype=dtype)])


def state():
    """What torch.nn.Sequential(Linear(4, 5), ReLU(), Dropout(), Linear(5, 3)) has."""
    return {"0.weight": random(5, 4), "0.bias": random(5, seed=1),
            "3.weight": random(3, 5, seed=2), "3.bias": random(3, seed=3)}  # fmt: skip


def test_linear_layers_are_turned():
    model, given = make_model(), state()
    arrays = list(model.params)
    from_torch(given, model)
    for i, name in enumerate(given):
        assert model.params[i] is arrays[i]
        np.testing.assert_array_equal(model.params[i], given[name].T)
    back = to_torch(model)
    assert list(back) == list(given)
    for name, array in back.items():
        np.testing.assert_array_equal(array, given[name])
        assert array.flags.c_contiguous
        assert not any(np.shares_memory(array, p) for p in model.params)


def test_square_matrices_are_turned_too():
    model = Sequential([MatMul(np.zeros((3, 3), np.float32))])
    from_torch({"weight": random(3, 3)}, model)
    np.testing.assert_array_equal(model.params[0], random(3, 3).T)


def test_all_layers_and_names_of_any_depth():
    E, W = np.zeros((7, 4), np.float32), np.zeros((4, 4), np.float32)
    ones = [np.ones(4, np.float32) for _ in range(4)]
    model = Sequential(
        [Embedding(E), MatMul(W), BatchNorm(*ones)],
        AffineSoftmaxWithLoss(np.zeros((4, 7), np.float32)),
    )
    given = {
        "words.weight": random(7, 4), "block.0.weight": random(4, 4, seed=1),
        "block.1.weight": random(4, seed=2), "block.1.bias": random(4, seed=3),
        "block.1.running_mean": random(4, seed=4), "block.1.running_var": random(4, seed=5) ** 2,
        "block.1.num_batches_tracked": np.array(17), "out.weight": random(7, 4, seed=6),
    }  # fmt: skip
    from_torch(given, model)
    np.testing.assert_array_equal(model[0].params[0], given["words.weight"])
    np.testing.assert_array_equal(model[1].params[0], given["block.0.weight"].T)
    norm = model[2]
    names = ["weight", "bias", "running_mean", "running_var"]
    for array, name in zip([*norm.params, *norm.buffers], names, strict=True):
        np.testing.assert_array_equal(array, given[f"block.1.{name}"])
    np.testing.assert_array_equal(model.loss_layer.params[0], given["out.weight"].T)
    back = to_torch(model)
    assert list(back) == ["0.weight", "1.weight", "2.weight", "2.bias", "2.running_mean",
                          "2.running_var", "2.num_batches_tracked", "3.weight"]  # fmt: skip
    assert back["2.num_batches_tracked"].dtype == np.int64


def test_a_model_of_ones_own_has_the_names_of_its_attributes():
    class Net(BaseModel):
        def __init__(self):
            self.encoder, self.head = affine(2, 3), affine(3, 4)
            super().__init__([self.encoder, self.head], SoftmaxWithLoss())

    assert list(to_torch(Net())) == ["encoder.weight", "encoder.bias", "head.weight", "head.bias"]


def test_shared_weights_are_there_twice_and_have_to_agree():
    E = np.zeros((7, 4), np.float32)
    model = Sequential([Embedding(E)], AffineSoftmaxWithLoss(E.T))
    from_torch({"0.weight": random(7, 4), "1.weight": random(7, 4)}, model)
    np.testing.assert_array_equal(E, random(7, 4))
    assert list(to_torch(model)) == ["0.weight", "1.weight"]
    with pytest.raises(ValueError, match=r"weight: is shared with that of 0 for layers\.0"):
        from_torch({"0.weight": random(7, 4), "1.weight": random(7, 4, seed=1)}, model)
    np.testing.assert_array_equal(E, random(7, 4))


@pytest.mark.parametrize("dtype", ["float16", bfloat16, "float32", "float64"])
def test_another_type_will_do_where_no_number_changes(dtype):
    model = Sequential([MatMul(np.zeros((2, 2), dtype))])
    from_torch({"weight": np.array([[1.5, -2], [np.inf, np.nan]])}, model)
    np.testing.assert_array_equal(model.params[0].astype(float), [[1.5, np.inf], [-2, np.nan]])
    given = np.array([[1.5, 1 + 2**-30], [0, 0]])
    if dtype == "float64":
        from_torch({"weight": given}, model)
    else:
        with pytest.raises(ValueError, match=r"float64 has numbers that .* has not: cast them"):
            from_torch({"weight": given}, model)


def test_all_that_does_not_fit_is_told_at_once_and_nothing_is_written():
    model, given = make_model(), state()
    before = [p.copy() for p in model.params]
    del given["0.bias"]
    given["0.extra"] = random(2)
    given["3.weight"] = random(5, 3)  # as nnext has it
    given["3.bias"] = "text"
    with pytest.raises(ValueError, match="does not fit, nothing was loaded") as error:
        from_torch(given, model)
    for line in ["0 for layers.0 (Affine): missing bias",
                 "0 for layers.0 (Affine): unexpected extra",
                 "3 for layers.3 (Affine): weight: expected shape (3, 5), got (5, 3)",
                 "3 for layers.3 (Affine): bias: expected"]:  # fmt: skip
        assert line in str(error.value)
    for p, old in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, old)


def test_other_numbers_of_layers_and_unknown_layers_are_refused():
    given = state()
    with pytest.raises(ValueError, match=r"expected the weights of 1 layers, layers\.0 \(Affine\), "
                                         r"got those of 2: 0, 3"):  # fmt: skip
        from_torch(given, Sequential([affine(4, 5)]))
    with pytest.raises(ValueError, match="got those of 0: none"):
        from_torch({}, make_model())

    class Own(Layer):
        def forward(self, x):
            return x

        def backward(self, dout):
            return dout

    for use in (to_torch, lambda model: from_torch({}, model)):
        with pytest.raises(TypeError, match=r"layers\.0: PyTorch's weights .*not for Own"):
            use(Sequential([Own(np.ones(3))]))
    with pytest.raises(TypeError, match="state: expected a dict of arrays"):
        from_torch([1], make_model())
    with pytest.raises(TypeError, match="state: expected names"):
        from_torch({1: 2}, make_model())
    model = make_model()
    model.params[0].flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        from_torch(given, model)


def test_numbers_of_names_are_numbers():
    model = Sequential([MatMul(np.zeros((2, 2), np.float32)) for _ in range(12)])
    given = {f"net.{i}.weight": np.full((2, 2), i) for i in range(12)}
    for order in (given, dict(sorted(given.items())), dict(reversed(given.items()))):
        from_torch(order, model)
        assert [p[0, 0] for p in model.params] == [*range(12)]


def test_without_numbers_the_order_is_the_dicts():
    model = Sequential([MatMul(np.zeros((2, 2), np.float32)) for _ in range(2)])
    from_torch({"b.weight": np.ones((2, 2)), "a.weight": np.zeros((2, 2))}, model)
    assert [p[0, 0] for p in model.params] == [1, 0]


def test_a_subclass_is_of_its_parents_kind():
    class Wide(Affine):
        pass

    model = Sequential([Wide(np.zeros((4, 5), np.float32), np.zeros(5, np.float32))])
    from_torch({"0.weight": random(5, 4), "0.bias": random(5)}, model)
    np.testing.assert_array_equal(model.params[0], random(5, 4).T)


def test_masked_arrays_are_refused():
    model, given = make_model(), state()
    given["0.bias"] = np.ma.array(given["0.bias"], mask=[1, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="bias: expected an array"):
        from_torch(given, model)


# With PyTorch


def test_a_torch_model_computes_the_same():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(5, 3)
    ).eval()
    model = make_model()
    x = random(10, 4)
    with torch.no_grad():
        for given in (net.state_dict(), dict(net.named_parameters())):
            model.params[0][...] = 0
            from_torch(given, model)
            np.testing.assert_allclose(model(x), net(torch.from_numpy(x)).numpy(), rtol=1e-5,
                                       atol=1e-6)  # fmt: skip
        for p in model.params:
            p += 1
        net.load_state_dict({n: torch.from_numpy(a) for n, a in to_torch(model).items()})
        np.testing.assert_allclose(model(x), net(torch.from_numpy(x)).numpy(), rtol=1e-5)


def test_bfloat16_tensors_come_over():
    torch = pytest.importorskip("torch")
    given = {name: torch.from_numpy(array).bfloat16() for name, array in state().items()}
    for dtype in ("float32", bfloat16):
        model = make_model(dtype)
        from_torch(given, model)
        np.testing.assert_array_equal(
            model.params[0].astype(np.float32), given["0.weight"].float().numpy().T
        )


def test_normalizations_of_torch_come_over_and_go_back():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.LayerNorm(4))
    x = random(10, 4)
    net(torch.from_numpy(x))
    model = Sequential([BatchNorm(*random(4, 4)), LayerNorm(random(4), random(4, seed=1))])
    from_torch(net.state_dict(), model)
    np.testing.assert_array_equal(model.buffers[0], net[0].running_mean.numpy())
    np.testing.assert_array_equal(model.buffers[1], net[0].running_var.numpy())
    net.eval()
    expected = net(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    net.load_state_dict({name: torch.from_numpy(a) for name, a in to_torch(model).items()})


# Arrays of other libraries


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_arrays_of_other_libraries_are_taken_without_a_copy(library):
    module = pytest.importorskip(library)
    plain = random(1000, 4)
    x = module.from_numpy(plain) if library == "torch" else module.numpy.asarray(plain)
    assert np.shares_memory(np.asarray(x), np.from_dlpack(x))  # so the core reads them in place
    W = random(4, 2)
    np.testing.assert_array_equal(MatMul(W).forward(x), MatMul(W).forward(plain))
    model = make_model()
    np.testing.assert_array_equal(model(x), model(plain))


# Recurrent layers: PyTorch's formulas on its own arrays, by its documentation


def gate_products(given, x, h):
    ih = x @ given["weight_ih_l0"].T + given.get("bias_ih_l0", 0)
    hh = h @ given["weight_hh_l0"].T + given.get("bias_hh_l0", 0)
    n = len(given["weight_hh_l0"]) // given["weight_hh_l0"].shape[1]
    return np.split(ih, n, axis=1), np.split(hh, n, axis=1)


def torch_rnn(given, x, h, c):
    (ih,), (hh,) = gate_products(given, x, h)
    return np.tanh(ih + hh), c


def torch_lstm(given, x, h, c):
    i, f, g, o = (a + b for a, b in zip(*gate_products(given, x, h), strict=True))
    c = ref.sigmoid(f) * c + ref.sigmoid(i) * np.tanh(g)
    return ref.sigmoid(o) * np.tanh(c), c


def torch_gru(given, x, h, c):
    ih, hh = gate_products(given, x, h)
    r, z = ref.sigmoid(ih[0] + hh[0]), ref.sigmoid(ih[1] + hh[1])
    return (1 - z) * np.tanh(ih[2] + r * hh[2]) + z * h, c


def recurrent_state(gates, D, H, bias=True):
    sizes = {"weight_ih_l0": (gates * H, D), "weight_hh_l0": (gates * H, H)}
    if bias:
        sizes |= {"bias_ih_l0": (gates * H,), "bias_hh_l0": (gates * H,)}
    return {n: random(*s, dtype=np.float64, seed=i) for i, (n, s) in enumerate(sizes.items())}


def make_recurrent(gates, bias=True):
    zeros = np.zeros((3, gates * 4)), np.zeros((4, gates * 4))
    if gates == 3:
        return TimeGRU(*zeros, np.zeros(16) if bias else None, reset_after=True)
    return (TimeRNN if gates == 1 else TimeLSTM)(*zeros, np.zeros(gates * 4))


@pytest.mark.parametrize(
    ("gates", "step", "bias"),
    [(1, torch_rnn, True), (4, torch_lstm, True), (3, torch_gru, True), (3, torch_gru, False)],
)
def test_recurrent_layers_compute_what_pytorch_computes(gates, step, bias):
    model = Sequential([make_recurrent(gates, bias)])
    given = recurrent_state(gates, 3, 4, bias)
    from_torch({f"rnn.{name}": array for name, array in given.items()}, model)
    xs = random(2, 5, 3, dtype=np.float64, seed=9)
    h = c = np.zeros((2, 4))
    for t, state in enumerate(model.layers[0].forward(xs).swapaxes(0, 1)):
        h, c = step(given, xs[:, t], h, c)
        np.testing.assert_allclose(state, h, rtol=0, atol=1e-14)
    back = {name.removeprefix("0."): array for name, array in to_torch(model).items()}
    assert list(back) == list(given)
    h = c = np.zeros((2, 4))
    for t, state in enumerate(model.layers[0].forward(xs).swapaxes(0, 1)):
        h, c = step(back, xs[:, t], h, c)
        np.testing.assert_allclose(state, h, rtol=0, atol=1e-14)
    copy = Sequential([make_recurrent(gates, bias)])
    from_torch(to_torch(model), copy)
    for p, q in zip(copy.params, model.params, strict=True):
        np.testing.assert_array_equal(p, q)


def test_a_recurrent_layer_that_does_not_fit_is_named():
    model = Sequential([make_recurrent(4)])
    before = [p.copy() for p in model.params]
    given = recurrent_state(4, 3, 4)
    for change, message in [
        ({"weight_ih_l0": random(16, 2)}, r"weight_ih_l0: expected shape \(16, 3\), got \(16, 2\)"),
        ({"weight_ih_l1": random(16, 4)}, "unexpected weight_ih_l1"),
    ]:
        with pytest.raises(ValueError, match=message):
            from_torch(given | change, model)
    del given["bias_hh_l0"]
    with pytest.raises(ValueError, match="missing bias_hh_l0"):
        from_torch(given, model)
    for p, q in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, q)


def test_the_books_gru_is_none_of_pytorchs():
    gru = TimeGRU(np.zeros((3, 12)), np.zeros((4, 12)), np.zeros(12))
    with pytest.raises(TypeError, match="reset_after=True"):
        to_torch(Sequential([gru]))


@pytest.mark.parametrize(("gates", "name"), [(1, "RNN"), (4, "LSTM"), (3, "GRU")])
def test_pytorch_itself_agrees(gates, name):
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, name)(3, 4, batch_first=True).double()
    model = Sequential([make_recurrent(gates)])
    from_torch(module.state_dict(), model)
    xs = random(2, 5, 3, dtype=np.float64, seed=9)
    expected = module(torch.from_numpy(xs))[0].detach().numpy()
    np.testing.assert_allclose(model.layers[0].forward(xs), expected, rtol=0, atol=1e-13)
    module.load_state_dict(
        {n.removeprefix("0."): torch.from_numpy(a) for n, a in to_torch(model).items()}
    )
    np.testing.assert_allclose(
        module(torch.from_numpy(xs))[0].detach().numpy(), expected, rtol=0, atol=1e-13
    )


def test_biases_that_add_up_to_infinity_are_refused():
    rnn = TimeRNN(*(np.zeros(s, np.float16) for s in ((3, 4), (4, 4), (4,))))
    model = Sequential([rnn])
    given = {n: a.astype(np.float16) for n, a in recurrent_state(1, 3, 4).items()}
    given["bias_ih_l0"][1] = given["bias_hh_l0"][1] = 60000
    with pytest.raises(ValueError, match="add up to infinity"):
        from_torch(given, model)
    assert not any(p.any() for p in model.params)
