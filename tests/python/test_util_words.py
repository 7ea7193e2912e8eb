"""Corpora, contexts, counts and their decomposition, against loops over the formulas."""

import builtins
import math
import sys

import numpy as np
import pytest
from ml_dtypes import bfloat16

import reference as ref
from nnext import util

TEXT = "You say goodbye and I say hello."


def zipf(n, vocab_size, seed=0):
    """Draw a text whose words are about as frequent as those of a language."""
    p = 1 / np.arange(1, vocab_size + 1)
    return np.random.default_rng(seed).choice(vocab_size, n, p=p / p.sum())


def counted(corpus, vocab_size, window):
    counts = np.zeros((vocab_size, vocab_size), int)
    for i in range(len(corpus)):
        for j in range(max(0, i - window), min(len(corpus), i + window + 1)):
            if i != j:
                counts[corpus[i], corpus[j]] += 1
    return counts


def information(C, eps=1e-8):
    """PPMI, one pair of words after the other, in whole numbers up to the quotient."""
    n, columns = int(C.sum()), [int(s) for s in C.sum(axis=0)]
    result = np.zeros(C.shape, np.float32)
    for i, j in np.ndindex(C.shape):
        if C[i, j]:
            share = int(C[i, j]) * n / (columns[j] * columns[i])
            result[i, j] = max(0, np.log2(share + eps))
    return result


def test_a_text_becomes_numbers_in_the_order_of_its_words():
    corpus, word_to_id, id_to_word = util.preprocess(TEXT)
    assert corpus.tolist() == [0, 1, 2, 3, 4, 1, 5, 6]
    assert corpus.dtype == np.int64
    assert list(word_to_id) == ["you", "say", "goodbye", "and", "i", "hello", "."]
    assert id_to_word == {i: word for word, i in word_to_id.items()}


def test_words_stand_between_single_spaces():
    corpus, word_to_id, _ = util.preprocess("A.  b a")
    assert list(word_to_id) == ["a", ".", "", "b"]
    assert corpus.tolist() == [0, 1, 2, 3, 0]


def test_what_is_no_text_is_refused():
    with pytest.raises(ValueError, match="text: expected words, got an empty text"):
        util.preprocess("")
    with pytest.raises(TypeError, match="text: expected a str, got bytes"):
        util.preprocess(b"you say")


@pytest.mark.parametrize("kind", [*ref.INTEGERS, list])
def test_one_hot_rows(kind):
    corpus = np.array([[2, 0], [1, 2], [0, 0]])
    ids = corpus.tolist() if kind is list else corpus.astype(kind)
    rows = util.convert_one_hot(ids, 4)
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(rows, np.eye(4, dtype=int)[corpus])
    np.testing.assert_array_equal(util.convert_one_hot(ids[1], 3), np.eye(3)[corpus[1]])
    assert util.convert_one_hot([], 3).shape == (0, 3)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8])
@pytest.mark.parametrize(("n", "window"), [(3, 1), (8, 1), (8, 2), (8, 3), (101, 5)])
def test_contexts_are_the_windows_without_their_middle(n, window, kind):
    corpus = zipf(n, 50).astype(kind)
    contexts, target = util.create_contexts_target(corpus, window)
    places = range(window, n - window)
    np.testing.assert_array_equal(target, [corpus[i] for i in places])
    expected = [[*corpus[i - window : i], *corpus[i + 1 : i + window + 1]] for i in places]
    np.testing.assert_array_equal(contexts, expected)
    assert contexts.dtype == target.dtype == kind
    contexts[...], target[...] = 0, 0  # they are arrays of their own
    np.testing.assert_array_equal(corpus, zipf(n, 50).astype(kind))


def test_a_window_has_to_fit_the_text():
    message = r"window_size: expected a window, 5 words, within the 4 words of corpus, got 2"
    with pytest.raises(ValueError, match=message):
        util.create_contexts_target([0, 1, 2, 3], 2)
    with pytest.raises(ValueError, match="window_size: expected at most the 4 words of corpus"):
        util.create_co_matrix([0, 1, 2, 3], 4, window_size=5)


@pytest.mark.parametrize(("n", "window"), [(1, 1), (2, 2), (8, 1), (8, 7), (300, 1), (300, 4)])
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_words_that_stand_near_each_other_are_counted(n, window, kind):
    corpus = zipf(n, 20).astype(kind)
    counts = util.create_co_matrix(corpus, 20, window)
    assert counts.dtype == np.int32
    np.testing.assert_array_equal(counts, counted(corpus, 20, window))
    np.testing.assert_array_equal(counts, counts.T)


