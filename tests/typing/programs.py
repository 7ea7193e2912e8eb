"""Programs as users write them, for ``mypy --strict``; nothing here is run.

``assert_type`` says what a reader may rely on. `Any` would pass everything, so it stands only where
nothing better can be said.
"""

from itertools import pairwise
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import nnext
from nnext import (
    SGD,
    Adam,
    AdamW,
    Affine,
    AffineSoftmaxWithLoss,
    BaseModel,
    Dropout,
    Embedding,
    History,
    HuberLoss,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    SquaredError,
    Step,
    Tanh,
    Trainer,
    TwoLayerNet,
    affine,
)
from nnext.base_model import LayerLike
from nnext.callbacks import EarlyStopping, LearningRateSchedule, ModelCheckpoint
from nnext.functions import linear_cross_entropy, linear_cross_entropy_with_grad
from nnext.layers import Layer
from nnext.models import CBOW, AttentionSeq2seq, Rnnlm, SimpleCBOW, SkipGram
from nnext.negative_sampling import EmbeddingDot, NegativeSamplingLoss, UnigramSampler
from nnext.schedules import Cosine, StepDecay, WarmUp
from nnext.time_layers import TimeSigmoidWithLoss, TimeSoftmaxWithLoss
from nnext.torch_weights import from_torch, to_torch
from nnext.trainer import RnnlmTrainer
from nnext.util import (
    convert_one_hot,
    create_co_matrix,
    create_contexts_target,
    most_similar,
    ppmi,
    preprocess,
    truncated_svd,
)

Array = NDArray[Any]


def a_list_of_layers(deep: bool) -> Sequential:
    layers = [affine(2, 10, seed=0), ReLU(), affine(10, 3, seed=1)]
    activations = [Sigmoid(), Tanh()]
    model = Sequential(layers)
    if deep:
        model = Sequential([*layers, *activations, Dropout(0.5)], loss=SoftmaxWithLoss())
    assert_type(model[0], LayerLike)
    assert_type(model[1:], list[LayerLike])
    return model


def a_list_that_grows(depth: int) -> Sequential:
    layers: list[LayerLike] = [Embedding(np.zeros((9, 4), np.float32))]
    for _ in range(depth):
        layers += [affine(4, 4), ReLU()]
    layers.append(affine(4, 2))
    return Sequential(layers, SigmoidWithLoss())


def a_chain_of_affines(sizes: list[int]) -> Sequential:
    return Sequential([affine(a, b) for a, b in pairwise(sizes)])


def affine_backward(x: Array, dout: Array, wanted: bool) -> Array:
    layer = Affine(np.zeros((2, 3)), np.zeros(3))
    y = layer.forward(x)
    assert_type(y, Array)
    assert_type(layer.backward(dout), Array)
    assert_type(layer.backward(dout, input_grad=True), Array)
    assert_type(layer.backward(dout, wanted), Array | None)
    layer.backward(dout, input_grad=False)
    return layer.backward(dout) * 2


def fused_loss_backward(x: Array, t: Array, wanted: bool) -> Array:
    layer = AffineSoftmaxWithLoss(np.zeros((4, 100)), ignore_label=0)
    assert_type(layer.forward(x, t), float)
    assert_type(layer.backward(), Array)
    assert_type(layer.backward(0.5, input_grad=True), Array)
    assert_type(layer.backward(input_grad=wanted), Array | None)
    layer.backward(input_grad=False)
    rows = AffineSoftmaxWithLoss(np.zeros((4, 100)), np.zeros(100), reduction="none")
    assert_type(rows.forward(x, t), Array)
    classes, log_prob = layer.top_k(x, 5)
    assert_type(log_prob, Array)
    return classes


def loss_of_a_batch(x: Array, t: Array) -> float:
    layer = SoftmaxWithLoss()
    assert_type(layer.forward(x, t), float)
    assert_type(SoftmaxWithLoss(reduction="sum", softcap=30).forward(x, t), float)
    assert_type(SoftmaxWithLoss(reduction="none").forward(x, t), Array)
    assert_type(SigmoidWithLoss().forward(x, t), float)
    assert_type(SigmoidWithLoss(pos_weight=2, reduction="none").forward(x, t), Array)
    assert_type(SquaredError().forward(x, t), float)
    assert_type(HuberLoss(0.5, reduction="none").forward(x, t), Array)
    assert_type(TimeSoftmaxWithLoss(ignore_label=0).forward(x, t), float)
    assert_type(TimeSoftmaxWithLoss(reduction="none").forward(x, t), Array)
    assert_type(TimeSigmoidWithLoss(reduction="none").forward(x, t), Array)
    assert_type(layer.backward(), Array)
    return layer.forward(x, t)


