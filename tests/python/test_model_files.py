"""Files of parameters: whole or not at all, and nothing read that does not fit."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import zipfile

import numpy as np
import pytest
from ml_dtypes import bfloat16

import reference as ref
from nnext import Sequential, Sigmoid, affine
from nnext.model_files import load_params, save_params

DTYPES = ["float32", "float64"]
posix_only = pytest.mark.skipif(os.name != "posix", reason="tries what Windows has not")


def make_net(dtype="float64", seed=0):
    return Sequential([affine(4, 5, seed=seed, dtype=dtype), Sigmoid(),
                       affine(5, 3, seed=seed + 9, dtype=dtype)])  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_saved_parameters_come_back_into_the_models_own_arrays(tmp_path, dtype):
    model, other = make_net(dtype, seed=0), make_net(dtype, seed=1)
    path = tmp_path / "weights"
    model.save_params(path)
    assert [p.name for p in tmp_path.iterdir()] == ["weights"]
    arrays = list(other.params)
    other.load_params(path)
    for p, q, array in zip(model.params, other.params, arrays, strict=True):
        assert q is array
        np.testing.assert_array_equal(p, q)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    model, path = make_net(), tmp_path / "weights.npz"
    model.save_params(path)
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        model.save_params(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["weights.npz"]


def test_load_checks_everything_before_it_overwrites_anything(tmp_path):
    model, path = make_net(), tmp_path / "weights.npz"
    before = [p.copy() for p in model.params]

    def refused(match):
        with pytest.raises(ValueError, match=match):
            model.load_params(path)
        for p, old in zip(model.params, before, strict=True):
            np.testing.assert_array_equal(p, old)

    params = [p + 1 for p in model.params]
    save_params(path, [*params[:3], np.zeros(4)])
    refused(r"parameter 3 is float64 \(4,\), the model's is float64 \(3,\)")
    make_net("float32").save_params(path)
    refused("parameter 0 is float32")
    save_params(path, params[:3])
    refused("holds 3 parameters, the model has 4")
    np.savez(path, weights=np.ones(3))
    refused("not a file of save_params")
    np.savez(path, **{f"param_{i}": np.array([{}], dtype=object) for i in range(4)})
    refused("not a file of save_params")
    for content in (b"", b"PK\x03\x04 rubbish", b"rubbish"):
        path.write_bytes(content)
        refused("not a file of save_params")
    np.save(path.with_suffix(".npy"), np.ones(3))
    path.with_suffix(".npy").replace(path)
    refused("not a file of save_params")
    make_net(seed=1).save_params(path)
    model.params[2].flags.writeable = False
    refused(r"params\[2\] of the model is read-only")
    model.params[2].flags.writeable = True
    with pytest.raises(FileNotFoundError):
        model.load_params(tmp_path / "nowhere.npz")


def flip(path, signature, offset, value):
    """Write two bytes into the first record of a zip file that begins with `signature`."""
    content = bytearray(path.read_bytes())
    start = content.index(signature) + offset
    content[start : start + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)


def header(descr="<f8", shape="(4, 5)", fortran=False):
    text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def with_first(path, content):
    """Put something else in the place of the first parameter of a file."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["param_0.npy"] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, member in members.items():
            new.writestr(name, member)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
