"""benchmarks/compare.py tells a change from noise, on runs that were made up."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="compares runs of the benchmark: pip install '.[bench]'")
pytest.importorskip("rich", reason="compares runs of the benchmark: pip install '.[bench]'")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CELLS, ROUNDS = 40, 7


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("compare")


@pytest.fixture
def run(compare, tmp_path):
    """Writes a run: cells by their factor on fastelbo's time, a mood that differs from round to round."""

    def write(name, factors, seed, noise=0.02, rounds=ROUNDS, mood=1.0, **about):
        draw = np.random.default_rng(seed)
        cells = {}
        for i, factor in enumerate(factors):
            spell = mood * np.exp(0.2 * draw.standard_normal(rounds))
            samples = {}
            for contender, seconds in (("fastelbo", 1e-3 * factor), ("numpy", 3e-3)):
                samples[contender] = (seconds * spell * np.exp(noise * draw.standard_normal(rounds))).tolist()
            cells[f"nll_logvar value {i + 1}x8 float32 threads=1"] = {"samples": samples}
        run = {
            "machine": {"cpu": "made up", "commit": name},
            "versions": {"numpy": "2.0"},
            "isa": {"fastelbo": "v3"},
            "cells": cells,
        }
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(run | about))
        return str(file)

    return write


@pytest.mark.parametrize("noise", [0.001, 0.02, 0.2])
def test_the_same_code_is_the_same(compare, run, capsys, noise):
    old, new = (run(name, [1.0] * CELLS, seed, noise) for seed, name in enumerate(("old", "new")))
    assert compare.main([old, new]) == 0
    assert f"0 slower, {CELLS} the same, 0 faster" in capsys.readouterr().out


def test_one_slower_cell_is_found_and_fails(compare, run, capsys):
    old = run("old", [1.0] * CELLS, 1)
    new = run("new", [1.0] * 20 + [1.3] + [1.0] * 19, 2)
    assert compare.main([old, new]) == 1
    printed = capsys.readouterr().out
    assert "slower nll_logvar value 21x8 float32 threads=1: 1." in printed
    assert f"1 slower, {CELLS - 1} the same, 0 faster" in printed


def test_one_faster_cell_is_found_and_passes(compare, run, capsys):
    old = run("old", [1.0] * CELLS, 1)
    new = run("new", [0.7] + [1.0] * 39, 2)
    assert compare.main([old, new]) == 0
    assert "faster nll_logvar value 1x8 float32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("factor", "noise", "mood"),
    [
        pytest.param(1.0, 0.02, 3.0, id="a slow day is nobody's fault"),
        pytest.param(1.05, 0.001, 1.0, id="one cell within the margin is the same"),
        pytest.param(1.1, 0.5, 1.0, id="noise hides a change and is not taken for one"),
    ],
)
def test_what_is_no_change_passes(compare, run, factor, noise, mood):
    old = run("old", [1.0] * CELLS, 1, noise)
    new = run("new", [factor] + [1.0] * (CELLS - 1), 2, noise, mood=mood)
    assert compare.main([old, new]) == 0


def test_among_many_cells_some_look_slower_by_accident(compare, run, capsys):
    old, new = run("old", [1.0] * 400, 1), run("new", [1.0] * 400, 2)
    compare.main([old, new, "--margin", "0"])
    assert "0 slower, 400 the same, 0 faster" in capsys.readouterr().out


def test_less_than_the_margin_counts_in_the_mean_of_all(compare, run, capsys):
    old, new = run("old", [1.0] * CELLS, 1), run("new", [1.04] * CELLS, 2)
    assert compare.main([old, new]) == 1
    assert "the time, slower" in capsys.readouterr().out


def test_too_few_rounds_and_other_cells_are_said(compare, run, capsys):
    old, new = run("old", [1.0] * CELLS, 1), run("new", [1.0] * (CELLS - 3), 2)
    assert compare.main([old, new]) == 0
    assert "3 in one run alone" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="enough rounds"):
        compare.main([old, run("few", [1.0] * CELLS, 3, rounds=3)])


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ({"machine": {"cpu": "another", "commit": "new"}}, "the machines differ: made up, another"),
        ({"versions": {"numpy": "2.1"}}, "the versions of numpy differ"),
        ({"isa": {"fastelbo": "v4"}}, "the instruction sets differ: v3, v4"),
    ],
)
def test_what_cannot_be_compared_well_is_said(compare, run, capsys, about, text):
    compare.main([run("old", [1.0] * CELLS, 1), run("new", [1.0] * CELLS, 2, **about)])
    assert text in capsys.readouterr().out
