"""The command line, run as users run it."""

import gzip
import os
import re
import struct
import subprocess
import sys

import numpy as np
import pytest

import nnext
from nnext import __main__ as command_line
from nnext.datasets import spiral
from nnext.models import TwoLayerNet


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-P", "-m", "nnext", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        **options,
    )


def number(text, pattern):
    return float(re.search(pattern, text)[1].replace(",", ""))


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.fixture
def extras():
    for module in ("sklearn", "matplotlib"):
        pytest.importorskip(module)


def call(capsys, *arguments):
    """Run in this process, for errors: faster, and monkeypatch works."""
    try:
        code = command_line.main([*map(str, arguments)])
    except SystemExit as stop:  # argparse
        code = stop.code
    return code, capsys.readouterr()


def test_the_demo_learns_real_digits_and_draws_them(tmp_path, extras):
    done = run("demo", "--out", tmp_path / "new" / "folder")
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "1,347 to train on, 450 held out" in out
    assert re.search(r"total +float32 +7,510", out)
    assert number(out, r"train data: ([\d.]+)") >= 0.99
    assert number(out, r"test data: ([\d.]+)") >= 0.97
    assert number(out, r"([\d.]+) at the start") > 10 * number(out, r"([\d.]+) at the end")
    assert number(out, r"Speed: ([\d,]+) samples/s") > 0
    assert "P(9)" in out
    assert is_png(tmp_path / "new" / "folder" / "loss_curve.png")
    assert is_png(tmp_path / "new" / "folder" / "predictions.png")


def test_more_threads_than_processors_are_said_to_be_capped(tmp_path, extras):
    done = run("demo", "--epochs", 1, "--threads", 1024, "--out", tmp_path)
    assert f"threads: 1024, of which {nnext.show_config('dicts')['cpus']} are used)" in done.stdout


