"""Which words are alike: the text printed, against loops over the formulas."""

import numpy as np
import pytest
from ml_dtypes import bfloat16

import reference as ref
from nnext import util


def cosine(x, y, eps=1e-8):
    """The formula in the vectors' own type, float32 for half types, one pair of vectors."""
    x, y = (v.astype("f4") if v.dtype.itemsize < 4 else v for v in (x, y))
    return np.dot(x / (np.sqrt((x**2).sum()) + eps), y / (np.sqrt((y**2).sum()) + eps))


def named(n):
    words = [f"word{i}" for i in range(n)]
    return {word: i for i, word in enumerate(words)}, dict(enumerate(words))


def lines_of_most_similar(query, vectors, top):
    """What the book's loop prints, computed word by word."""
    similar = np.array([cosine(v, vectors[query]) for v in vectors], np.float64)
    order = [i for i in (-1 * similar).argsort() if i != query][:top]
    return ["", f"[query] word{query}", *(f" word{i}: {similar[i]!s}" for i in order)]


@pytest.mark.parametrize("dtype", [*ref.FLOATS, np.int32])
def test_cosines(dtype):
    x, y = (ref.normal(np.float64, 7, seed=s) * 5 for s in (0, 1))
    x, y = x.astype(dtype), y.astype(dtype)
    value = util.cos_similarity(x, y)
    assert value == cosine(x, y)
    assert np.asarray(value).dtype == (np.float64 if dtype == np.int32 else dtype)
    assert util.cos_similarity([3.0, 4.0], [0.0, 0.0]) == 0
    assert util.cos_similarity([3.0], [-2.0], eps=0) == -1
    assert util.cos_similarity([3.0], [1.0], eps=1.0) == 0.75 * 0.5


def test_cosines_are_of_two_vectors():
    for x, y in [(np.ones(2), np.ones(3)), (np.ones((2, 2)), np.ones((2, 2)))]:
        with pytest.raises(ValueError, match="expected two vectors of one length"):
            util.cos_similarity(x, y)
    with pytest.raises(TypeError, match="y: cannot compute"):
        util.cos_similarity([1.0], ["a"])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.int32, np.float16, *ref.FLOATS])
@pytest.mark.parametrize("shape", [(7, 7), (40, 33), (300, 3), (200, 100)])
def test_the_most_similar_words_are_those_of_the_formula_to_the_digit(shape, dtype, order, capsys):
    r = np.random.default_rng(0)
    whole = dtype == np.int32  # small whole numbers: many cosines are equal
    vectors = r.integers(0, 3, shape) if whole else r.standard_normal(shape)
    vectors = np.asarray(vectors, dtype, order=order)
    for query in range(5):
        assert util.most_similar(f"word{query}", *named(shape[0]), vectors, top=6) is None
        expected = lines_of_most_similar(query, vectors, 6)
        assert capsys.readouterr().out.splitlines() == expected


def test_a_few_words_are_all_printed(capsys):
    util.most_similar("word1", *named(3), np.eye(3), top=10)
    assert len(capsys.readouterr().out.splitlines()) == 4
    util.most_similar("word0", *named(1), np.eye(1))
    assert capsys.readouterr().out == "\n[query] word0\n"


def test_rows_beyond_the_words_are_passed_over(capsys):
    util.most_similar("word1", *named(2), np.eye(3))
    assert capsys.readouterr().out == "\n[query] word1\n word0: 0.0\n"


USES = {
    "most_similar": lambda *rest: util.most_similar("b", *rest),
    "analogy": lambda *rest: util.analogy("a", "b", "c", *rest),
}


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8])
@pytest.mark.parametrize("use", USES)
def test_ids_may_have_gaps_and_any_order(use, kind, capsys):
    matrix = np.random.default_rng(0).standard_normal((12, 4))
    ids = {"a": 11, "b": 0, "c": 7, "d": 4, "e": 9}
    USES[use]({w: kind(i) for w, i in ids.items()}, {kind(i): w for w, i in ids.items()}, matrix)
    with_gaps = capsys.readouterr().out
    dense = {word: i for i, word in enumerate(sorted(ids, key=ids.get))}
    rows = matrix[sorted(ids.values())]
    USES[use](dense, {i: word for word, i in dense.items()}, rows)
    assert capsys.readouterr().out == with_gaps
    USES[use](dense, sorted(ids, key=ids.get), rows)
    assert capsys.readouterr().out == with_gaps
    assert len(with_gaps.splitlines()) == (6 if use == "most_similar" else 4)


NAMES = {"a": 0, "b": 1, "c": 2}
WRONG_NAMES = {
    "an id beyond the rows": (
        NAMES,
        {0: "a", 1: "b", 2: "c", 9: "d"},
        ValueError,
        "largest .* is 9",
    ),
    "another word": (NAMES, {0: "a", 1: "x", 2: "c"}, ValueError, "'b' has the id 1, .* has 'x'"),
    "no word": (NAMES, {0: "a", 2: "c"}, ValueError, "'b' has the id 1, .* has nothing"),
    "from the end": ({**NAMES, "b": -2}, [*"abc"], ValueError, "'b' has the id -2, .* nothing"),
    "below 0": (NAMES, {0: "a", 1: "b", 2: "c", -1: "d"}, IndexError, "expected ids at least 0"),
    "a float": ({**NAMES, "b": 1.0}, [*"abc"], TypeError, r"\['b'\]: expected a whole number"),
    "a key that is a float": (
        NAMES,
        {0.0: "a", 1.0: "b"},
        TypeError,
        "expected ids, whole numbers",
    ),
    "no words at all": (NAMES, {}, ValueError, "has the id ., .* nothing"),
}