@pytest.mark.parametrize(
    "use",
    [
        lambda ids: util.create_co_matrix(ids, 5),
        lambda ids: util.create_contexts_target(ids),
        lambda ids: util.convert_one_hot(ids, 5),
    ],
    ids=["counts", "contexts", "one-hot"],
)
def test_what_is_no_text_of_numbers_is_refused(use):
    with pytest.raises(IndexError, match=r"corpus: expected ids .*, corpus\[1\] is -1"):
        use([0, -1, 2, 3])
    with pytest.raises(TypeError, match="corpus: expected ids, whole numbers, got type float64"):
        use([0.0, 1.0, 2.0])
    with pytest.raises(TypeError, match="whole numbers, got type bool"):
        use([True, False, True])
    with pytest.raises(ValueError, match="corpus: expected ids of shape"):
        use(np.zeros((2, 3, 2), int))
    with pytest.raises(TypeError, match="masked"):
        use(np.ma.masked_equal([0, 1, 2], 1))


def test_ids_have_to_be_below_the_vocabulary():
    message = r"corpus: expected ids from 0 to 4, corpus\[2\] is 5"
    with pytest.raises(IndexError, match=message):
        util.create_co_matrix([0, 4, 5], 5)
    with pytest.raises(IndexError, match=r"corpus\[1, 0\] is 5"):
        util.convert_one_hot([[0, 4], [5, 1]], 5)
    for vocab_size in (0, -1, 2.5):
        with pytest.raises(ValueError, match="vocab_size: expected a whole number"):
            util.create_co_matrix([0], vocab_size)


def test_a_text_without_words_is_refused():
    for use in (lambda: util.create_co_matrix([], 5), lambda: util.create_contexts_target([])):
        with pytest.raises(ValueError, match="corpus: expected the ids of at least one word"):
            use()
    for window in (0, -1, 1.5):
        with pytest.raises(ValueError, match="window_size: expected a whole number"):
            util.create_co_matrix([0, 1], 2, window)


# PPMI


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint16, np.float32, np.float64])
def test_information_has_the_very_numbers_of_the_formula(kind):
    C = util.create_co_matrix(zipf(2000, 150), 151, 2)  # of which the last does not occur
    M = util.ppmi(C.astype(kind))
    assert M.dtype == np.float32
    ref.assert_same_bits(M, information(C))


def test_eps_is_added_before_the_logarithm():
    C = util.create_co_matrix(zipf(500, 30), 30, 1)
    for eps in (0, 1e-3, 1):
        ref.assert_same_bits(util.ppmi(C, eps=eps), information(C, eps))
    for eps in (-1e-8, 1.5, math.nan):
        with pytest.raises(ValueError, match="eps: expected a number from 0 to 1"):
            util.ppmi(C, eps=eps)


