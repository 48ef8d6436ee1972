"""What tools ask of public names: types, pickles, modules, docstrings."""

import inspect
import pickle
import typing

import pytest

import fastelbo as fe

PUBLIC = {name: getattr(fe, name) for name in fe.__all__ if name != "reference"}
PUBLIC |= {f"reference.{name}": getattr(fe.reference, name) for name in fe.reference.__all__}
RESULTS = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}


@pytest.mark.parametrize("name", PUBLIC)
def test_type_hints_can_be_asked_for(name):
    value = PUBLIC[name]
    hints = typing.get_type_hints(value)
    fields = value._fields if name in RESULTS else inspect.signature(value).parameters
    assert set(fields) <= hints.keys()


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_known_by_their_public_name(name):
    cls = RESULTS[name]
    result = cls(*range(len(cls._fields)))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(result, protocol)
        assert b"fastelbo" in data
        assert b"fastelbo." not in data
        assert b"_results" not in data
        again = pickle.loads(data)
        assert again == result
        assert type(again) is cls
    assert cls.__module__ == "fastelbo"
    assert getattr(fe, cls.__qualname__) is cls
    assert "ForwardRef" not in str(inspect.signature(cls))  # which help shows


#: Of numpydoc, each with a line of dashes below it
SECTIONS = (
    *("Parameters", "Returns", "Yields", "Receives", "Raises", "Warns", "Warnings", "See Also", "Notes"),
    *("References", "Examples", "Attributes", "Methods", "Other Parameters"),
)


@pytest.mark.parametrize("name", PUBLIC)
def test_sections_of_docstrings_are_underlined(name):
    lines = inspect.getdoc(PUBLIC[name]).splitlines()
    titles = [i for i, line in enumerate(lines) if line in SECTIONS]
    assert [lines[i + 1] for i in titles] == ["-" * len(lines[i]) for i in titles]
    assert [i for i, line in enumerate(lines) if "---" in line] == [i + 1 for i in titles]


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in RESULTS])
def test_help_shows_no_annotation_spelt_out(name):
    assert "typing." not in str(inspect.signature(PUBLIC[name]))
