"""A model of words: which word comes next in a text of yours, and new text of its kind.

    python examples/word_model.py TEXT [--epochs 4] [--words 4] [--hidden 128] ...

The last few words are looked up in an embedding, joined, and passed through a hidden layer; from
there `AffineSoftmaxWithLoss` goes to the loss over the whole vocabulary without ever holding all
scores (Bengio et al., 2003; "Deep Learning from Scratch 2", chapters 4 to 6). Words that are rare
become one unknown word, which is never a label: its rows are ignored.

With matplotlib the loss is drawn to word_model.png (``pip install ".[plot]"``).
"""

import argparse
import collections
import re
import sys
from pathlib import Path

import numpy as np

import nnext
from nnext import Adam, AffineSoftmaxWithLoss, Embedding, Sequential, Tanh, Trainer
from nnext.models import affine

UNKNOWN = 0  # the number of the unknown word
BATCH = 1024  # words of validation at a time


class Join:
    """The vectors of the last words as one: (N, words, D) becomes (N, words * D)."""

    def __init__(self):
        self.params, self.grads = [], []
        self.shape = None

    def forward(self, x):
        """Join the vectors of each row."""
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dout):
        """Part the gradient again."""
        return dout.reshape(self.shape)


def split_words(text):
    """Split into words, punctuation and ends of lines, in lower case."""
    return re.findall(r"\w+(?:['’]\w+)*|[^\w\s]|\n", text.lower())


def join_words(words):
    """Make text again: no space before most punctuation, nor at the ends of a line."""
    text = re.sub(r" ([,.;:!?)\]])", r"\1", " ".join(words))
    return re.sub(r" *\n *", "\n", text).strip()


def read_words(path, min_count):
    """Read the text as numbers, and the words by number, the most frequent first."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        sys.exit(f"word_model: cannot read {path}: {error.strerror}")
    words = split_words(text)
    counts = collections.Counter(words)
    vocabulary = ["<unknown>", *(w for w, n in counts.most_common() if n >= min_count)]
    number = {word: i for i, word in enumerate(vocabulary)}
    return np.array([number.get(word, UNKNOWN) for word in words], np.int64), vocabulary


def windows(numbers, words):
    """Cut every run of so many words, and the word after it."""
    x = np.lib.stride_tricks.sliding_window_view(numbers, words)[:-1]
    return x, numbers[words:]


def make_model(vocabulary, options):
    """Build the network; all weights are drawn from the seed."""
    rng = np.random.RandomState(options.seed)
    v = len(vocabulary)

    def drawn(rows, cols, scale):
        return (scale * rng.standard_normal((rows, cols))).astype(np.float32)

    return Sequential(
        [
            Embedding(drawn(v, options.dim, 0.1)),
            Join(),
            affine(options.words * options.dim, options.hidden, rng),
            Tanh(),
        ],
        loss=AffineSoftmaxWithLoss(
            drawn(options.hidden, v, 0.02), np.zeros(v, np.float32), ignore_label=UNKNOWN
        ),
    )


def hidden_state(model, x):
    """Compute what the loss layer is given."""
    for layer in model.layers:
        x = layer.forward(x)
    return x


def write_text(model, vocabulary, start, options):
    """Let the model go on from some words, each drawn from the 40 best by their probabilities."""
    rng = np.random.default_rng(options.seed)
    context = list(start)
    for _ in range(options.generate):
        state = hidden_state(model, np.array([context[-options.words :]]))
        classes, log_prob = model.loss_layer.top_k(state, min(40, len(vocabulary)))
        p = np.where(classes[0] == UNKNOWN, 0.0, np.exp(log_prob[0].astype(np.float64)))
        context.append(int(rng.choice(classes[0], p=p / p.sum())))
    return join_words(vocabulary[i] for i in context[len(start) :])


def memory_line(rows, classes):
    """Say what was used at most, and what whole scores would have taken."""
    whole = (
        f"{rows:,} x {classes:,} scores and their probabilities: {8e-6 * rows * classes:,.0f} MB"
    )
    line = f"a batch of validation in two layers would hold {whole}"
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        line = f"peak memory of this program: {peak:,.0f} MB; {line}"
    return line


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="a plain text file, UTF-8")
    for name, default, what in [
        ("epochs", 4, "times through the text"),
        ("words", 4, "how many words the next one is predicted from"),
        ("dim", 64, "numbers in the vector of a word"),
        ("hidden", 128, "units of the hidden layer"),
        ("batch", 256, "words in a batch"),
        ("min-count", 2, "how often a word must occur to be known"),
        ("generate", 120, "how many words to write in the end"),
        ("seed", 0, "of the weights, the order and the written text"),
    ]:
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=what)
    parser.add_argument("--lr", type=float, default=0.001, help="learning rate")
    parser.add_argument("--out", type=Path, default=Path("word_model.png"), help="the picture")
    options = parser.parse_args(arguments)
    for name in ("epochs", "words", "dim", "hidden", "batch", "min_count"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if options.generate < 0:
        parser.error("--generate must not be negative")
    if not 0 <= options.seed < 2**32:
        parser.error("--seed must be from 0 to 4294967295")
    if not 0 < options.lr < float("inf"):
        parser.error("--lr must be a positive number")
    if options.out.suffix not in (".png", ".pdf", ".svg"):
        parser.error(f"--out: expected the name of a .png, .pdf or .svg file, got {options.out}")
    if not options.out.parent.is_dir():
        parser.error(f"--out: there is no folder {options.out.parent}")
    return options


def main(arguments=None):
    """Train, look at words held out after each epoch, draw the loss, write some text."""
    options = parse(arguments)
    numbers, vocabulary = read_words(options.text, options.min_count)
    x, t = windows(numbers, options.words) if len(numbers) > options.words else ([], [])
    if len(t) < 100:
        sys.exit(f"word_model: {options.text} is too short: {len(numbers)} words")
    held_out = max(len(t) // 10, 1)
    x_val, t_val = x[-held_out:], t[-held_out:]
    x, t = x[:-held_out], t[:-held_out]
    for part, labels in [("", t), (" in the last tenth of the text", t_val)]:
        if not (labels != UNKNOWN).any():
            sys.exit(
                f"word_model: no word{part} occurs {options.min_count} times: "
                "a smaller --min-count?"
            )
    print(f"{len(numbers):,} words, {len(vocabulary):,} different ones known")
    model = make_model(vocabulary, options)
    print(model.summary())

    def perplexity(_):
        # In batches, and the scores of a batch are never whole.
        return {"perplexity of words held out": float(np.exp(model.loss(x_val, t_val, BATCH)))}

    trainer = Trainer(model, Adam(lr=options.lr), seed=options.seed)
    history = trainer.fit(
        x, t, options.epochs, options.batch, max_grad=5.0, eval_interval=200, on_epoch=perplexity
    )
    print(f"loss {history.epoch_loss[0]:.3f} -> {history.epoch_loss[-1]:.3f} a word")
    print(memory_line(min(len(t_val), BATCH), len(vocabulary)))
    try:
        trainer.plot(path=options.out)
        print(f"{options.out} shows the loss")
    except ImportError as error:
        print(f"No picture: {error}")
    if options.generate > 0:
        print(f"\n{write_text(model, vocabulary, x_val[0], options)}")


if __name__ == "__main__":
    print(f"nnext {nnext.__version__}")
    main()
