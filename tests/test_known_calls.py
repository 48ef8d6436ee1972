"""A call like one before goes straight to the kernels: bits, errors and outputs are those of the rules."""

import collections
import inspect
import itertools
import tracemalloc

import numpy as np
import pytest

import calls
import declared
import fastelbo as fe
import judge
from fastelbo import _core, _losses

SHAPE = (4, 3, 5)
RNG = np.random.default_rng(3)


def array(shape=SHAPE, dtype=np.float32):
    return (RNG.random(shape) + 0.5).astype(dtype)


def other(x):
    """The like of an array, with other numbers."""
    return RNG.random(x.shape) > 0.4 if x.dtype == bool else array(x.shape)


@pytest.fixture
def by_rules(monkeypatch):
    """How often the rules were asked, by function."""
    asked = collections.Counter()

    def counted(name, general):
        def call(*arguments):
            asked[name] += 1
            return general(*arguments)

        return call

    for name, door in _losses.doors.items():
        monkeypatch.setattr(door, "general", counted(name, door.general))
    return asked


def fortran(x):
    return np.asfortranarray(x)


def swapped(x):
    return x.astype(x.dtype.newbyteorder())


#: What may be done to every array of data
LAYOUTS = {
    "C order": lambda x: x,
    "Fortran order": fortran,
    "byte-swapped": swapped,
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "from the end": lambda x: x[::-1],
    "float16": lambda x: x.astype(np.float16),
    "uint8": lambda x: (10 * x).astype(np.uint8),
    "double": lambda x: x.astype(np.float64),
}
#: Options by the parameter's name
OPTIONS = {
    "axis": (-1, 0, (), (1, 2), None),
    "z_axis": (-1, (-1,)),
    "weight": (array(SHAPE[:-1]),),
    "where": (array() > 0.8,),
    "z_where": (array() > 0.8,),
    "reduction": ("none", "sum", "mean"),
    "full": (False,),
    "min_var": (0.25, 1),
    "min_scale": (0.25,),
    "x_scale": (0.5, 2),
    "beta": (0.25, 3),
}
DECLARED = {**_losses.LOSSES, **_losses.JOINTS}
PARAMETERS = {name: inspect.signature(getattr(fe, name)).parameters for name in _losses.doors}


def declaration(name):
    return DECLARED[name.removesuffix("_grad")]


def cases():
    for name in _losses.doors:
        for layout in LAYOUTS:
            yield name, "layout", layout
        for option in OPTIONS:
            if option in PARAMETERS[name]:
                for choice in range(len(OPTIONS[option])):
                    yield name, option, choice


def arguments_of(name):
    """Those that must be passed, and a scale each."""
    loss = declaration(name)
    found = {key: array() for key in loss.positional}
    found |= {declared.forms(scale)[-1]: array() for scale in loss.all_scales if scale.required}
    return found | (declared.plain(loss) if loss in _losses.LOSSES.values() else {})


@pytest.mark.parametrize(("name", "option", "choice"), list(cases()))
def test_the_second_call_does_not_ask_the_rules(name, option, choice, by_rules):
    _core.forget()
    function, first = getattr(fe, name), arguments_of(name)
    if option != "layout":
        first[option] = OPTIONS[option][choice]
        if option == "axis" and first[option] in (0, (), (1, 2), None) and "z_axis" in PARAMETERS[name]:
            first["z_axis"] = first[option]
            first.pop("weight", None)
    change = LAYOUTS[choice] if option == "layout" else fortran
    given = {key: change(x) if isinstance(x, np.ndarray) else x for key, x in first.items()}
    function(**given)
    by_rules.clear()
    later = {key: change(other(x)) if isinstance(x, np.ndarray) else x for key, x in first.items()}
    got = function(**later)
    assert not by_rules, "the rules were asked"
    _core.forget()
    judge.same_bits(got, function(**later))


