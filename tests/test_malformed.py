"""Every function against every kind of wrong or odd argument: a right answer, or the error of the contract.

Tables of what can vary, crossed with the functions and their arguments. `judge.judge` makes each call in
guarded memory: nothing but `out` is written, and nothing at all where an error comes before the results;
contract.py says which error it must be, or which answer.
"""

import numpy as np
import pytest

import arenas
import calls
import fastelbo as fe
import judge
import signatures
import strategies
from effort import effort
from malformed import LEAST, MEMORY, cases, right

NAMES = pytest.mark.parametrize("name", signatures.FUNCTIONS)


def test_every_function_with_arrays_is_covered():
    """All that is public but what takes no arrays; at least 300 cases of each."""
    others = {"get_num_threads", "set_num_threads", "show_config", "implied_objective", "reference"}
    public = {name for name in fe.__all__ if name[0].islower()}
    assert public - others == set(signatures.FUNCTIONS)
    counts = {name: len(list(cases(name))) for name in signatures.FUNCTIONS}
    print(counts, sum(counts.values()))
    assert min(counts.values()) >= LEAST


@NAMES
def test_a_right_answer_or_the_error_of_the_contract(name):
    wrong, ends = [], set()
    for label, make in cases(name, effort(10, 1)):
        MEMORY.begin()
        try:
            ends.add(judge.judge(name, make(), MEMORY))
        except AssertionError as error:
            wrong.append(f"{label}: {error}")
    assert not wrong, f"{len(wrong)} of {name}:\n" + "\n".join(wrong[:: len(wrong) // 12 + 1])
    assert {"right", "TypeError", "ValueError"} <= ends


@pytest.mark.parametrize("seed", range(effort(2, 20)))
def test_random_calls(seed):
    """CI's share of fuzz.py, of other seeds."""
    source = calls.Calls(1000 + seed)
    for number in range(effort(1500, 10_000)):
        name, arguments = source[number]
        try:
            judge.judge(name, arguments, source.memory)
        except AssertionError as error:
            error.add_note(f"python tests/fuzz.py --seed {1000 + seed} --from {number}")
            raise


def test_a_write_beside_an_output_is_seen(monkeypatch):
    """By one element, or into an input."""
    exact = fe.gaussian_nll

    def careless(x, mean, *, out, spoil, **options):
        found = exact(x, mean, out=out, **options)
        if spoil == "beside":
            np.lib.stride_tricks.as_strided(out, (out.size + 1,))[-1] = 1
        elif spoil == "input":
            x[0, 0] += 1
        return found

    for spoil in ("nothing", "beside", "input"):
        MEMORY.begin()
        given = right("gaussian_nll", weight=None, where=None)
        given["out"] = MEMORY.array((3,), np.dtype(float), (8,), "between")
        monkeypatch.setattr(
            fe, "gaussian_nll", lambda s=spoil, **a: careless(**a, spoil=s) if "out" in a else exact(**a)
        )
        if spoil == "nothing":
            judge.judge("gaussian_nll", given, MEMORY)
        else:
            with pytest.raises(AssertionError, match="was written"):
                judge.judge("gaussian_nll", given, MEMORY)


def test_guard_bytes_are_nan():
    for dtype in strategies.DTYPES:
        assert np.isnan(np.full(8, arenas.GUARD, np.uint8).view(dtype)).all()
