"""Names that no file of parameters can have are refused by the name that was given."""

import os

import numpy as np
import pytest

from nnext.model_files import load_params, save_params

PARAMS = [np.ones(3, np.float32)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", ["nodir/a.npz", b"nodir/a.npz"])
def test_a_folder_that_is_not_there_is_told_by_the_name_given(path):
    for function in (save_params, load_params):
        with pytest.raises(FileNotFoundError, match=r"No such file or directory: 'nodir/a\.npz'$"):
            function(path, PARAMS)
    assert os.listdir() == []


@pytest.mark.skipif(os.name != "posix", reason="folders have no permissions there")
@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_folder_that_may_not_be_written_is_told_by_the_name_given(folder):
    folder.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=r"Permission denied: 'a\.npz'$"):
            save_params("a.npz", PARAMS)
    finally:
        folder.chmod(0o700)


def test_a_file_that_stands_for_a_folder_is_told_by_the_name_of_the_file(folder):
    (folder / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match=r"Not a directory: '.*file/a\.npz'$"):
        save_params("file/a.npz", PARAMS)


@pytest.mark.parametrize("path", ["", b""])
def test_an_empty_name_is_called_so(path):
    for function in (save_params, load_params):
        with pytest.raises(FileNotFoundError, match="the name of the file is empty: ''"):
            function(path, PARAMS)


@pytest.mark.parametrize("path", ["new/", "new/.", "new/sub/..", ".", "..", "/"])
def test_the_name_of_a_directory_makes_no_file(path):
    with pytest.raises(IsADirectoryError, match=f"the name of a directory, not .*: '{path}'"):
        save_params(path, PARAMS)
    assert os.listdir() == []