@pytest.mark.parametrize("name", [name for name in _losses.doors if name.endswith("_grad")])
@pytest.mark.parametrize("change", ["C order", "Fortran order"])
def test_a_result_can_be_the_outputs_of_the_next_call(name, change, by_rules):
    """And `wrt` a list: neither asks the rules, the first time in C order."""
    _core.forget()
    function, given = getattr(fe, name), arguments_of(name)
    given = {k: LAYOUTS[change](x) if isinstance(x, np.ndarray) else x for k, x in given.items()}
    wanted = list(inspect.signature(function).parameters["wrt"].default)
    expected = function(**given, wrt=wanted)
    out = type(expected)(*[np.zeros_like(a) if isinstance(a, np.ndarray) else None for a in expected])
    function(**given, wrt=wanted, out=out)
    if change == "Fortran order":
        by_rules.clear()
    got = function(**given, wrt=wanted, out=out)
    assert not by_rules, "the rules were asked"
    judge.same_bits(got, expected)
    for array, target in zip(got, out, strict=True):
        assert target is None or array is target


def snapshot(arguments):
    arrays = [a for value in arguments.values() for a in (value if isinstance(value, tuple) else (value,))]
    return [(a, a.copy()) for a in arrays if isinstance(a, np.ndarray) and type(a) is np.ndarray]


def outcome(name, arguments, before):
    for array, copy in before:
        if array.flags.writeable:
            array[...] = copy
    try:
        got = getattr(fe, name)(**arguments)
    except Exception as error:
        return type(error), str(error)
    return [None if member is None else np.array(member) for member in judge.members_of(got).values()]


def in_words(outcome):
    """The error; or of each member what makes it the same."""
    if isinstance(outcome, tuple):
        return outcome
    return [None if x is None else (x.dtype, x.shape, x.strides, x.tobytes()) for x in outcome]


def test_random_calls_again(by_rules):
    """Right and wrong ones, over each other's memory: three times, of which the last two may be known."""
    source, known = calls.Calls(7), 0
    for number in range(4000):
        name, arguments = source[number]
        if name not in _losses.doors:
            continue
        before = snapshot(arguments)
        _core.forget()
        first = outcome(name, arguments, before)
        by_rules.clear()
        for _ in range(2):
            again = outcome(name, arguments, before)
            assert in_words(again) == in_words(first), f"{name} --from {number}"
        known += not by_rules
    assert known > 200, known


LINEAR = [name for name in _losses.doors if any(scale.required for scale in declaration(name).all_scales)]


@pytest.mark.parametrize("name", LINEAR)
def test_a_bad_scale_in_a_known_call_is_named(name):
    passed = {declared.forms(scale)[-1] for scale in declaration(name).all_scales}
    first = {key: x for key, x in arguments_of(name).items() if key not in passed}
    scales = [declared.forms(scale)[0] for scale in declaration(name).all_scales if scale.required]
    first |= {key: fortran(array()) for key in scales}
    getattr(fe, name)(**first)
    getattr(fe, name)(**first)
    first[scales[0]] = fortran(array())
    first[scales[0]][1, 2, 3] = -1.0
    with pytest.raises(ValueError, match=rf"{scales[0]} must be > 0.*\[1, 2, 3\]"):
        getattr(fe, name)(**first)


def test_numbers_in_the_place_of_arrays_are_looked_at():
    x = fortran(array())
    for var in (2.0, 3.0, 4):
        assert fe.gaussian_nll(x, x, var=var)[0, 0] == pytest.approx(2.5 * np.log(2 * np.pi * var), rel=1e-6)
    with pytest.raises(ValueError, match=r"var is 1e\+60.*float32"):
        fe.gaussian_nll(x, x, var=1e60)
    with pytest.raises(ValueError, match="var must be > 0"):
        fe.gaussian_nll(x, x, var=-2.0)
    assert fe.gaussian_nll(x, x, var=np.float64(2.0)).dtype == np.float64
    assert fe.gaussian_nll(x, x, var=np.float32(2.0)).dtype == np.float32