def test_every_option_of_a_short_run_takes_effect(tmp_path, extras):
    arguments = ["demo", "--hidden", 12, 8, "--epochs", 2, "--batch-size", 50]
    arguments += ["--optimizer", "momentum", "--lr", 0.05, "--threads", 1, "--seed", 3]
    done = run(*arguments, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(64, 12), (12,)" in done.stdout
    assert "(12, 8), (8,)" in done.stdout
    assert "2 epochs, momentum, learning rate 0.05, batches of 50" in done.stdout
    assert "threads: 1)" in done.stdout
    assert "| epoch   2 / 2 |" in done.stdout

    def losses(text):
        return re.findall(r"loss ([\d.]+)", text)

    assert losses(run(*arguments, "--out", tmp_path).stdout) == losses(done.stdout)
    arguments[-1] = 4
    assert losses(run(*arguments, "--out", tmp_path).stdout) != losses(done.stdout)


def test_a_training_that_fails_says_so_and_shows_no_results(tmp_path, capsys):
    arguments = [
        "demo",
        "--data",
        "spiral",
        "--optimizer",
        "sgd",
        "--lr",
        "1e30",
        "--out",
        tmp_path,
    ]
    code, printed = call(capsys, *arguments)
    assert code == 2
    assert re.fullmatch(
        r"python -m nnext demo: training failed: the loss is nan in epoch 1, step \d; "
        r"try an --lr below 1e\+30\n",
        printed.err,
    )
    assert "Accuracy" not in printed.out
    assert "predicted" not in printed.out
    assert list(tmp_path.iterdir()) == []


def test_a_last_step_that_goes_too_far_is_a_failure_too(tmp_path, capsys):
    # One step in all: the loss before it was finite.
    arguments = ["demo", "--data", "spiral", "--optimizer", "sgd", "--lr", "1e38"]
    arguments += ["--epochs", 1, "--batch-size", 1000, "--out", tmp_path]
    code, printed = call(capsys, *arguments)
    assert code == 2
    assert "training failed: the probabilities are nan after the last step" in printed.err


def test_the_loss_at_the_end_is_the_last_epochs(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _, printed = call(capsys, "demo", "--data", "spiral", "--epochs", 3, "--out", tmp_path)
    last = re.search(r"epoch   3 / 3 \| loss ([\d.]+)", printed.out)[1]
    assert f"{last} at the end" in printed.out


def test_spiral_draws_the_decision_boundary(tmp_path, extras):
    done = run("demo", "--data", "spiral", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert number(done.stdout, r"train data: ([\d.]+)") >= 0.95
    assert number(done.stdout, r"test data: ([\d.]+)") >= 0.95
    assert is_png(tmp_path / "decision_boundary.png")


@pytest.mark.parametrize("parts", [["t10k"], ["train", "t10k"]])
def test_mnist_trains_on_the_files_in_a_folder(tmp_path, extras, parts):
    rng = np.random.default_rng(0)
    for part, n in zip(parts, (50, 20), strict=False):
        labels = rng.integers(0, 10, n).astype(np.uint8)
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        head = struct.pack(">BBBB3I", 0, 0, 8, 3, n, 28, 28)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(head + images.tobytes())
        )
        head = struct.pack(">BBBBI", 0, 0, 8, 1, n)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    done = run("demo", "--data", "mnist", "--path", tmp_path, "--epochs", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    expected = "40 to train on, 10 held out" if len(parts) == 1 else "50 to train on, 20 held out"
    assert expected in done.stdout
    assert is_png(tmp_path / "predictions.png")


def test_without_matplotlib_it_trains_and_says_how_to_get_the_pictures(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, printed = call(capsys, "demo", "--data", "spiral", "--epochs", 1, "--out", tmp_path)
    assert code == 0
    assert "Accuracy on the test data" in printed.out
    assert re.search(r'pip install "\S+\[demo\]"', printed.out)
    assert list(tmp_path.iterdir()) == []


def test_without_scikit_learn_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    code, printed = call(capsys, "demo", "--out", tmp_path)
    assert code == 2
    assert "needs scikit-learn" in printed.err
    assert re.search(r'pip install "\S+\[\w+\]"', printed.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--data", "cats"], "invalid choice: 'cats'"),
        (["demo", "--threads", "1025"], "--threads: expected a whole number from 1 to 1024"),
        (["demo", "--epochs", "0"], "--epochs: expected a whole number of at least 1, got '0'"),
        (["demo", "--epochs", "9" * 20], "--epochs: expected a whole number from 1 to 92233"),
        (["demo", "--batch-size", "x"], "--batch-size: expected a whole number"),
        (["demo", "--lr", "-1"], "--lr: expected a positive number, got '-1'"),
        (["demo", "--lr", "fast"], "--lr: expected a positive number, got 'fast'"),
        (["demo", "--seed", "-1"], "--seed: expected a whole number from 0"),
        (["demo", "--seed", str(2**32)], "--seed: expected a whole number from 0 to 4294967295"),
        (["demo", "--data", "mnist"], "--data mnist needs --path DIR"),
        (["demo", "--data", "mnist", "--path", "/nowhere"], "/nowhere is not a folder"),
        (["demo", "--path", "."], "--path goes with --data mnist"),
        (["demo", "--data", "spiral", "--out", __file__], "cannot write to"),
        ([], "the following arguments are required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_wrong_arguments_get_a_plain_message_and_exit_code_2(capsys, arguments, message):
    code, printed = call(capsys, *arguments)
    assert code == 2
    assert message in printed.err
    assert "Traceback" not in printed.err


def test_too_big_a_model_is_refused_plainly(tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("nnext.demo._build", fail)
    code, printed = call(capsys, "demo", "--data", "spiral", "--out", tmp_path)
    assert (code, printed.err) == (
        2,
        "python -m nnext demo: not enough memory for this model and data\n",
    )


def test_ctrl_c_stops_without_a_traceback(tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnext.demo._train", fail)
    code, printed = call(capsys, "demo", "--data", "spiral", "--out", tmp_path)
    assert (code, printed.err) == (130, "\nstopped\n")


def test_a_reader_that_stops_reading_gets_no_traceback(tmp_path):
    command = [sys.executable, "-P", "-u", "-m", "nnext", "demo", "--data", "spiral"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("sizes", [[2**63 - 1], [2**32, 2**32]])
def test_a_model_beyond_any_memory_is_refused_plainly(tmp_path, capsys, sizes):
    code, printed = call(
        capsys, "demo", "--data", "spiral", "--hidden", *sizes, "--out", tmp_path / "new"
    )
    assert code == 2
    assert printed.err == "python -m nnext demo: not enough memory for this model and data\n"


def test_names_that_a_terminal_cannot_show_are_printed_in_ascii(tmp_path):
    arguments = ["demo", "--data", "spiral", "--epochs", "1", "--out", tmp_path / "\xe9"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nnext", *arguments],
        capture_output=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xe9" in done.stdout


@pytest.mark.parametrize("arguments", [["config"], ["info"], ["--version"], ["--help"]])
def test_a_reader_that_is_gone_gets_no_traceback(arguments):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as pipe:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "nnext", *arguments],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a disk that is always full")
@pytest.mark.parametrize(
    "arguments", [["config"], ["info"], ["--version"], ["demo", "--data", "spiral"]]
)
@pytest.mark.parametrize("unbuffered", [[], ["-u"]])
def test_an_output_that_takes_nothing_gets_a_plain_message(tmp_path, arguments, unbuffered):
    if unbuffered and arguments == ["--version"]:
        pytest.skip("argparse passes over it itself")
    if "demo" in arguments:
        arguments = [*arguments, "--epochs", "1", "--out", str(tmp_path)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-P", *unbuffered, "-m", "nnext", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
    assert done.returncode == 1
    assert done.stderr == "python -m nnext: cannot print: No space left on device\n"


def test_version_and_config():
    assert run("--version").stdout == f"nnext {nnext.__version__}\n"
    done = run("config")
    assert done.returncode == 0
    assert nnext.__version__ in done.stdout
    assert "isa" in done.stdout


def test_pictures_of_a_model_that_is_always_right_and_of_two_dimensions(tmp_path):
    pytest.importorskip("matplotlib")
    from nnext import plotting

    labels = np.arange(12) % 10
    plotting.plot_predictions(np.zeros((12, 8, 8)), labels, np.eye(10)[labels], tmp_path / "a.png")
    assert is_png(tmp_path / "a.png")
    x, t = spiral()
    model = TwoLayerNet(2, 3, 3, seed=0)
    plotting.plot_decision_boundary(model, x, t.argmax(axis=1), tmp_path / "b.svg")
    assert (tmp_path / "b.svg").read_text(encoding="utf-8").startswith("<?xml")
