"""Every argument that is no array of real numbers: its exception, and a message with the way out."""

import re

import numpy as np
import pytest

import fastelbo as fe
from messages import pattern
from unit_calls import A, kl, kl_grad, nll, nll_grad

DAY = np.zeros((4, 3), "M8[D]")

BAD = {
    "complex": (A.astype(complex), "complex128"),
    "complex scalar": (1j, "complex128"),
    "object": (A.astype(object), "object"),
    "None": (None, "object"),
    "string": (np.full((4, 3), "1.0"), "<U3"),
    "bytes": (np.full((4, 3), b"1.0"), "S3"),
    "Python string": ("1.0", "<U3"),
    "datetime": (DAY, "datetime64"),
    "timedelta": (DAY - DAY, "timedelta64"),
    "longdouble": (A.astype(np.longdouble), str(np.dtype(np.longdouble))),
    "record": (np.zeros((4, 3), "f4,f4"), "f4"),
    "masked": (np.ma.masked_less(A, 0.5), "masked array"),
    "huge integers": ([[2**70] * 3] * 4, "object"),
}
ARGUMENTS = {
    "x": lambda bad: nll(x=bad),
    "mean": lambda bad: nll(mean=bad),
    "logvar": lambda bad: nll_grad(logvar=bad),
    "weight": lambda bad: nll(weight=bad),
    "min_var": lambda bad: nll(min_var=bad),
    "prior_mean": lambda bad: kl(prior_mean=bad),
    "prior_logstd": lambda bad: kl_grad(prior_logstd=bad),
    "where": lambda bad: kl(where=bad),
}


OPTIONAL = ("logvar", "prior_logstd", "weight", "where")  # where None means: not given


@pytest.mark.parametrize(
    ("argument", "kind"),
    [(name, kind) for name in ARGUMENTS for kind in BAD if not (kind == "None" and name in OPTIONAL)],
)
def test_dtypes_that_are_not_real(argument, kind):
    bad, dtype = BAD[kind]
    with pytest.raises(TypeError, match=pattern(f"{argument}…{dtype}")):
        ARGUMENTS[argument](bad)


def test_a_masked_array_is_told_its_way_out():
    with pytest.raises(TypeError, match=re.escape("pass mean.filled(...), or mean.data and")):
        nll(mean=np.ma.masked_array(A))
    with pytest.raises(TypeError, match="masked"):
        nll(x=np.ma.masked)


def test_a_ragged_list_names_its_argument():
    with pytest.raises(ValueError, match="mean does not make an array: "):
        nll(mean=[[1.0], [1.0, 2.0]])


def test_what_refuses_to_become_an_array_has_the_last_word():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("use tensor.detach().numpy()")

    with pytest.raises(RuntimeError, match="detach") as caught:
        nll(mean=Tensor())
    assert caught.value.__notes__ == ["raised by np.asarray(mean)"]


def test_bfloat16_of_another_library_is_told_its_way_out():
    class Tensor:
        dtype = "torch.bfloat16"  # as its str() is

        def __array__(self, dtype=None, copy=None):
            raise TypeError("Got unsupported ScalarType BFloat16")

    way_out = "pass mean.float().numpy(), or mean.view(torch.int16).numpy().view(ml_dtypes.bfloat16)"
    with pytest.raises(TypeError, match=pattern(f"mean is a tensor of bfloat16…{way_out}")) as caught:
        nll(mean=Tensor())
    assert "ScalarType" in str(caught.value.__cause__)


def test_a_column_with_missing_values_is_told_its_way_out():
    class Column:
        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, None])

        def to_numpy(self, dtype, na_value):
            return np.array([1.0, na_value], dtype)

        def notna(self):
            return np.array([True, False])

    x = Column()
    message = "x has dtype object…pass x.to_numpy(np.float64, na_value=np.nan) and…where=x.notna()"
    with pytest.raises(TypeError, match=pattern(message)):
        fe.gaussian_nll(x, 0.0, var=1.0)
    way_out = fe.gaussian_nll(x.to_numpy(np.float64, na_value=np.nan), 0.0, var=1.0, where=x.notna())
    assert way_out == fe.gaussian_nll([1.0], 0.0, var=1.0)


def test_a_scalar_that_becomes_0_is_told_its_way_out():
    x = np.zeros((4, 3), np.float32)
    for function in (nll_grad, kl):
        data = {"x": x, "mean": x} if function is nll_grad else {"mean": x}
        with pytest.raises(
            ValueError, match=pattern("std is 1e-50, which is 0 in float32 (pass np.float64(std)")
        ):
            function(**data, std=1e-50)
        function(**data, std=np.float64(1e-50))