DAMAGES = {
    "an unknown compression": lambda path: (flip(path, CENTRAL, 10, 77), flip(path, LOCAL, 8, 77)),
    "a compression that it has not": lambda path: (
        flip(path, CENTRAL, 10, 8),
        flip(path, LOCAL, 8, 8),
    ),
    "encryption": lambda path: (flip(path, CENTRAL, 8, 1), flip(path, LOCAL, 6, 1)),
    "a directory before the file": lambda path: flip(path, b"PK\x05\x06", 16, 0xFFFF),
    "an offset beyond the file": lambda path: flip(path, CENTRAL, 44, 0x7FFF),
    "another number": lambda path: flip(path, header()[-8:], 100, 0x1234),
    "a short file": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "terabytes": lambda path: with_first(path, header(shape=f"({2**40}, 5)")),
    "more than a size can be": lambda path: with_first(path, header(shape=f"({2**70}, 5)")),
    "less than nothing": lambda path: with_first(path, header(shape="(-4, -5)")),
    "too little data": lambda path: with_first(path, header() + bytes(8)),
    "objects": lambda path: with_first(path, header("|O") + bytes(160)),
    "a header that is no dict": lambda path: with_first(path, header("'" * 9)),
    "an open bracket": lambda path: with_first(path, header(shape="(" * 300)),
    "a later format": lambda path: with_first(path, b"\x93NUMPY\x09\x00" + bytes(200)),
    "a long header": lambda path: with_first(path, b"\x93NUMPY\x02\x00" + b"\xff" * 200),
    "gigabytes of zeros after the array": lambda path: with_first(path, header() + bytes(2**27)),
    "a byte after the array": lambda path: with_first(path, header() + bytes(161)),
    "nothing": lambda path: with_first(path, b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_a_value_error_that_names_it_and_overwrites_nothing(tmp_path, damage):
    model, path = make_net(), tmp_path / "weights.npz"
    before = [p.copy() for p in model.params]
    make_net(seed=1).save_params(path)
    DAMAGES[damage](path)
    with pytest.raises(ValueError, match=r"weights\.npz"):
        model.load_params(path)
    for p, old in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, old)


def test_a_compressed_file_is_read_too(tmp_path):
    model, other, path = make_net(seed=0), make_net(seed=1), tmp_path / "weights.npz"
    np.savez_compressed(path, **{f"param_{i}": p for i, p in enumerate(model.params)})
    other.load_params(path)
    for p, q in zip(model.params, other.params, strict=True):
        np.testing.assert_array_equal(p, q)


# What is read


def test_a_path_may_be_bytes(tmp_path):
    path = tmp_path / "w\N{LATIN SMALL LETTER E WITH ACUTE}.npz"
    model, other = make_net(), make_net(seed=1)
    model.save_params(os.fsencode(path))
    other.load_params(os.fsencode(path))
    for p, q in zip(model.params, other.params, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (5,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [*ref.FLOATS, *ref.HALVES, *ref.SWAPPED])
def test_any_shape_comes_back_to_the_bit(tmp_path, shape, dtype):
    array = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    save_params(tmp_path / "a", [array])
    back = np.full_like(array, 7)
    load_params(tmp_path / "a", [back])
    assert back.tobytes() == array.tobytes()


def test_order_and_strides_are_the_models_own_affair(tmp_path):
    W = np.random.default_rng(0).standard_normal((4, 6))
    save_params(tmp_path / "a", [W.T, W[::2, ::3]])
    back = [np.zeros((6, 4)), np.zeros((2, 2), order="F")]
    load_params(tmp_path / "a", back)
    np.testing.assert_array_equal(back[0], W.T)
    np.testing.assert_array_equal(back[1], W[::2, ::3])


def test_bytes_the_other_way_round_are_read_rightly(tmp_path):
    model, other = make_net(), make_net(seed=1)
    save_params(tmp_path / "a", [p.astype(">f8") for p in model.params])
    other.load_params(tmp_path / "a")
    for p, q in zip(model.params, other.params, strict=True):
        np.testing.assert_array_equal(p, q, strict=True)


def test_bfloat16_comes_back_from_a_file_that_needs_no_other_package(tmp_path):
    path = tmp_path / "weights.npz"
    model, other = make_net(bfloat16), make_net(bfloat16, seed=1)
    model.save_params(path)
    other.load_params(path)
    for p, q in zip(model.params, other.params, strict=True):
        assert q.dtype == bfloat16
        assert p.tobytes() == q.tobytes()
    with np.load(path) as plain:
        assert plain["param_0.bfloat16"].dtype == np.uint16
    # As numpy.savez alone writes them, and nnext did before.
    np.savez(path, **{f"param_{i}": p for i, p in enumerate(make_net(bfloat16, 2).params)})
    other.load_params(path)
    assert other.params[0].tobytes() == make_net(bfloat16, 2).params[0].tobytes()
    make_net("float16").save_params(path)
    with pytest.raises(ValueError, match=r"parameter 0 is float16 .*, the model's is bfloat16"):
        other.load_params(path)
    model.save_params(path)
    with pytest.raises(ValueError, match=r"parameter 0 is bfloat16 .*, the model's is float16"):
        make_net("float16").load_params(path)


def test_wrong_members_are_refused(tmp_path):
    path, params = tmp_path / "weights.npz", [np.ones(2), np.zeros(3)]
    for names in (["param_0", "param_2"], ["param_1", "param_2"], ["param_0", "param_01"],
                  ["param_0", "param_1", "extra"], ["param_0", "PARAM_1"]):  # fmt: skip
        np.savez(path, **{name: params[i % 2] for i, name in enumerate(names)})
        with pytest.raises(ValueError, match=r"weights\.npz is not a file of save_params .*member"):
            load_params(path, params)
    with zipfile.ZipFile(path, "w") as archive:
        for _ in range(2):
            with pytest.warns(UserWarning, match="Duplicate") if _ else open(os.devnull):
                archive.writestr("param_0.npy", b"")
    with pytest.raises(ValueError, match="an unexpected member 'param_0"):
        load_params(path, params)


def test_a_promise_of_gigabytes_is_refused_before_they_are_read(tmp_path):
    path, params = tmp_path / "bomb.npz", [np.zeros((4, 5))]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("param_0.npy", header() + bytes(2**27))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"takes 288 bytes; its member has 134217856"):
        load_params(path, params)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_objects_are_not_saved(tmp_path):
    with pytest.raises(TypeError, match=r"params\[1\] is an array of Python objects"):
        save_params(tmp_path / "a", [np.ones(1), np.array([{}])])
    assert not list(tmp_path.iterdir())


# What is written


@pytest.mark.parametrize(
    "kind",
    ["directory", pytest.param("pipe", marks=posix_only), pytest.param("device", marks=posix_only)],
)
def test_what_is_no_regular_file_is_refused(tmp_path, kind):
    model, path = make_net(), tmp_path / "weights"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(os.devnull)
    for use in (model.save_params, model.load_params):
        with pytest.raises(OSError, match=f"no regular file .*{kind}.*weights|null"):
            use(path)
    assert not path.is_file()
    assert os.listdir(tmp_path) == ["weights"]
    assert os.name != "posix" or stat.S_ISCHR(os.stat(os.devnull).st_mode)


@posix_only
def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "epoch7.npz", tmp_path / "latest.npz"
    link.symlink_to(target)
    for seed in (0, 1):  # first one that leads nowhere yet
        make_net(seed=seed).save_params(link)
        assert link.is_symlink()
        other = make_net(seed=5)
        other.load_params(target)
        np.testing.assert_array_equal(other.params[0], make_net(seed=seed).params[0])
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["latest.npz"]


@posix_only
def test_permissions_are_kept_and_those_of_a_new_file_are_as_usual(tmp_path):
    model, path, usual = make_net(), tmp_path / "weights.npz", tmp_path / "usual"
    usual.touch()
    model.save_params(path)
    assert path.stat().st_mode == usual.stat().st_mode
    for mode in (0o600, 0o664, 0o444):
        path.chmod(mode)
        model.save_params(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_threads_that_save_to_one_path_never_disturb_a_reader(tmp_path):
    path, models = tmp_path / "weights.npz", [make_net(seed=s) for s in range(2)]
    models[0].save_params(path)
    errors, stop = [], threading.Event()

    def save(model):
        try:
            while not stop.is_set():
                model.save_params(path)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    try:
        reader = make_net(seed=9)
        for _ in range(50):
            reader.load_params(path)
            one = [np.array_equal(reader.params[0], m.params[0]) for m in models]
            assert one.count(True) == 1
            np.testing.assert_array_equal(reader.params[2], models[one.index(True)].params[2])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert os.listdir(tmp_path) == ["weights.npz"]


def in_a_process(code, *arguments):
    return subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@posix_only
def test_what_a_killed_save_left_is_removed_by_the_next_and_a_running_one_is_not(tmp_path):
    path = tmp_path / "weights.npz"
    make_net().save_params(path)
    before = path.read_bytes()
    kill = """
        import os, signal, sys
        import numpy as np
        from nnext.model_files import save_params
        def die(file, **arrays):
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        np.savez = die
        save_params(sys.argv[1], [np.ones(3)])
    """
    assert in_a_process(kill, path).returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    (left,) = [p for p in tmp_path.iterdir() if p != path]
    stem, dash, _ = left.name.rpartition("-")
    assert dash
    assert left.suffix == ".part"
    others = [tmp_path / name for name in (f"{stem}.part", f".nnext-00000000-{'0' * 16}.part")]
    for other in others:
        other.write_bytes(b"not of this path")
    young, old = (tmp_path / f"{stem}-{digit * 16}.part" for digit in "01")
    for part in (young, old):  # killed before the first byte, or about to write it
        part.touch()
    os.utime(old, (1e9, 1e9))

    savez = np.savez
    saved = []

    def nested(file, **arrays):  # a save to the same path while this one runs
        file.write(b"half")
        file.flush()
        if not saved:
            saved.append(True)
            make_net(seed=1).save_params(path)
        file.seek(0)
        savez(file, **arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "savez", nested)
        make_net(seed=2).save_params(path)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in [path, young, *others]}
    model = make_net(seed=3)
    model.load_params(path)
    np.testing.assert_array_equal(model.params[0], make_net(seed=2).params[0])


@posix_only
def test_a_disk_that_is_full_harms_nothing(tmp_path):
    path = tmp_path / "weights.npz"
    make_net().save_params(path)
    before = path.read_bytes()
    code = """
        import resource, sys
        import numpy as np
        from nnext.model_files import save_params
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        try:
            save_params(sys.argv[1], [np.ones(100_000)])
        except OSError as error:
            print("refused", error)
    """
    done = in_a_process(code, path)
    assert done.stdout.startswith("refused"), done.stderr
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["weights.npz"]


@posix_only
def test_a_name_may_be_as_long_as_the_folder_allows(tmp_path):
    path = tmp_path / ("n" * 255)
    make_net(seed=1).save_params(path)
    reader = make_net(seed=2)
    reader.load_params(path)
    np.testing.assert_array_equal(reader.params[0], make_net(seed=1).params[0])
    assert os.listdir(tmp_path) == [path.name]


def test_nothing_is_loaded_if_one_array_is_read_only(tmp_path):
    path = tmp_path / "weights.npz"
    save_params(path, [np.ones(3), np.ones(2)])
    params = [np.zeros(3), np.zeros(2)]
    params[1].flags.writeable = False
    with pytest.raises(ValueError, match=r"params\[1\] is read-only"):
        load_params(path, params)
    assert not params[0].any()


@pytest.mark.parametrize("change", ["before", "behind", "twice"])
@pytest.mark.parametrize("compressed", [False, True])
def test_other_data_before_and_behind_is_refused(tmp_path, change, compressed):
    path = tmp_path / "weights.npz"
    params = [np.ones(3), np.ones((2, 2))]
    if compressed:
        np.savez_compressed(path, param_0=params[0], param_1=params[1])
    else:
        save_params(path, params)
    load_params(path, params)
    content = path.read_bytes()
    path.write_bytes(
        {"before": b"x" + content, "behind": content + b"x", "twice": content * 2}[change]
    )
    with pytest.raises(ValueError, match="more data"):
        load_params(path, [np.zeros(3), np.zeros((2, 2))])


def test_a_model_without_parameters_comes_back(tmp_path):
    save_params(tmp_path / "none", [])
    load_params(tmp_path / "none", [])
