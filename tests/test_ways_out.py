"""Messages whose way out depends on the loss, or on whether the argument is one number."""

import functools
import inspect
import re

import numpy as np
import pytest

import fastelbo as fe

A = np.zeros((4, 3))
student = functools.partial(fe.student_t_nll_grad, A, A, scale=1.0)
bins = functools.partial(fe.discretized_gaussian_nll_grad, A, A, std=1.0, bin=1.0)
nll = functools.partial(fe.gaussian_nll, A, A)
kl = functools.partial(fe.gaussian_kl_grad, A, var=1.0)

#: The whole message, with "…" for anything between
CASES = {
    "df": (student, {"df": -1}, "df must be > 0: df is -1.0 (inf is the Gaussian)"),
    "df, 0-d": (student, {"df": np.array(0.0)}, "df must be > 0: df is 0.0 (inf is the Gaussian)"),
    "df of features": (
        student,
        {"df": [1.0, 0.0, 1.0]},
        "df must be > 0: df[1] is 0.0 (inf is the Gaussian, use where to leave elements out)",
    ),
    "var": (nll, {"var": 0.0}, "var must be > 0: var is 0.0 (use min_var for a floor)"),
    "var of features": (
        nll,
        {"var": [1.0, 0.0, 1.0]},
        "var must be > 0: var[1] is 0.0 (use where to leave elements out, min_var for a floor)",
    ),
    "a negative var": (
        nll,
        {"var": -1.0},
        "var must be > 0: var is -1.0 (pass it as logvar if it is a logarithm)",
    ),
    "precision": (nll, {"precision": 0.0}, "precision must be > 0: precision is 0.0"),
    "no bin": (bins, {"bin": None}, "bin (None) has dtype object; …: pass a number"),
    "a string as bin": (bins, {"bin": "1"}, "bin has dtype <U1; …: pass a number"),
    "a complex number": (bins, {"low": 1j}, "low has dtype complex128; …: pass a number"),
    "a string as min_var": (nll, {"var": 1.0, "min_var": "1"}, "min_var has dtype <U1; …: pass a number"),
    "wrt df": (student, {"df": 1.0, "wrt": "df"}, "wrt must name some of …, not 'df'; df has no gradient"),
    "wrt bin": (bins, {"wrt": ("mean", "bin")}, "wrt must name some of …, not 'bin'; bin has no gradient"),
    "wrt weight": (kl, {"wrt": "weight"}, "wrt must …, not 'weight'; weight has no gradient"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_way_out(case):
    function, options, message = CASES[case]
    pattern = ".*".join(map(re.escape, message.split("…")))
    with pytest.raises((TypeError, ValueError), match=f"^{pattern}$"):
        function(**options)


#: What is said after how many there may be
MANY = {
    "gaussian_nll": ("s, x and mean, but 3", ", such as var=, std=, logvar=, logstd=, precision="),
    "gaussian_kl_grad": (", mean, but 2", ", such as var=, std=, logvar=, logstd=, precision="),
    "bernoulli_nll": ("s, x and logits, but 3", ""),
    "laplace_nll": ("s, x and mean, but 3", ", such as scale=, logscale="),
    "neg_elbo_grad": ("s, x, recon, z_mean, but 4", ", such as var=, std=, logvar=, logstd=, precision="),
}


@pytest.mark.parametrize("name", MANY)
def test_too_many_positional_arguments(name):
    """The names are told; the signature has no place for more of them."""
    names, keywords = MANY[name]
    for module in (fe, fe.reference):
        function = getattr(module, name)
        kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
        few = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
        assert inspect.Parameter.VAR_POSITIONAL not in kinds
        said = f"{name}() takes {few} positional argument{names} were given: pass others by keyword{keywords}"
        with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
            function(*[A] * few, 1.0)


def test_a_number_that_is_no_keyword():
    with pytest.raises(TypeError, match=r"missing 1 required keyword-only argument: 'df'$"):
        fe.student_t_nll(A, A, 3.0, scale=1.0)
    with pytest.raises(TypeError, match=r"pass others by keyword, such as df=, scale=, logscale=$"):
        fe.student_t_nll(A, A, 1.0, df=3.0)