def models_of_sequences(xs: Array, ts: Array) -> list[int]:
    language = Rnnlm(100, 10, 10, seed=0)
    trainer = RnnlmTrainer(language, SGD(lr=20.0))
    assert_type(trainer.fit(xs, ts, max_grad=0.25), list[float])
    assert_type(language.predict(xs), Array)
    answers = AttentionSeq2seq(13, 16, 256, rng=np.random.default_rng(0))
    history = Trainer(answers, Adam()).fit(xs, ts, 1, 128, 5.0)
    assert_type(history, History)
    assert_type(answers.decoder.attention.attention_weights, list[Array] | None)
    return language.generate(1, [2, 3]) + answers.generate(xs[:1], 0, 4)


def takes_a_loss(layer: SoftmaxWithLoss, x: Array, t: Array) -> float:
    """The bare name is that of a loss which is one number."""
    return layer.forward(x, t)


def chosen_reduction(reduction: str, x: Array, t: Array) -> Any:
    return SoftmaxWithLoss(reduction=reduction).forward(x, t)


def functions(x: Array, W: Array, t: list[int]) -> Array:
    loss: float = linear_cross_entropy(x, W, t, label_smoothing=0.1)
    print(f"{loss:.3f}")
    _, dx, dW, db = linear_cross_entropy_with_grad(x, W, t)
    assert_type(db, Array | None)
    assert_type(nnext.cross_entropy_error(nnext.softmax(x), t), float)
    return dx + dW


def training(x: Array, t: Array) -> History:
    model = TwoLayerNet(2, 10, 3, seed=0)
    trainer = Trainer(model, Adam(lr=0.01), seed=0)
    assert_type(trainer, Trainer[Adam])
    assert_type(trainer.optimizer, Adam)
    assert_type(trainer.optimizer.lr, float)
    trainer.optimizer.lr *= 0.5
    print(trainer.optimizer.beta1, Trainer(model, AdamW()).optimizer.weight_decay)

    def look(trainer: Trainer[Adam]) -> dict[str, float]:
        trainer.optimizer.lr = 0.001
        return {"accuracy": model.accuracy(x, t), "lr": trainer.optimizer.lr}

    trainer.fit(x, t, on_epoch=lambda trainer: {"accuracy": model.accuracy(x, t)})
    early = EarlyStopping("val_loss", patience=3)
    rate = LearningRateSchedule(WarmUp(10, Cosine(0.1, steps=100)))
    trainer.fit(
        x, t, sample_weight=t, validation=(x, t), metrics=["accuracy"], callbacks=[early, rate]
    )
    trainer.fit([(x, t)], validation=(x, t, t), metrics={"own": lambda t, y: 0.0})
    assert_type(early.best_epoch, int | None)
    trainer.optimizer.lr = StepDecay(0.1, every=10)
    groups = [{"params": [model.params[1]], "weight_decay": 0.0}]
    print(SGD(Cosine(0.1, 100), weight_decay=0.1, groups=groups).groups[0].weight_decay)
    history = trainer.fit(x, t, max_epoch=3, on_epoch=look, progress="none")
    assert_type(history.loss, list[float])
    assert_type(history.metrics["accuracy"], list[float])
    trainer.plot(path="loss.png")
    return history


def takes_any_trainer(trainer: Trainer) -> int:
    """The bare name is that of a trainer with whatever optimizer."""
    return len(trainer.history.epoch_loss)


def a_loop_of_ones_own(x: Array, t: Array) -> float:
    model = a_chain_of_affines([2, 10, 3])
    step = Step(model, SGD(lr=1.0), max_grad=5.0)
    total = 0.0
    for first in range(0, len(x), 30):
        total += step(x[first : first + 30], t[first : first + 30]) * step.count
    return total + takes_any_trainer(Trainer(model, SGD()))


def going_on(model: TwoLayerNet, x: Array, t: Array) -> Trainer[Adam]:
    trainer = Trainer.resume("run.safetensors", model, Adam())
    assert_type(trainer, Trainer[Adam])
    trainer.fit(x, t, callbacks=[ModelCheckpoint("run.safetensors", every=100)])
    trainer.save_checkpoint("end.safetensors")
    return trainer


@nnext.register_layer("Doubled")
class Doubled(Layer):
    """A layer that files know."""

    param_names = ("W",)

    def config(self) -> dict[str, Any]:
        return {"factor": 2}


