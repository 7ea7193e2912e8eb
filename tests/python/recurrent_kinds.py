"""The recurrent layers that tests go over, with weights for them."""

import numpy as np
import pytest

import recurrent_reference as spec
import reference as ref
from nnext._recurrent import TimeGRU, TimeLSTM, TimeRNN
from nnext._recurrent_steps import GRU, LSTM, RNN
from reference import normal

# name: layer of sequences, layer of one step, specification, columns of weights and of b in H
KINDS = {
    "rnn": (TimeRNN, RNN, spec.RNN, 1, 1),
    "lstm": (TimeLSTM, LSTM, spec.LSTM, 4, 4),
    "gru": (TimeGRU, GRU, spec.GRU, 3, 3),
    "gru without bias": (TimeGRU, GRU, spec.GRU, 3, 0),
    "gru, reset after": (TimeGRU, GRU, spec.GRUResetAfter, 3, 4),
}
over_kinds = pytest.mark.parametrize("kind", KINDS)
over_types = pytest.mark.parametrize("dtype", ref.FLOATS)


def weights_of(kind, D, H, dtype=np.float64):
    *_, gates, biases = KINDS[kind]
    weights = [
        normal(dtype, D, gates * H, seed=1) / np.sqrt(D + 1).astype(dtype),
        normal(dtype, H, gates * H, seed=2) / np.sqrt(H + 1).astype(dtype),
    ]
    return [*weights, normal(dtype, biases * H, seed=3)] if biases else weights


def options_of(kind):
    return {"reset_after": True} if kind.endswith("after") else {}


def layer_of(kind, D, H, dtype=np.float64, **options):
    return KINDS[kind][0](*weights_of(kind, D, H, dtype), **options_of(kind), **options)


def n_states(kind):
    return 2 if kind == "lstm" else 1


def states_of(layer):
    return [layer.h, layer.c] if isinstance(layer, TimeLSTM) else [layer.h]


def gradients_of_states(layer):
    return [layer.dh, layer.dc] if isinstance(layer, TimeLSTM) else [layer.dh]