@pytest.mark.parametrize("wrong", WRONG_NAMES)
@pytest.mark.parametrize("use", USES)
def test_ids_that_belong_to_no_row_are_refused(use, wrong, capsys):
    word_to_id, id_to_word, error, message = WRONG_NAMES[wrong]
    with pytest.raises(error, match=message):
        USES[use](word_to_id, id_to_word, np.eye(5))
    assert capsys.readouterr().out == ""


def test_masks_are_refused():
    masked = np.ma.masked_equal(np.eye(3), 1)
    for use in (
        lambda: util.cos_similarity(masked[0], masked[1]),
        lambda: util.most_similar("a", NAMES, [*"abc"], masked),
        lambda: util.ppmi(masked),
        lambda: util.truncated_svd(masked, 1),
    ):
        with pytest.raises(TypeError, match="masked"):
            use()


def test_words_that_are_not_there_are_said_to_be(capsys):
    util.most_similar("cat", *named(3), np.eye(3))
    assert capsys.readouterr().out == "cat is not found\n"
    for asked in (["cat", "word0", "word1"], ["word0", "word1", "cat"]):
        util.analogy(*asked, *named(3), np.eye(3))
        assert capsys.readouterr().out == "cat is not found\n"
    util.analogy("word0", "word1", "word2", *named(3), np.eye(3), answer="cat")
    assert capsys.readouterr().out == "cat is not found\n"


@pytest.mark.parametrize("dtype", [np.float16, *ref.FLOATS])
def test_analogies_are_those_of_the_formula_to_the_digit(dtype, capsys):
    vectors = ref.normal(dtype, 50, 20)
    vectors[7] = np.nan  # has no place in an order
    before = vectors.copy()
    util.analogy("word1", "word2", "word3", *named(50), vectors, top=4, answer="word9")
    direction = vectors[2] - vectors[1] + vectors[3]
    direction /= np.sqrt((direction * direction).sum())
    products = np.dot(vectors, direction)
    order = [i for i in (-1 * products).argsort() if i not in (1, 2, 3, 7)]
    expected = ["", "[analogy] word1:word2 = word3:?"]
    expected.append("==>word9:" + str(np.dot(vectors[9], direction)))
    expected += [" {}: {}".format(f"word{i}", products[i]) for i in order[:4]]
    assert capsys.readouterr().out.splitlines() == expected
    ref.assert_same_bits(vectors, before)


def test_analogies_of_whole_numbers(capsys):
    vectors = [[1, 0, 0], [1, 0, 4], [0, 3, 0], [0, 3, 4]]
    util.analogy("word0", "word1", "word2", *named(4), vectors)
    assert capsys.readouterr().out.splitlines()[2] == " word3: 5.0"


@pytest.mark.parametrize(
    "use",
    [
        lambda *rest: util.most_similar("word0", *named(3), *rest),
        lambda *rest: util.analogy("word0", "word1", "word2", *named(3), *rest),
    ],
    ids=["most_similar", "analogy"],
)
def test_vectors_have_to_fit_the_words(use, capsys):
    message = r"word_matrix: expected a row for each of 3 words, .* is 2, got shape \(2, 3\)"
    with pytest.raises(ValueError, match=message):
        use(np.ones((2, 3)), 5)
    with pytest.raises(ValueError, match="word_matrix"):
        use(np.ones(3), 5)
    with pytest.raises(TypeError, match="word_matrix: cannot compute with type complex128"):
        use(np.ones((3, 3), complex), 5)
    for top in (0, -1, 2.5):
        with pytest.raises(ValueError, match="top: expected a whole number"):
            use(np.eye(3), top)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_rows_get_length_1_in_place(dtype):
    x = ref.normal(dtype, 5, 30)
    expected = x / np.sqrt((x * x).sum(1)).reshape(5, 1)
    assert util.normalize(x) is x
    ref.assert_same_bits(x, expected)
    y = ref.normal(dtype, 30)
    expected = y / np.sqrt((y * y).sum())
    util.normalize(y)
    ref.assert_same_bits(y, expected)


def test_what_has_no_direction_becomes_nan():
    x = np.array([[0.0, 0.0], [0.0, 2.0]])
    util.normalize(x)
    np.testing.assert_array_equal(x, [[np.nan, np.nan], [0, 1]])


def test_what_cannot_be_normalized_is_refused():
    with pytest.raises(TypeError, match="x: expected a NumPy array of floats, got one of int64"):
        util.normalize(np.ones(3, np.int64))
    with pytest.raises(TypeError, match="x: expected a NumPy array of floats, got list"):
        util.normalize([1.0])
    with pytest.raises(ValueError, match="x: expected a vector or a matrix"):
        util.normalize(np.ones((2, 2, 2)))
    x = np.ones(3)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        util.normalize(x)


def test_squares_of_whole_numbers_fit():
    assert util.cos_similarity(np.int8([100, 0]), np.int8([100, 0])) == pytest.approx(1)
    assert util.cos_similarity(np.uint8([16, 1]), np.uint8([16, 0])) == pytest.approx(16 / 257**0.5)
    assert util.cos_similarity(np.int32([50000, 1]), np.int32([50000, 1])) == pytest.approx(1)


@pytest.mark.parametrize("dtype", [np.float16, bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    long, short = np.array([300, 400], dtype), np.full(100, 1e-4, dtype)
    for v in (long, short):
        np.testing.assert_allclose(util.cos_similarity(v, v), 1, rtol=1e-3)
    unit = util.normalize(long.copy())
    assert unit.dtype == dtype
    np.testing.assert_allclose(unit.astype(float), [0.6, 0.8], rtol=4e-3)
