"""The same bits of the negative ELBO for every number of threads, split of the batch, and layout."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
import strategies
import sums
from elbos import WRT, inputs
from marks import DTYPES, REDUCTIONS


def awkward(dtype, samples=9, rows=33, features=700, latents=70) -> dict:
    """Arguments whose sums are nothing but rounding errors."""
    data, z = (rows, features), (rows, latents)
    return {
        "x": sums.wide(0, data, dtype, -1), "recon": sums.wide(1, (samples, *data), dtype, -1),
        "var": sums.scale(2, data[1:], dtype), "z_mean": sums.wide(3, z, dtype, -1),
        "z_var": sums.scale(4, z, dtype), "prior_mean": sums.wide(5, z[1:], dtype, -1),
        "prior_var": sums.scale(6, (1, z[1]), dtype),
    }  # fmt: skip


@DTYPES
@REDUCTIONS
@pytest.mark.usefixtures("restored")
def test_the_number_of_threads_changes_no_bit(dtype, reduction):
    found = awkward(dtype)
    assert found["recon"].size > 1 << 17
    results = []
    for threads in (1, 2, 7):
        fe.set_num_threads(threads)
        results.append(fe.neg_elbo_grad(**found, reduction=reduction, beta=0.3, wrt=WRT))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert_array_equal(one, two)


@DTYPES
def test_splits_of_the_batch_change_no_bit_of_rows(dtype):
    """Rows and unbroadcast gradients, batch by batch; and what is asked for changes none either."""
    found = awkward(dtype, features=17)
    want = fe.neg_elbo_grad(**found, reduction="none", beta=0.3, wrt=WRT)
    for name in WRT:
        got = fe.neg_elbo_grad(**found, reduction="none", beta=0.3, wrt=name)
        assert_array_equal(getattr(got, name), getattr(want, name))
        assert_array_equal(got[:3], want[:3])
    for ends in itertools.pairwise((0, 1, 2, 7, 33)):
        part = slice(*ends)
        mine = found | {name: found[name][part] for name in ("x", "z_mean", "z_var")}
        mine["recon"] = found["recon"][:, part]
        got = fe.neg_elbo_grad(**mine, reduction="none", beta=0.3, wrt=WRT)
        assert_array_equal(got[:3], [rows[part] for rows in want[:3]])
        assert_array_equal(got.x, want.x[part])
        assert_array_equal(got.recon, want.recon[:, part])
        assert_array_equal(got.z_mean, want.z_mean[part])


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_layouts_change_no_bit(layout):
    found = inputs(np.float32, 3)
    want = fe.neg_elbo_grad(**found, wrt=WRT)
    got = fe.neg_elbo_grad(**{name: strategies.LAYOUTS[layout](a) for name, a in found.items()}, wrt=WRT)
    for one, two in zip(got, want, strict=True):
        assert_array_equal(one, two)
