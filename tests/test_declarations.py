"""Mistakes in a declaration: each is told at import, in a sentence with the loss and the way out."""

import dataclasses
import re

import pytest

from fastelbo import _families
from fastelbo._declare import EMPTY, Loss, Scale
from fastelbo._results import KLGrad

GOOD = _families.LOSSES["laplace_nll"]
FORMS = ("", "scale", "", "logscale", "")

#: what is passed, and what the message must say (in this order, "…" for anything between)
MISTAKES = {
    "no name": ({"name": ""}, "of a loss (fastelbo/_families/) has no `name`"),
    "no kernel": ({"kernel": ""}, "has no `kernel`, its name in the table of src/losses/losses.h"),
    "no operands": ({"operands": ()}, "has no `operands`, the names of its gradients"),
    "no positional": ({"positional": ()}, "has no `positional`, the parameters that need no keyword"),
    "no result": ({"result": None}, "has no `result`, the named tuple of its value and gradients"),
    "no wrt": ({"wrt": ()}, "has no `wrt`, the gradients that are computed where a call names none"),
    "no maths": ({"maths": None}, "has no `maths`, its reference"),
    "no doc": ({"doc": ""}, "has no `doc`, the docstring"),
    "no grad_doc": ({"grad_doc": ""}, "has no `grad_doc`, the docstring"),
    "an option that does not exist": (
        {"options": frozenset(("x_scale", "min_scal"))},
        "has 'min_scal' among its options, which is none of 'x_scale', …: did you mean 'min_scale'?",
    ),
    "an option like no other": ({"options": frozenset(("colour",))}, "has 'colour' among its options"),
    "options without a comma": (
        {"options": frozenset("x_scale")},
        "among its options…is a comma missing, as in frozenset(('x_scale',))?",
    ),
    "options as a tuple": (
        {"options": ("x_scale",)},
        "options=('x_scale',); it must be a frozenset of names",
    ),
    "two floors": (
        {"options": frozenset(("min_var", "min_scale"))},
        "'min_scale', 'min_var': a scale has one floor",
    ),
    "operands without a comma": ({"operands": "x"}, "has operands='x'; it must be a tuple of names, a comma"),
    "too few operands": (
        {"operands": ("x", "mean")},
        "has operands=('x', 'mean')…for each of the two arguments of data and of the scales, 3 in all",
    ),
    "too many operands": ({"operands": ("x", "mean", "scale", "df")}, "has operands=…3 in all"),
    "places that are no places": ({"places": (0, 1, 1)}, "places=(0, 1, 1): …a place from 0 to 3 for each"),
    "another loss's result": (
        {"result": KLGrad},
        "'prior_mean', 'prior_scale', which must be a named tuple of 'value', 'x', 'mean', 'scale'",
    ),
    "a result that is no named tuple": ({"result": dict}, "has a result of no names, which must be"),
    "positional without a comma": ({"positional": "x"}, "has positional='x'; it must be a tuple of names"),
    "positional misspelt": (
        {"positional": ("x", "meen")},
        "has 'meen' among its positional parameters, which is none of 'x', 'mean': did you mean 'mean'?",
    ),
    "positional too short": (
        {"positional": ("x",)},
        "has 'mean' neither among its positional parameters nor",
    ),
    "defaults misspelt": ({"defaults": {"meen": 0.0}}, "has 'meen' among its defaults"),
    "wrt without a comma": ({"wrt": "mean"}, "has wrt='mean'; it must be a tuple of names, a comma"),
    "wrt a form": (
        {"wrt": ("mean", "logscale")},
        "has 'logscale' among its wrt, which is none of 'x', 'mean', 'scale': did you mean 'scale'?",
    ),
    "wrt the value": ({"wrt": ("value",)}, "has 'value' among its wrt"),
    "alike misspelt": ({"alike": {"loc": ("meen",)}}, "has 'meen' among its alike…did you mean 'mean'?"),
    "scales without a comma": ({"scales": Scale(FORMS)}, "has scales=Scale(…; it must be a tuple"),
    "three scales": ({"scales": (Scale(),) * 3}, "it must be a tuple of at most two"),
    "too few forms": (
        {"scales": (Scale(FORMS[:4]),)},
        "has a Scale of the forms…there must be 5, in the order of var",
    ),
    "no forms": ({"scales": (Scale(("",) * 5),)}, "has a Scale of the forms…empty for each that it lacks"),
    "forms without a comma": ({"scales": (Scale("scale"),)}, "has a Scale of the forms 'scale'"),
    "a number beside a prior": (
        {
            "number": "df",
            "result": KLGrad,
            "operands": KLGrad._fields[1:],
            "positional": KLGrad._fields[1:3],
            "scales": (Scale(), Scale(prefix="prior_")),
        },
        "has a `number` without a scale or beside a prior's",
    ),
    "two parameters of a call": ({"parameters_of_call": {"bin": EMPTY, "low": 0.0}}, "other than three"),
    "a name twice": ({"number": "scale"}, "makes 2 parameters of the name 'scale'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told(mistake):
    fields, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=".*".join(map(re.escape, message.split("…")))) as caught:
        dataclasses.replace(GOOD, **fields)
    said = str(caught.value)
    assert said.startswith(
        f"the declaration of {fields.get('name', 'laplace_nll') or 'a loss'} (fastelbo/_families/) "
    )
    assert "\n" not in said


def test_what_is_no_public_loss_may_lack_all():
    assert not Loss(public=False).operands


def test_two_losses_of_one_name_are_told():
    declared = [*_families.LOSSES.values(), GOOD]  # the same, as where a module imports it
    assert _families.by_name(declared, Loss) == _families.LOSSES
    with pytest.raises(
        ValueError, match=r"two declarations in fastelbo/_families/ have the name laplace_nll"
    ):
        _families.by_name([*declared, dataclasses.replace(GOOD, kernel="student_t")], Loss)