def test_products_of_counts_do_not_overflow():
    C = np.full((2, 2), 2**62, np.int64)
    C[0, 1] = C[1, 0] = 0
    np.testing.assert_array_equal(util.ppmi(C // 4), [[1, 0], [0, 1]])


def test_matrices_of_no_counts():
    assert util.ppmi(np.zeros((0, 0), int)).shape == (0, 0)
    np.testing.assert_array_equal(util.ppmi(np.zeros((3, 3), int)), np.zeros((3, 3)))


@pytest.mark.parametrize("size", [1, 3, 20, 250])
def test_progress_is_told_in_percents(size, capsys):
    C = np.ones((size, size), int)
    quiet = util.ppmi(C)
    assert capsys.readouterr().out == ""
    ref.assert_same_bits(util.ppmi(C, verbose=True), quiet)
    total = size * size
    step = total // 100 + 1
    expected = [f"{100 * n / total:.1f}% done" for n in range(step, total + 1, step)]
    assert capsys.readouterr().out.splitlines() == expected


def test_what_are_no_counts_is_refused():
    with pytest.raises(ValueError, match=r"C: expected a square matrix \(V, V\), got shape \(2, 3"):
        util.ppmi(np.ones((2, 3)))
    for bad in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="C: expected finite counts of at least 0"):
            util.ppmi([[0, bad], [1, 0]])
    with pytest.raises(TypeError, match="C: cannot compute with type complex128"):
        util.ppmi([[1j]])


# Truncated SVD


WITHOUT = {"scikit-learn": (), "SciPy": ("sklearn",), "NumPy": ("sklearn", "scipy")}


@pytest.fixture(params=WITHOUT)
def decomposer(request, monkeypatch):
    """Hide packages, so that the next one computes."""
    hidden = WITHOUT[request.param]
    if request.param == "SciPy":
        pytest.importorskip("scipy")
    if request.param == "scikit-learn":
        pytest.importorskip("sklearn")
    for name in list(sys.modules):
        if name.partition(".")[0] in hidden:
            monkeypatch.delitem(sys.modules, name)
    imported = builtins.__import__

    def refuse(name, *rest, **named):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return imported(name, *rest, **named)

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.partition(".")[0] in hidden:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    monkeypatch.setattr(builtins, "__import__", refuse)
    return request.param


def matrix_of_rank(rank, shape, dtype):
    """Make a matrix whose singular values are rank, rank - 1, ..., 1, and next to nothing after."""
    r = np.random.default_rng(0)
    U, _ = np.linalg.qr(r.standard_normal((shape[0], rank)))
    V, _ = np.linalg.qr(r.standard_normal((shape[1], rank)))
    return (U * np.arange(rank, 0, -1) @ V.T).astype(dtype)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("shape", [(40, 40), (50, 20), (15, 60)])
def test_the_largest_singular_values_and_their_vectors(shape, dtype, decomposer):
    M = matrix_of_rank(6, shape, dtype)
    U, S, V = util.truncated_svd(M, 4, seed=0)
    assert (U.shape, S.shape, V.shape) == ((shape[0], 4), (4,), (4, shape[1]))
    assert U.dtype == S.dtype == V.dtype == dtype
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(S, [6, 5, 4, 3], rtol=tolerance)
    np.testing.assert_allclose(U.T @ U, np.eye(4), atol=tolerance)
    exact, values, rows = np.linalg.svd(M.astype(np.float64), full_matrices=False)
    signs = np.sign(exact[abs(exact).argmax(axis=0), np.arange(len(values))])
    np.testing.assert_allclose(U, (exact * signs)[:, :4], atol=10 * tolerance)
    np.testing.assert_allclose(V, (rows * signs[:, None])[:4], atol=10 * tolerance)


def test_all_singular_values_may_be_asked_for(decomposer):
    M = matrix_of_rank(5, (5, 9), np.float64)
    U, S, V = util.truncated_svd(M, 5, rng=np.random.default_rng(0))
    np.testing.assert_allclose(U * S @ V, M, atol=1e-9)


def test_a_seed_governs_it(decomposer):
    M = np.random.default_rng(1).standard_normal((60, 50))
    draws = [util.truncated_svd(M, 5, seed=3)[0] for _ in range(2)]
    ref.assert_same_bits(*draws)
    rngs = [np.random.RandomState(3), np.random.default_rng(3)]
    for rng in rngs:
        assert util.truncated_svd(M, 5, rng=rng)[0].shape == (60, 5)


@pytest.mark.parametrize("dtype", [np.float16, bfloat16, np.int32])
def test_other_types_are_decomposed_too(dtype):
    M = np.diag([3, 1, 2]).astype(dtype)
    _, S, _ = util.truncated_svd(M, 2, seed=0)
    np.testing.assert_allclose(S, [3, 2], rtol=1e-5)


def test_what_cannot_be_decomposed_is_refused():
    M = np.eye(3)
    for k in (0, -1, 1.5):
        with pytest.raises(ValueError, match="k: expected a whole number"):
            util.truncated_svd(M, k)
    with pytest.raises(ValueError, match=r"k: expected at most 3, M is \(3, 3\), got 4"):
        util.truncated_svd(M, 4)
    with pytest.raises(ValueError, match="M: expected a matrix"):
        util.truncated_svd(np.ones(3), 1)
    with pytest.raises(ValueError, match="M: expected finite numbers"):
        util.truncated_svd(np.diag([1, np.nan]), 1)
    with pytest.raises(ValueError, match="expected rng or seed, got both"):
        util.truncated_svd(M, 1, seed=0, rng=np.random.default_rng(0))


# The rest


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_gradients_are_clipped_in_place_to_a_norm(dtype):
    grads = [ref.normal(dtype, 3, 4), ref.normal(dtype, 5, seed=1)]
    before = [g.astype(np.float64) for g in grads]
    norm = math.sqrt(sum((g**2).sum() for g in before))
    held = list(grads)
    assert util.clip_grads(iter(grads), 1.5) == pytest.approx(norm)
    for g, h, b in zip(grads, held, before, strict=True):
        assert g is h
        ref.assert_close(g, b * 1.5 / (norm + 1e-6), 4)
    now = [g.copy() for g in grads]
    util.clip_grads(grads, 100.0)
    for g, n in zip(grads, now, strict=True):
        ref.assert_same_bits(g, n)
    with pytest.raises(ValueError, match="max_norm: expected a positive number"):
        util.clip_grads(grads, 0)


def test_arrays_stay_in_the_memory_that_nnext_computes_in():
    x = np.arange(3)
    for move in (util.to_cpu, util.to_gpu):
        assert move(x) is x
        assert isinstance(move([1, 2]), np.ndarray)


def test_ppmi_of_large_counts():
    np.testing.assert_array_equal(
        util.ppmi(np.full((2, 2), 2**62)), np.full((2, 2), np.log2(1 + 1e-8), np.float32)
    )
