"""Vectors of words: which words stand in the same places, learnt from a text of yours.

    python examples/word_vectors.py [TEXT] [--near king,france] [--epochs 3] ...

CBOW with negative sampling (Mikolov et al., 2013; "Deep Learning from Scratch 2", chapter 4): the
words around a place say which word is there, against a few drawn ones. Words that are alike in
that get like vectors. Without a text one is made up, in which words of five kinds take each other's
places; then it is counted how often the nearest word is one of the same kind.
"""

import argparse
import collections
import re
import sys
from pathlib import Path

import numpy as np

import nnext
from nnext import Adam, Trainer
from nnext.models import CBOW
from nnext.util import create_contexts_target, normalize

KINDS = {
    "animal": ("dog", "cat", "horse", "cow", "sheep", "goat", "mouse", "fox"),
    "fruit": ("apple", "pear", "plum", "cherry", "peach", "fig", "lemon", "grape"),
    "colour": ("red", "green", "blue", "yellow", "white", "black", "brown", "grey"),
    "place": ("garden", "house", "field", "forest", "village", "river", "hill", "barn"),
    "person": ("farmer", "child", "neighbour", "hunter", "painter", "baker", "miller", "aunt"),
}
MADE_UP = ("dog", "plum", "blue", "hill", "baker")  # whose nearest words are shown
SENTENCES = (
    "the animal eats a fruit in the place",
    "a person paints the place colour",
    "the colour animal runs to the place",
    "the person gives the animal a colour fruit",
    "every person has a animal and a place",
)


def made_up(sentences, rng):
    """Return a text in which the names of kinds are replaced by words of the kind."""
    words = []
    for _ in range(sentences):
        for word in SENTENCES[rng.integers(len(SENTENCES))].split():
            words.append(KINDS[word][rng.integers(8)] if word in KINDS else word)
    return " ".join(words)


def share_of_kinds(vectors, number):
    """Return how often the word nearest to one of a kind is of that kind."""
    kind = {number[word]: name for name, words in KINDS.items() for word in words}
    ids = np.array(list(kind))
    likeness = vectors[ids] @ vectors.T
    likeness[np.arange(len(ids)), ids] = -np.inf
    nearest = likeness.argmax(axis=1)
    return np.mean([kind[i] == kind.get(int(j)) for i, j in zip(ids, nearest, strict=True)])


def main(arguments=None):
    """Learn the vectors, and print the words nearest to some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, nargs="?", help="a plain text file, UTF-8")
    parser.add_argument("--near", help="words to look around, with commas between them")
    for name, default, what in [
        ("epochs", 3, "times through the text"),
        ("dim", 50, "numbers in a vector"),
        ("window", 3, "words on each side of a place"),
        ("batch", 100, "places in a batch"),
        ("min-count", 5, "how often a word must occur, or it is left out"),
        ("top", 5, "how many near words to print"),
        ("seed", 0, "of the vectors, the order, the drawn words and the made-up text"),
    ]:
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=what)
    parser.add_argument("--lr", type=float, default=0.005, help="learning rate")
    options = parser.parse_args(arguments)

    if options.text is None:
        text = made_up(8000, np.random.default_rng(options.seed))
    else:
        try:
            text = options.text.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            sys.exit(f"word_vectors: cannot read {options.text}: {error.strerror}")
    words = re.findall(r"\w+(?:['’]\w+)*", text.lower())
    counts = collections.Counter(words).most_common()
    vocabulary = [word for word, count in counts if count >= options.min_count]
    number = {word: i for i, word in enumerate(vocabulary)}
    corpus = np.array([number[word] for word in words if word in number], np.int64)
    if len(vocabulary) < 6 or len(corpus) < 2 * options.window + options.batch:
        sys.exit(f"word_vectors: {len(corpus)} words, {len(vocabulary)} known: a longer text?")
    print(f"{len(corpus):,} words, {len(vocabulary):,} different ones")
    usual = vocabulary[len(vocabulary) // 20 :][:5] if options.text else MADE_UP
    near = options.near.split(",") if options.near else usual
    unknown = [word for word in near if word not in number]
    if unknown:
        sys.exit(f"word_vectors: not in the text often enough: {', '.join(unknown)}")

    contexts, target = create_contexts_target(corpus, options.window)
    rng = np.random.RandomState(options.seed)
    model = CBOW(len(vocabulary), options.dim, options.window, corpus, rng=rng)
    trainer = Trainer(model, Adam(lr=options.lr), seed=options.seed)
    trainer.fit(contexts, target, options.epochs, options.batch, eval_interval=200)

    vectors = normalize(model.word_vecs.copy())
    for word in near:
        likeness = vectors @ vectors[number[word]]
        found = [i for i in np.argsort(-likeness) if i != number[word]][: options.top]
        print(f"{word}: {', '.join(f'{vocabulary[i]} {likeness[i]:.2f}' for i in found)}")
    if options.text is None:
        print(f"the nearest word is of the same kind: {share_of_kinds(vectors, number):.1%}")


if __name__ == "__main__":
    print(f"nnext {nnext.__version__}")
    main()
