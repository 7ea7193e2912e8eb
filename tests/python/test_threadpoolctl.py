"""threadpoolctl and joblib find nnext's threads: listed, limited for a while, set in workers."""

import json

import pytest

import nnext
from programs import run

threadpoolctl = pytest.importorskip("threadpoolctl")


@pytest.fixture(autouse=True)
def two_threads():
    before = nnext.get_num_threads()
    nnext.register_threadpoolctl()
    nnext.set_num_threads(2)
    yield
    nnext.set_num_threads(before)


def listed():
    return [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "nnext"]


def test_it_is_listed_once_however_often_it_was_registered():
    nnext.register_threadpoolctl()
    (info,) = listed()
    assert info["internal_api"] == "nnext"
    assert info["version"] == nnext.__version__
    assert info["num_threads"] == 2
    assert info["filepath"] == nnext._nnext.__file__
    assert info["architecture"] == nnext.show_config("dicts")["isa"]


@pytest.mark.parametrize("limits", [1, {"nnext": 1}])
def test_a_limit_holds_for_a_while(limits):
    with threadpoolctl.threadpool_limits(limits):
        assert nnext.get_num_threads() == listed()[0]["num_threads"] == 1
    assert nnext.get_num_threads() == 2


def test_limits_inside_of_limits_put_back_what_was_before_each():
    nnext.set_num_threads(5)
    with threadpoolctl.threadpool_limits(3):
        with threadpoolctl.threadpool_limits(1, user_api="nnext"):
            assert nnext.get_num_threads() == 1
            with threadpoolctl.threadpool_limits({"nnext": 4}):
                assert nnext.get_num_threads() == 4
            assert nnext.get_num_threads() == 1
        assert nnext.get_num_threads() == 3
    assert nnext.get_num_threads() == 5


def test_limits_of_others_are_not_nnexts():
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert nnext.get_num_threads() == 2


def test_a_limit_above_what_nnext_can_have_is_no_error():
    with threadpoolctl.threadpool_limits({"nnext": 5000}):
        assert nnext.get_num_threads() == 1024


SEEN = "print([i['num_threads'] for i in threadpool_info() if i['user_api'] == 'nnext'])"


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        ("from threadpoolctl import threadpool_info; import nnext", "[3]"),
        ("import nnext; from threadpoolctl import threadpool_info", "[]"),
        (
            "import nnext; from threadpoolctl import threadpool_info; threadpool_info(); "
            "nnext.register_threadpoolctl()",
            "[3]",
        ),
    ],
)
def test_who_is_imported_first(tmp_path, imports, expected):
    assert run("-c", f"{imports}; {SEEN}", folder=tmp_path, NNEXT_NUM_THREADS="3") == (
        expected + "\n"
    )


def test_the_estimators_register_it(tmp_path):
    pytest.importorskip("sklearn")
    imports = "import nnext; import nnext.sklearn; from threadpoolctl import threadpool_info"
    printed = run("-c", f"{imports}; {SEEN}", folder=tmp_path, NNEXT_NUM_THREADS="3")
    assert printed == "[3]\n"


def test_importing_nnext_does_not_load_it(tmp_path):
    program = "import sys, nnext; print('threadpoolctl' in sys.modules)"
    assert run("-c", program, folder=tmp_path) == "False\n"


def test_without_it_the_error_says_how_to_install_it(tmp_path):
    program = "import sys, nnext; sys.modules['threadpoolctl'] = None; import nnext; {}"
    call = program.format("nnext.register_threadpoolctl()")
    printed = run("-c", call, folder=tmp_path, status=1)
    assert "ImportError: nnext.register_threadpoolctl needs threadpoolctl" in printed
    assert f'pip install "{nnext._nnext.__distribution__}[sklearn]"' in printed


def test_a_version_that_takes_no_others_is_named(tmp_path):
    program = (
        "import sys, types; old = sys.modules['threadpoolctl'] = types.ModuleType('threadpoolctl');"
        "old.__version__ = '3.1.0'; import nnext; nnext.register_threadpoolctl()"
    )
    printed = run("-c", program, folder=tmp_path, status=1)
    assert (
        "ImportError: nnext.register_threadpoolctl needs threadpoolctl 3.2 or newer, got 3.1.0"
        in (printed)
    )


WORKERS = """
import json
import joblib

def threads(limit=None):
    import nnext
    nnext.register_threadpoolctl()
    from threadpoolctl import threadpool_limits
    with threadpool_limits(limit):
        return nnext.get_num_threads()

if __name__ == "__main__":
    found = {}
    for count in (1, 3):
        with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=count):
            found[count] = joblib.Parallel()(joblib.delayed(threads)() for _ in range(2))
    for backend in ("loky", "multiprocessing"):
        with joblib.parallel_config(backend, n_jobs=2):
            found[backend] = joblib.Parallel()(joblib.delayed(threads)(1) for _ in range(2))
    print(json.dumps(found))
"""


def test_workers_of_joblib_have_the_threads_that_it_gives_them(tmp_path):
    pytest.importorskip("joblib")
    (tmp_path / "workers.py").write_text(WORKERS)
    printed = run("workers.py", folder=tmp_path, NNEXT_NUM_THREADS="")
    found = json.loads(printed)
    assert found.pop("3") == [3, 3]
    assert set(map(tuple, found.values())) == {(1, 1)}
