"""A language model with an LSTM: it reads a text on and on, and then writes some of its own.

    python examples/language_model.py [TEXT] [--chars] [--epochs 20] ...

What comes next is predicted from all that was read so far, by words or by characters ("Deep
Learning from Scratch 2", chapters 5 to 7). Without a text of yours one is made up, of sentences
whose verb agrees with a noun far before it: there is no doing better than the perplexity that is
printed for it. For a large text with many rare words see word_model.py.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np

import nnext
from nnext import Adam
from nnext.models import Rnnlm
from nnext.trainer import RnnlmTrainer
from nnext.util import eval_perplexity

NOUNS = (("dog", "dogs"), ("cat", "cats"), ("child", "children"), ("bird", "birds"))
VERBS = (("sees", "see"), ("follows", "follow"), ("hears", "hear"))
ENDS = (("sleeps", "sleep"), ("sings", "sing"), ("runs", "run"))
ADJECTIVES = ("small", "old", "happy")


def made_up(sentences, rng):
    """Return a text, and the perplexity of one who knows how it is made."""
    words, surprise = [], 0.0

    def pick(choices):
        nonlocal surprise
        surprise += np.log(len(choices))
        return choices[rng.integers(len(choices))]

    def noun():
        number = pick((0, 1))
        words.append("the")
        if pick((True, False)):
            words.append(pick(ADJECTIVES))
        words.append(pick(NOUNS)[number])
        return number

    for _ in range(sentences):
        number = noun()
        if pick((True, False)):
            words.append("that")
            words.append(pick(VERBS)[number])
            noun()
        words.extend((pick(ENDS)[number], "."))
    return " ".join(words), np.exp(surprise / len(words))


def main(arguments=None):
    """Train, measure the perplexity of the last tenth of the text, write some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, nargs="?", help="a plain text file, UTF-8")
    parser.add_argument("--chars", action="store_true", help="read characters, not words")
    for name, default, what in [
        ("epochs", 20, "times through the text"),
        ("hidden", 64, "numbers in a state, and in the vector of a word"),
        ("batch", 20, "parts of the text that are read side by side"),
        ("steps", 35, "words of each part in a batch"),
        ("generate", 60, "how many words to write in the end"),
        ("seed", 0, "of the weights, the made-up text and the written one"),
    ]:
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=what)
    parser.add_argument("--lr", type=float, default=0.005, help="learning rate")
    options = parser.parse_args(arguments)

    if options.text is None:
        text, limit = made_up(4000, np.random.default_rng(options.seed))
        print(f"a made-up text; who knows how it is made has perplexity {limit:.2f} a word")
    else:
        try:
            text = options.text.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            sys.exit(f"language_model: cannot read {options.text}: {error.strerror}")
    tokens = list(text) if options.chars else re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", text.lower())
    vocabulary = sorted(set(tokens))
    number = {token: i for i, token in enumerate(vocabulary)}
    corpus = np.array([number[token] for token in tokens])
    size = options.batch * options.steps + 1
    train, held_out = corpus[: len(corpus) * 9 // 10], corpus[len(corpus) * 9 // 10 :]
    if len(train) < size or len(held_out) < 2:
        sys.exit(f"language_model: the text is too short: {len(corpus)} for batches of {size}")
    what = "characters" if options.chars else "words"
    print(f"{len(corpus):,} {what}, {len(vocabulary):,} different ones")

    np.random.seed(options.seed)
    model = Rnnlm(len(vocabulary), options.hidden, options.hidden)
    trainer = RnnlmTrainer(model, Adam(lr=options.lr))
    interval = max(1, len(train) // size // 2)
    trainer.fit(
        *(train[:-1], train[1:], options.epochs, options.batch, options.steps),
        max_grad=1.0,
        eval_interval=interval,
    )
    model.reset_state()
    steps = min(1000, len(held_out) - 1)
    print(f"perplexity of what was held out: {eval_perplexity(model, held_out, 1, steps):.2f}")

    model.reset_state()
    start = number["." if "." in number and not options.chars else tokens[0]]
    written = model.generate(start, sample_size=options.generate + 1, seed=options.seed)[1:]
    joined = ("" if options.chars else " ").join(vocabulary[i] for i in written)
    print(joined if options.chars else re.sub(r" ([,.;:!?)\]])", r"\1", joined))


if __name__ == "__main__":
    print(f"nnext {nnext.__version__}")
    main()
