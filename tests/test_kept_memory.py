"""Memory that freed results leave is kept for the next ones: bounded, reported, and nobody else's."""

from __future__ import annotations

import os
import pickle
import sys
import threading

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import fastelbo as fe
import processes
from fastelbo import _core

MIB = 2**20
LARGE = (1024, 256)  # float32: 1 MiB


@pytest.fixture(autouse=True)
def nothing_kept():
    """Before a test and after it, and the usual bound."""
    most = _core.kept_memory()[1]
    _core.keep_memory(0)
    _core.keep_memory(most)
    yield
    _core.keep_memory(0)
    _core.keep_memory(most)


def result(shape=LARGE, dtype=np.float32):
    """An array that fastelbo made, of a shape."""
    return fe.gaussian_nll_grad(np.ones(shape, dtype), np.zeros(shape, dtype), var=1.0, wrt="mean").mean


def address(array):
    return array.__array_interface__["data"][0]


def test_the_next_result_takes_the_place_of_a_freed_one():
    array = result()
    place, expected = address(array), array.copy()
    del array
    assert _core.kept_memory()[0] == MIB
    again = result()
    assert address(again) == place
    assert _core.kept_memory()[0] == 0
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("name", ["gaussian_nll", "gaussian_kl"])
@pytest.mark.parametrize("options", [{}, {"order": "F"}], ids=["C", "F"])
def test_elementwise_values_too(name, options):
    """By a fast door, a known call and the rules."""
    x = np.ones(LARGE, np.float32, **options)
    call = {
        "gaussian_nll": lambda: fe.gaussian_nll(x, x, logvar=x, axis=()),
        "gaussian_kl": lambda: fe.gaussian_kl(x, logvar=x, axis=()),
    }[name]
    for _ in range(3):
        assert get_handler_name(call()) == "fastelbo"
    assert 0 < _core.kept_memory()[0] <= 2 * MIB


def test_small_results_are_as_ever():
    assert get_handler_name(result((128, 32))) == "default_allocator"
    assert _core.kept_memory()[0] == 0


def test_arrays_of_others_are_as_ever():
    array = result()
    for other in (np.empty(LARGE), array + 1, array.copy(), pickle.loads(pickle.dumps(array))):
        assert get_handler_name(other) != "fastelbo"


def test_after_a_failed_allocation_too():
    row = np.broadcast_to(np.float64(1.0), (2**20, 2**31))
    with pytest.raises(MemoryError):
        fe.gaussian_nll(row, row, var=1.0, axis=())
    assert get_handler_name(np.empty(LARGE)) == "default_allocator"


def test_what_is_kept_goes_where_memory_is_wanted():
    array = result()
    del array
    row = np.broadcast_to(np.float64(1.0), (2**20, 2**31))
    with pytest.raises(MemoryError):
        fe.gaussian_nll(row, row, var=1.0, axis=())
    assert _core.kept_memory() == (0, 64 * MIB)


def test_the_bound_holds_whatever_is_freed():
    rng, alive = np.random.default_rng(3), []
    most = 8 * MIB
    _core.keep_memory(most)
    for _ in range(400):
        if len(alive) > 12 or (alive and rng.random() < 0.5):
            array, mark = alive.pop(rng.integers(len(alive)))
            assert (array == mark).all()  # nobody else has written there
        else:
            array, mark = result((int(rng.integers(100, 3000)), 256)), float(rng.random())
            array[...] = mark
            alive.append((array, np.float32(mark)))
        del array
        assert _core.kept_memory()[0] <= most
    _core.keep_memory(2 * MIB)
    assert _core.kept_memory()[0] <= 2 * MIB


def test_a_result_larger_than_the_bound_is_not_kept():
    _core.keep_memory(MIB // 2)
    del_me = result()
    assert del_me.nbytes > MIB // 2
    del del_me
    assert _core.kept_memory()[0] == 0


def test_many_small_blocks_leave_no_more_than_their_number():
    arrays = [result((128, 257 + 16 * i)) for i in range(40)]
    del arrays
    assert 0 < _core.kept_memory()[0] < 17 * 128 * 1024 * 4


@pytest.mark.parametrize("rows", [1, 1024, 1025, 5000])
def test_a_result_can_be_resized(rows):
    array = result()
    array += np.arange(256, dtype=np.float32)
    expected = array.copy()
    array.resize((rows, 256), refcheck=False)
    both = min(rows, 1024)
    np.testing.assert_array_equal(array[:both], expected[:both])
    assert (array[both:] == 0).all()


def test_huge_results_are_whole():
    array = result((3000, 1024))  # 12 MB: aligned to pages of 2 MiB
    array[...] = 3.0
    assert address(array) % 64 == 0
    assert array.sum() == 3.0 * array.size


def test_threads_share_it():
    failures = []

    def work(mark):
        for i in range(200):
            array = result((256 + 64 * (i % 5), 256))
            array[...] = mark
            if not (array == mark).all():
                failures.append(mark)

    threads = [threading.Thread(target=work, args=(np.float32(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_calls_in_a_row_touch_no_new_pages():
    code = """if True:
        import resource, numpy as np, fastelbo as fe
        fe.set_num_threads(1)
        x = np.ones((1024, 784), np.float32)
        def call():
            return fe.gaussian_nll_grad(x, x, logvar=x)
        call(), call()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            call()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"""
    kept, without = (int(processes.run(code, FASTELBO_KEEP_MIB=mib)) for mib in ("64", "0"))
    assert kept < 20 * 50  # of more than 1,500 pages of results a call
    assert without > 20 * 500


@pytest.mark.parametrize("mib", ["0", "1", "1000"])
def test_the_environment_says_how_much(mib):
    code = "import fastelbo as fe; fe.show_config()"
    assert f"memory kept      0 of at most {mib} MiB" in processes.run(code, FASTELBO_KEEP_MIB=mib)


@pytest.mark.parametrize("rubbish", ["-1", "1.5", "64M", "9" * 20])
def test_rubbish_in_the_environment_is_an_error(rubbish):
    with pytest.raises(AssertionError, match=f"FASTELBO_KEEP_MIB='{rubbish}' is no number of MiB: unset it"):
        processes.run("import fastelbo", FASTELBO_KEEP_MIB=rubbish)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_its_own():
    array = result()
    del array
    child = os.fork()
    if child == 0:
        mine = result()
        mine[...] = 7.0
        os._exit(0 if (mine == 7.0).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (result() == -1.0).all()
