"""A process that trains, killed again and again, ends with the bits of an unharmed one."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

PROGRAM = """
import pathlib, sys, time
import numpy as np
from nnext import Adam, Dropout, ReLU, Sequential, Trainer, affine
from nnext.callbacks import EarlyStopping, ModelCheckpoint
from nnext.schedules import Cosine, WarmUp

run, end, pause = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3])
rng = np.random.default_rng(0)
x, t = rng.standard_normal((47, 4)).astype(np.float32), rng.integers(0, 3, 47)
resumed = run.exists()
seed = 5 if resumed else 0
model = Sequential([affine(4, 8, seed=seed), ReLU(), Dropout(0.5, seed=seed),
                    affine(8, 3, seed=seed)])
optimizer = Adam(lr=WarmUp(10, Cosine(0.05, 1000)), weight_decay=0.01)
trainer = Trainer.resume(run, model, optimizer) if resumed else Trainer(model, optimizer, seed=1)

class Pause:
    def on_batch_end(self, trainer):
        time.sleep(pause)

print("ready", flush=True)
trainer.fit(x, t, max_epoch=200, batch_size=8, eval_interval=7, progress="none",
            validation=0.2, metrics=["accuracy"],
            callbacks=[Pause(), EarlyStopping(patience=999), ModelCheckpoint(run, every=3)])
history = trainer.history
np.savez(end, *model.params, *trainer.optimizer.m, *trainer.optimizer.v, history.loss,
         history.epoch_loss, history.iteration, *history.metrics.values(), model[2].offset)
"""


def started(run, end, pause):
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, str(run), str(end), str(pause)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def run_to_its_end(run, end):
    with started(run, end, 0) as process:
        assert process.wait(60) == 0


@pytest.mark.many_processes
def test_a_process_killed_fifty_times_ends_with_the_same_bits(tmp_path):
    run_to_its_end(tmp_path / "a", tmp_path / "a.npz")
    moments = random.Random(0)
    run, end = tmp_path / "b", tmp_path / "b.npz"
    kills = alive = 0
    while kills < 50:
        process = started(run, end, 0.002)
        with process:
            process.stdout.readline()  # it has read the checkpoint
            time.sleep(moments.uniform(0, 0.03))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        kills += 1
        alive += run.exists()
    assert alive > 40
    assert not end.exists()
    run_to_its_end(run, end)
    with np.load(tmp_path / "a.npz") as whole, np.load(end) as killed:
        assert killed.files == whole.files
        for name in whole.files:
            assert killed[name].tobytes() == whole[name].tobytes()
    # What a killed process left is removed by the next; without data it might be somebody's.
    assert not any(part.stat().st_size for part in tmp_path.glob(".nnext-*.part"))
