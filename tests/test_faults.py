"""Of the faults that mutants.py puts into copies, each still has its place."""

from pathlib import Path

import pytest

import mutants

TREE = Path(__file__).parents[1]


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_finds_its_text_once(mutant):
    for file, text, _ in mutant.edits:
        assert (TREE / file).read_text(encoding="utf-8").count(text) == 1, f"{file}:\n{text}"
