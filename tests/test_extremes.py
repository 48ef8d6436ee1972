"""A share of `extremes.py`; and that it sees what is wrong."""

import numpy as np
import pytest

import digits
import extremes
import fastelbo as fe
import promises
from effort import effort


@pytest.mark.parametrize("name", extremes.NAMES)
def test_extremes(name):
    """No difference of class, and no bound exceeded."""
    _, made, failures = extremes.run(name, 0, range(effort(2_000, 20_000)))
    assert not failures, "\n".join(failures)
    assert made > 1_500


@pytest.mark.parametrize("name", extremes.NAMES)
def test_it_sees_what_is_wrong(name, monkeypatch):
    """A value that is 0.01 % off, or NaN."""
    right = getattr(fe, name)
    for spoil in (lambda value: value * np.float32(1.0001), lambda value: value * np.float32(np.nan)):

        def wrong(spoil=spoil, **arguments):
            got = right(**arguments)
            return got._replace(value=spoil(got.value)) if hasattr(got, "_replace") else spoil(got)

        monkeypatch.setattr(fe, name, wrong)
        assert extremes.run(name, 0, range(200))[2]


def test_an_infinite_term_of_an_oracle_is_told():
    """Of finite arguments alone; nothing can be compared with it."""
    x, infinite = np.zeros(2), digits.Exact(*[digits.exact([np.inf, 0.0])] * 2)
    exact = {"value": infinite}
    with pytest.raises(
        AssertionError, match=r"oracle of laplace_nll has an infinite term .*tests/oracles\.py"
    ):
        promises.check("laplace_nll", {"x": x, "mean": x, "logscale": x, "axis": ()}, x, exact=exact)
    far = np.array([np.inf, 0.0])
    promises.check("laplace_nll", {"x": far, "mean": x, "logscale": x, "axis": ()}, far, exact=exact)
