"""Data sets: the book's spiral, real digits, and IDX files, broken and hostile ones too."""

import gzip
import struct
import sys
import tracemalloc

import numpy as np
import pytest

from nnext import datasets


def book_spiral(seed):
    """The book's ``dataset/spiral.py``."""
    np.random.seed(seed)
    x, t = np.zeros((300, 2)), np.zeros((300, 3), dtype=int)
    for j in range(3):
        for i in range(100):
            rate = i / 100
            theta = j * 4.0 + 4.0 * rate + np.random.randn() * 0.2
            x[100 * j + i] = rate * np.sin(theta), rate * np.cos(theta)
            t[100 * j + i, j] = 1
    return x, t


@pytest.mark.parametrize("seed", [1984, 7])
def test_spiral_is_the_books(seed):
    x, t = datasets.spiral(seed)
    book_x, book_t = book_spiral(seed)
    assert (x.shape, x.dtype, t.shape, t.dtype) == ((300, 2), np.float32, (300, 3), np.int64)
    np.testing.assert_allclose(x, book_x, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(t, book_t)


def test_spiral_leaves_the_callers_random_numbers_alone():
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    first = datasets.spiral()[0]
    assert np.random.rand() == expected
    np.testing.assert_array_equal(first, datasets.spiral(seed=1984)[0])


def test_digits_are_scaled_real_images():
    pytest.importorskip("sklearn")
    x, t = datasets.digits()
    assert (x.shape, x.dtype, t.shape, t.dtype) == ((1797, 64), np.float32, (1797,), np.int64)
    assert (x.min(), x.max()) == (0, 1)
    np.testing.assert_array_equal(np.unique(t), np.arange(10))


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    with pytest.raises(ImportError, match=r'scikit-learn.*pip install "\S+\[data\]"'):
        datasets.digits()


def idx(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.fixture
def images():
    return np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@pytest.fixture
def folder(tmp_path, images):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([3, 1, 4, 1, 5], np.uint8)))
    return tmp_path


def test_mnist_reads_plain_and_packed_files_alike(folder, images):
    x, t = datasets.mnist(folder)
    assert (x.shape, x.dtype, t.dtype) == ((5, 12), np.float32, np.int64)
    np.testing.assert_array_equal(x, (images.reshape(5, 12) / np.float32(255)).astype(np.float32))
    np.testing.assert_array_equal(t, [3, 1, 4, 1, 5])
    for path in list(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed_x, packed_t = datasets.mnist(str(folder))
    np.testing.assert_array_equal(packed_x, x)
    np.testing.assert_array_equal(packed_t, t)


def test_mnist_reads_the_parts_that_are_there_train_first(folder, images):
    with pytest.raises(FileNotFoundError, match="holds no train-images-idx3-ubyte"):
        datasets.mnist(folder, "train")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:2] + 100)))
    with pytest.raises(FileNotFoundError, match=r"train-images.* but not its labels"):
        datasets.mnist(folder)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.array([9, 8], np.uint8)))
    assert datasets.mnist(folder)[1].tolist() == [9, 8, 3, 1, 4, 1, 5]
    assert datasets.mnist(folder, "train")[1].tolist() == [9, 8]
    assert datasets.mnist(folder, "t10k")[0].shape == (5, 12)
    with pytest.raises(ValueError, match="part: expected"):
        datasets.mnist(folder, "test")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(idx(images[:2, :2]))
    with pytest.raises(ValueError, match=r"images of \(4, 3\) pixels, the other part of \(2, 3\)"):
        datasets.mnist(folder)


def test_mnist_says_which_folder_or_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        datasets.mnist(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no t10k-images"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08", "begins with 00 00 08"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 5) + b"12345678", "begins with 00 00 08 01"),
        (struct.pack(">BBBB3I", 0, 0, 13, 3, 1, 1, 1) + b"1234", "begins with 00 00 0d 03"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 28, 28), r"no data: its header says \(0, 28, 28\)"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 5, 4, 3) + bytes(59), "= 60 bytes, but it has 59"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 5, 4, 3) + bytes(61), "= 60 bytes, but it has"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3) + bytes(9), "bytes, but it has 9"),
    ],
)
def test_mnist_refuses_a_wrong_header_and_names_the_file(folder, pack, content, message):
    (folder / "t10k-images-idx3-ubyte").write_bytes(pack(content))
    with pytest.raises(ValueError, match=rf"t10k-images-idx3-ubyte.*{message}"):
        datasets.mnist(folder)


def test_mnist_refuses_damaged_gzip_and_labels_that_do_not_fit(folder, images):
    path = folder / "t10k-images-idx3-ubyte"
    packed = gzip.compress(idx(images))
    for content in (packed[:-9], packed[:12] + b"\xff" * 20 + packed[32:], b"\x1f\x8brubbish"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path.name} is not a whole gzip file"):
            datasets.mnist(folder)
    path.write_bytes(idx(images[:4]))
    with pytest.raises(ValueError, match=r"holds 4 images, but .* holds 5 labels"):
        datasets.mnist(folder)


def test_a_hostile_file_costs_no_memory(folder):
    """A header that promises 3 GB over 10 bytes, and 64 MB that unpack from 64 kB."""
    path = folder / "t10k-images-idx3-ubyte"
    huge = struct.pack(">BBBB3I", 0, 0, 8, 3, 1 << 20, 64, 48) + bytes(10)
    bomb = struct.pack(">BBBB3I", 0, 0, 8, 3, 1, 28, 28) + bytes(1 << 26)
    for content in (huge, gzip.compress(huge), gzip.compress(bomb)):
        path.write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=path.name):
                datasets.mnist(folder)
            assert tracemalloc.get_traced_memory()[1] < 2 << 20
        finally:
            tracemalloc.stop()


def test_train_test_split_keeps_pairs_together_and_loses_nothing():
    x, t = np.arange(20).reshape(10, 2), np.arange(10)
    x_train, x_test, t_train, t_test = datasets.train_test_split(x, t, test_size=0.25, seed=1)
    assert (len(x_train), len(x_test)) == (7, 3)  # rounded up
    for part_x, part_t in ((x_train, t_train), (x_test, t_test)):
        np.testing.assert_array_equal(part_x[:, 0], 2 * part_t)
    assert sorted([*t_train, *t_test]) == list(range(10))
    again = datasets.train_test_split(x, t, test_size=0.25, seed=1)
    np.testing.assert_array_equal(again[3], t_test)
    np.random.seed(1)
    first = datasets.train_test_split(x, t)[3]
    np.random.seed(1)
    np.testing.assert_array_equal(first, datasets.train_test_split(x, t)[3])


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, 0.999, float("nan")])
def test_train_test_split_refuses_to_leave_a_side_empty(share):
    with pytest.raises(ValueError, match="test_size: expected a share"):
        datasets.train_test_split(np.ones((10, 2)), np.ones(10), test_size=share)


def test_train_test_split_refuses_different_lengths():
    with pytest.raises(ValueError, match="t: expected one label for each sample"):
        datasets.train_test_split(np.ones((10, 2)), np.ones(9))