def test_outputs_over_inputs_are_seen_in_a_known_call():
    x, mean = fortran(array()), fortran(array())
    want = fe.gaussian_nll_grad(x, mean, var=2.0, wrt="mean").mean
    for out in (fortran(array()), mean, x):
        one, two = x.copy("F"), mean.copy("F")
        place = one if out is x else two if out is mean else out
        got = fe.gaussian_nll_grad(one, two, var=2.0, wrt="mean", out=(None, None, place, None)).mean
        assert got is place
        np.testing.assert_array_equal(got, want)


def test_an_output_that_overlaps_a_later_part_of_an_input_is_seen_in_a_known_call():
    """It would be read after it was written."""
    buffer, mean = array((9000, 3)), array((8000, 3))
    x, options = buffer[:8000], {"var": 2.0, "wrt": "mean", "axis": (-1,)}
    want = fe.gaussian_nll_grad(x.copy(), mean, **options).mean
    fe.gaussian_nll_grad(x.copy(), mean, **options, out=(None, None, np.empty_like(mean), None))
    got = fe.gaussian_nll_grad(x, mean, **options, out=(None, None, buffer[1000:], None)).mean
    np.testing.assert_array_equal(got, want)


def read_only(x):
    x.flags.writeable = False
    return x


class Odd(np.ndarray):
    pass


#: What may be passed in place of any argument
ODDITIES = {
    "None": None,
    "(None,)": (None,),
    "()": (),
    "a list": [1.0],
    "text": "none",
    "other text": "mean",
    "True": True,
    "0": 0,
    "2.0": 2.0,
    "-1": -1,
    "NaN": np.nan,
    "inf": np.inf,
    "1e300": 1e300,
    "2**60": 2**60,
    "10**400": 10**400,
    "float32": np.float32(0.5),
    "float64": np.float64(0.5),
    "int64": np.int64(1),
    "bool_": np.True_,
    "a 0-d array": np.array(0.5, np.float32),
    "another": np.array(0.5),
    "one-element tuple": (array(),),
    "array": array(),
    "Fortran": fortran(array()),
    "read-only": read_only(fortran(array())),
    "double": array(dtype=np.float64),
    "int64s": array(dtype=np.int64),
    "booleans": array() > 0.8,
    "rows": array(SHAPE[:-1]),
    "features": array(SHAPE[-1:]),
    "column": array((*SHAPE[:-1], 1)),
    "empty": array((0, 3, 5)),
    "object": array().astype(object),
    "complex": array().astype(complex),
    "a subclass": array().view(Odd),
    "nine axes": array((1,) * 9),
    "unaligned": np.frombuffer(bytes(241), np.uint8)[1:].view(np.float32).reshape(SHAPE),
    "three": (None, None, None),
    "four": (None,) * 4,
    "five": (None,) * 5,
    "ten": (None,) * 10,
    "four of lists": [None] * 4,
    "names": ("mean", "scale"),
    "a name twice": ("mean", "mean"),
    "a list of names": ["mean"],
}


@pytest.mark.parametrize("name", _losses.doors)
def test_what_differs_from_a_known_call_in_one_argument_is_as_the_rules_have_it(name):
    given = {key: fortran(x) if isinstance(x, np.ndarray) else x for key, x in arguments_of(name).items()}
    for key, (what, odd) in itertools.product(PARAMETERS[name], ODDITIES.items()):
        _core.forget()
        want = outcome(name, given | {key: odd}, [])
        _core.forget()
        for _ in range(2):
            getattr(fe, name)(**given)
        for _ in range(2):
            assert in_words(outcome(name, given | {key: odd}, [])) == in_words(want), f"{key} is {what}"


def test_what_is_kept_is_bounded():
    """Of some hundred calls, whatever they were."""
    _core.forget()
    tracemalloc.start()
    try:
        for n in range(1, 2000):
            fe.gaussian_nll(np.zeros((n, 2)), np.ones((n, 2)), var=1.0, axis=0)
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()
        _core.forget()
