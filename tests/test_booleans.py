"""Booleans of any byte, as views of files and masks from C have them: true is 1."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
from marks import DTYPES

BYTES = np.uint8([2, 0, 1, 255])
TRUTH = BYTES.view(bool)


@DTYPES
def test_true_is_1_whatever_its_byte(dtype):
    clean, zeros, ones = TRUTH.copy(), np.zeros(4, dtype), np.ones(4, dtype)
    clean[...] = BYTES != 0
    assert clean.view(np.uint8).max() == 1
    calls = [
        lambda b: fe.gaussian_nll(b, zeros, var=1.0, full=False),
        lambda b: fe.gaussian_nll(zeros, b, var=1.0, full=False),
        lambda b: fe.gaussian_nll(b, zeros, var=1.0, x_scale=0.5),
        lambda b: fe.gaussian_nll(np.tile(b, (9, 40)), np.zeros((9, 160), dtype), var=1.0),
        lambda b: fe.gaussian_nll(np.tile(b, 40)[::2], np.zeros(80, dtype), var=1.0),
        lambda b: fe.gaussian_nll(ones, zeros, logvar=b),
        lambda b: fe.gaussian_nll(ones, zeros, var=1.0, weight=b, axis=()),
        lambda b: fe.gaussian_nll(ones, zeros, var=1.0, where=b),
        lambda b: fe.gaussian_nll_grad(ones, zeros, logvar=ones, where=b).scale,
        lambda b: fe.bernoulli_nll(b, ones),
        lambda b: fe.gaussian_kl(b, logvar=zeros, prior_mean=ones),
        lambda b: fe.neg_elbo(b[None], zeros[None], zeros[None], var=1.0, z_logvar=b).value,
        lambda b: fe.gaussian_nll(ones[:, None], zeros[:, None], var=1.0, weight=b),
        lambda b: fe.gaussian_nll(ones[:, None], zeros[:, None], var=1.0, where=b[:, None]),
        lambda b: fe.optimal_var(b, zeros),
        lambda b: fe.optimal_nll(b, zeros),
        lambda b: fe.reparameterize(b, logvar=b, eps=b).z,
        lambda b: fe.free_bits(b[None], 0.0, per="dim", average="first").value,
        lambda b: fe.gaussian_nll(b[3], dtype(0), var=1.0, full=False),
        lambda b: fe.gaussian_nll(b[3:].reshape(()), dtype(0), var=1.0, full=False),
    ]
    for i, call in enumerate(calls):
        assert_array_equal(call(TRUTH), call(clean), err_msg=str(i))
    assert calls[0](TRUTH) == 1.5


def test_the_error_names_the_first_element_that_any_true_byte_keeps():
    var = np.array([1.0, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"var\[2\]"):
        fe.gaussian_nll(np.zeros(4), 0.0, var=var, where=TRUTH)
    with pytest.raises(ValueError, match=r"var\[1\] is False"):
        fe.gaussian_nll(np.zeros(4), 0.0, var=TRUTH)
