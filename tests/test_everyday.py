"""benchmarks/everyday.py leaves out nothing that is public, and its two sides do the same work."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastelbo as fe
from fastelbo._families import LOSSES

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPT = [sys.executable, str(BENCHMARKS / "everyday.py")]
SIDES = (5, 4, 6, 3)
#: Parameters that no case passes, with the reason
NOT_TRIED: dict[str, str] = {}
PUBLIC = [name for name in fe.__all__ if inspect.isfunction(getattr(fe, name))]
WITH_ARRAYS = [name for name in PUBLIC if "ArrayLike" in str(inspect.signature(getattr(fe, name)))]


@pytest.fixture
def everyday(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("everyday")


def tiny(shape):
    return tuple([min(n, most) if n > 3 else n for n, most in zip(shape, SIDES, strict=False)])


def of(everyday, function):
    return [case for case in everyday.cases() if case.function == function and not case.by_hand]


def test_every_function_with_arrays_is_raced(everyday):
    assert importlib.import_module("everyday_cases").functions() == sorted(WITH_ARRAYS)
    assert {case.function for case in everyday.cases() if not case.by_hand} == set(WITH_ARRAYS)


def test_every_loss_has_formulas_in_all_its_forms_or_a_reason(everyday):
    forms = importlib.import_module("numpy_forms")
    for loss in LOSSES.values():
        names = {form for scale in loss.scales[:1] for form in scale.names if form} or {""}
        found = forms.FORMULAS.get(loss.kernel, names if loss.kernel in forms.NO_FORMULA else {})
        assert set(found) == names, loss.name


@pytest.mark.parametrize("function", WITH_ARRAYS)
def test_every_parameter_is_in_some_case(everyday, function):
    passed = {key for case in of(everyday, function) for key in case.arguments("float32", tiny(case.shape))}
    forgotten = set(inspect.signature(getattr(fe, function)).parameters) - passed - set(NOT_TRIED)
    assert not forgotten, f"nothing in OPTIONS of benchmarks/everyday.py tries {sorted(forgotten)}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", [*WITH_ARRAYS, "regression", "training"])
def test_both_sides_have_the_same_results(everyday, function, dtype):
    compared, missing = 0, set()
    for case in everyday.cases():
        if case.function != function:
            continue
        try:
            calls = case.calls(dtype, tiny(case.shape))
        except importlib.import_module("numpy_forms").MissingError as reason:
            missing.add(str(reason))
            continue
        with np.errstate(all="ignore"):
            everyday.check(case, calls, dtype)
        compared += 1
    assert compared or missing == {"NumPy has no erf"}
    assert missing <= {"NumPy has no erf", "NumPy has no lgamma"}


def test_results_that_differ_are_found(everyday):
    case, x = everyday.cases()[0], np.ones((2, 3), np.float32)
    for other in (x + 1e-2, x[:1], x.astype(np.float64)):
        with pytest.raises(AssertionError, match="differ"):
            everyday.check(case, (lambda: x, lambda other=other: other), "float32")


def test_the_list_has_each_key_once(everyday):
    done = subprocess.run([*SCRIPT, "--list"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(set(lines)) == len(everyday.cases())
    assert "gaussian_nll 128×784 float32 threads=1" in lines


def test_a_run_is_written_as_compare_reads_it(monkeypatch, tmp_path):
    file = tmp_path / "run.json"
    words = [
        "--only",
        "^(gaussian_nll|discretized_gaussian_nll) 1×2 ",
        "--seconds",
        "0.001",
        "--json",
        str(file),
    ]
    done = subprocess.run([*SCRIPT, *words], capture_output=True, text=True, check=True)
    assert "1 calls left out, as NumPy has no erf: discretized_gaussian_nll" in done.stdout
    run = json.loads(file.read_text())
    assert list(run["cells"]) == ["gaussian_nll 1×2 float32 threads=1"]
    pytest.importorskip("scipy", reason="compares runs: pip install '.[bench]'")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    compare = importlib.import_module("compare")
    assert compare.main([str(file), str(file)]) == 0