def files(model: Sequential) -> None:
    model.save("model.safetensors")
    print(nnext.load_model("model.safetensors"))
    state = model.state_dict()
    assert_type(state, dict[str, Array])
    print(model.load_state_dict(state, strict=False).missing, Affine(*state.values()).config())
    assert_type(Doubled(np.ones(3)), Doubled)
    nnext.register_layer("Tripled", Doubled, build=lambda W, factor: Doubled(W))
    from_torch(to_torch(model), model)


def storing_a_run(model: BaseModel, optimizer: AdamW) -> AdamW:
    model.save_params("model.npz")
    model.load_params("model.npz")
    again = AdamW()
    again.load_state_dict(optimizer.state_dict())
    assert_type(optimizer.state_dict(), dict[str, Any])
    return again


def predictions(model: BaseModel, x: list[list[float]], t: list[int]) -> float:
    assert_type(model.predict(x), Array)
    assert_type(model.predict_proba(x), Array)
    assert_type(model(x), Array)
    print(model.summary(), model.loss(x, t))
    return model.accuracy(x, t)


def configuration() -> str:
    assert_type(nnext.show_config("dicts"), dict[str, Any])
    nnext.show_config()
    nnext.set_num_threads(nnext.get_num_threads())
    return f"{nnext.show_config('dicts')['isa']} {nnext.__version__}"


class Scale:
    """A layer of one's own on the contract of params and grads."""

    def __init__(self, a: Array) -> None:
        self.params = [a]
        self.grads = [np.zeros_like(a)]

    def forward(self, x: Array) -> Array:
        self.x = x
        return x * self.params[0]

    def backward(self, dout: Array) -> Array:
        self.grads[0][...] = (dout * self.x).sum(axis=0)
        return dout * self.params[0]


class Halves(nnext.layers.Layer):
    """A layer of one's own that derives from nnext's."""

    def forward(self, x: Array) -> Array:
        return x / 2

    def backward(self, dout: Array) -> Array:
        return dout / 2


class OwnError:
    """A loss of one's own."""

    def __init__(self) -> None:
        self.params: list[Array] = []
        self.grads: list[Array] = []

    def forward(self, x: Array, t: Array) -> float:
        self.difference = x - t
        return float((self.difference**2).mean())

    def backward(self, dout: float = 1) -> Array:
        return 2 * dout / self.difference.size * self.difference


class PlainDescent:
    """An optimizer of one's own."""

    def update(self, params: list[Array], grads: list[Array]) -> None:
        for p, g in zip(params, grads, strict=True):
            p -= 0.1 * g


def parts_of_ones_own(x: Array, t: Array) -> PlainDescent:
    layers: list[LayerLike] = [affine(2, 3), Scale(np.ones(3))]
    model = Sequential([*layers, Halves(), affine(3, 1)], loss=OwnError())
    print(nnext.check_gradients(model, x, t).ok)
    model.backward()
    trainer = Trainer(model, PlainDescent())
    trainer.fit(x, t)
    return trainer.optimizer


def vectors_of_words(text: str, sampled: bool) -> Array:
    corpus, word_to_id, id_to_word = preprocess(text)
    size = len(word_to_id)
    contexts, target = create_contexts_target(corpus, window_size=2)
    model: SimpleCBOW | CBOW | SkipGram = SimpleCBOW(size, 5)
    if sampled:
        model = SkipGram(size, 5, 2, corpus, rng=np.random.default_rng(0))
        assert_type(model.ns_loss, NegativeSamplingLoss)
        model = CBOW(size, 5, 2, counts=np.bincount(corpus))
    else:
        contexts, target = convert_one_hot(contexts, size), convert_one_hot(target, size)
    assert_type(Trainer(model, Adam()).fit(contexts, target), History)
    assert_type(model.forward(contexts, target), float)
    most_similar("you", word_to_id, id_to_word, model.word_vecs)
    U, _, _ = truncated_svd(ppmi(create_co_matrix(corpus, size, 2)), 5)
    assert_type(U, Array)
    return model.word_vecs


def a_loss_of_some_words(W: Array, corpus: Array, h: Array) -> Array:
    loss = NegativeSamplingLoss(W, corpus, sample_size=3, seed=0)
    assert_type(loss.forward(h, corpus[: len(h)]), float)
    assert_type(EmbeddingDot(W).forward(h, corpus[: len(h)]), Array)
    assert_type(UnigramSampler(corpus).get_negative_sample(corpus), Array)
    return loss.backward()
