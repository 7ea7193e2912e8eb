"""From sequence to sequence: a network that learns to add, or to read dates, by characters.

    python examples/seq2seq.py [--task dates] [--model plain|peeky|attention] ...

An encoder reads a question into its states, a decoder writes the answer ("Deep Learning from
Scratch 2", chapters 7 and 8). Questions are read backwards, which brings their beginning nearer to
the answer's. Additions of three digits are learnt by a decoder that sees the encoder's last state
at every step, dates of many forms by one with attention: where it looked is drawn to attention.png,
with matplotlib (``pip install ".[plot]"``).
"""

import argparse
import datetime

import numpy as np

import nnext
from nnext import Adam, Trainer
from nnext.models import AttentionSeq2seq, PeekySeq2seq, Seq2seq
from nnext.schedules import Cosine

MODELS = {"plain": Seq2seq, "peeky": PeekySeq2seq, "attention": AttentionSeq2seq}
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def additions(count, rng):
    """Return so many different additions, and what they come to."""
    pairs = [divmod(int(pair), 1000) for pair in rng.choice(1_000_000, count, replace=False)]
    return [f"{a}+{b}" for a, b in pairs], [str(a + b) for a, b in pairs]


def dates(count, rng):
    """Return so many different dates as people write them, and as a machine does."""
    questions, answers = [], []
    for number in rng.choice(7 * 20_000, count, replace=False):
        day = datetime.date(1970, 1, 1) + datetime.timedelta(days=int(number) // 7)
        y, m, d = day.year, day.month, day.day
        name, weekday = MONTHS[m - 1], DAYS[day.weekday()]
        forms = (
            *(f"{name} {d}, {y}", f"{name[:3].upper()} {d}, {y}", f"{d} {name.title()} {y}"),
            *(f"{m}/{d}/{y % 100:02}", f"{m:02}/{d:02}/{y}", f"{d}.{m}.{y}"),
            f"{weekday}, {name} {d}, {y}",
        )
        questions.append(forms[number % 7])
        answers.append(f"{y}-{m:02}-{d:02}")
    return questions, answers


TASKS = {"additions": (additions, "peeky", 10), "dates": (dates, "attention", 3)}


def numbers(texts, chars, *, reverse=False):
    """Return texts as rows of the numbers of their characters, blanks behind the shorter ones."""
    width = max(map(len, texts))
    rows = np.array([[chars.index(c) for c in text.ljust(width)] for text in texts])
    return rows[:, ::-1] if reverse else rows


def draw(model, question, answer, chars, path):
    """Draw where the decoder looked at each character that it wrote."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print('No picture of the attention: pip install ".[plot]" brings matplotlib')
        return
    model.forward(question, answer)
    weights = np.stack(model.decoder.attention.attention_weights)[:, 0, ::-1]
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(weights, cmap="Greys", vmin=0, vmax=1)
    axes.set_xticks(range(weights.shape[1]), [chars[i] for i in question[0, ::-1]])
    axes.set_yticks(range(len(weights)), [chars[i] for i in answer[0, 1:]])
    axes.set(xlabel="read", ylabel="written")
    figure.savefig(path)
    print(f"{path} shows where it looked")


def main(arguments=None):
    """Train on made-up questions, and count the right answers to others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=TASKS, default="additions")
    parser.add_argument("--model", choices=MODELS, help="default: peeky; for dates attention")
    parser.add_argument("--epochs", type=int, help="default: 10; for dates 3")
    parser.add_argument("--samples", type=int, default=20_000, help="questions to learn from")
    parser.add_argument("--hidden", type=int, default=128, help="numbers in a state")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    make, kind, epochs = TASKS[options.task]
    kind, epochs = options.model or kind, options.epochs or epochs

    questions, answers = make(options.samples + 500, np.random.default_rng(options.seed))
    chars = ["_", *sorted({*"".join(questions), *"".join(answers), " "})]  # _ begins an answer
    x = numbers(questions, chars, reverse=True)
    t = numbers([f"_{answer}" for answer in answers], chars)
    x_test, t_test = x[-500:], t[-500:]

    def written(i):
        ids = model.generate(x_test[i : i + 1], 0, t.shape[1] - 1)
        return "".join(chars[j] for j in ids).strip()

    model = MODELS[kind](len(chars), 16, options.hidden, seed=options.seed)
    batch = 64
    schedule = Cosine(0.005, steps=epochs * (options.samples // batch))
    trainer = Trainer(model, Adam(lr=schedule), seed=options.seed)
    trainer.fit(x[:-500], t[:-500], epochs, batch, max_grad=5.0)
    right = [written(i) == answers[i - 500] for i in range(500)]
    for i in range(5):
        print(f"{questions[i - 500]} -> {written(i)} {'(right)' if right[i] else '(wrong)'}")
    print(f"right answers to questions it never saw: {np.mean(right):.1%}")
    if kind == "attention":
        draw(model, x_test[:1], t_test[:1], chars, "attention.png")


if __name__ == "__main__":
    print(f"nnext {nnext.__version__}")
    main()
