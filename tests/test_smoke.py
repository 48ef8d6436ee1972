"""Is this installation sound? A second's worth, for every build: with OpenMP or without, a wheel or a tree.

It needs NumPy and pytest alone: `pytest --noconftest test_smoke.py`, from any folder.
"""

import subprocess
import sys

import numpy as np
import pytest

import fastelbo as fe

RNG = np.random.default_rng(8)
X, MEAN = RNG.normal(size=(2, 300, 784))  # so many elements that a build with OpenMP uses threads
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def close(got, want, dtype) -> bool:
    return np.allclose(got, want, rtol=100 * np.finfo(dtype).eps)


@DTYPES
def test_the_mse_identity(dtype):
    x, mean = X.astype(dtype), MEAN.astype(dtype)
    sse, count, var = np.sum((x - mean) ** 2, axis=-1, dtype=np.float64), x.shape[-1], dtype(0.04)
    want = sse / (2 * var) + count / 2 * np.log(2 * np.pi * var)
    assert close(fe.gaussian_nll(x, mean, var=var), want, dtype)
    assert close(fe.gaussian_nll(x, mean, logvar=np.log(np.full_like(x, var))), want, dtype)
    best = fe.optimal_var(x, mean)
    assert close(best, sse.mean() / count, dtype)
    assert close(
        fe.gaussian_nll(x, mean, var=best, axis=None), (1 + np.log(2 * np.pi * best)) / 2 * x.size, dtype
    )


FORMS = {
    "var": lambda var: var,
    "std": np.sqrt,
    "logvar": np.log,
    "logstd": lambda var: np.log(var) / 2,
    "precision": lambda var: 1 / var,
}


@DTYPES
@pytest.mark.parametrize("form", FORMS)
def test_gradients_point_uphill(form, dtype):
    """Away from the data, from the prior's mean, and from a variance of r² (NLL) or 1 (KL)."""
    data, mean = np.zeros((1, 2), dtype), np.array([[3, -3]], dtype)
    for var, sign in ((0.25, -1), (400.0, 1)):
        scale = {form: dtype(FORMS[form](var))}
        nll = fe.gaussian_nll_grad(data, mean, **scale, wrt=("x", "mean", "scale"))
        kl = fe.gaussian_kl_grad(mean, **scale)
        assert np.array_equal(nll.x, -nll.mean)
        for got in (nll, kl):
            assert np.array_equal(np.sign(got.mean), [[1, -1]])
            assert np.sign(got.scale) == (-sign if form == "precision" else sign)


@DTYPES
def test_the_kl_of_equals_is_zero(dtype):
    mean, var = X.astype(dtype), np.exp(MEAN).astype(dtype)
    assert not fe.gaussian_kl(mean, var=var, prior_mean=mean, prior_var=var).any()
    assert (fe.gaussian_kl(mean, var=var) > 0).all()


def test_results_agree_with_the_reference():
    got, want = (module.gaussian_nll_grad(X, MEAN, std=np.exp(MEAN[0])) for module in (fe, fe.reference))
    assert got._fields == want._fields == ("value", "x", "mean", "scale")
    assert got.x is want.x is None
    assert all(np.allclose(a, b, rtol=1e-12) for a, b in zip(got, want, strict=True) if b is not None)


def test_a_variance_of_zero_is_an_error():
    var = np.ones((4, 3))
    var[2, 1] = 0
    with pytest.raises(ValueError, match=r"^var must be > 0: var\[2, 1\] is 0\.0"):
        fe.gaussian_nll(np.zeros((4, 3)), 0.0, var=var)
    with pytest.raises(TypeError, match="exactly one of var, std, logvar, logstd, precision"):
        fe.gaussian_kl(0.0)
    with pytest.raises(ValueError, match=r"\(32,\).*\(32, 1\)"):
        fe.gaussian_nll(np.zeros(32), np.zeros((32, 1)), var=1.0)


def test_threads():
    """Without OpenMP there is one, whatever is asked; results never depend on it."""
    before = fe.get_num_threads()
    assert before >= 1
    want = fe.gaussian_nll_grad(X, MEAN, logvar=0.5)
    try:
        for n in (1, 2, 3):
            fe.set_num_threads(n)
            assert fe.get_num_threads() in (n, 1)
            got = fe.gaussian_nll_grad(X, MEAN, logvar=0.5)
            assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True) if b is not None)
        with pytest.raises(ValueError, match="at least 1"):
            fe.set_num_threads(0)
    finally:
        fe.set_num_threads(None)
    assert fe.get_num_threads() == before


def test_show_config(capsys):
    fe.show_config()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["fastelbo", fe.__version__]
    facts = {line.split("  ")[0]: line for line in lines}
    assert ("none: " in facts["OpenMP"]) == (fe._core.openmp_version() == 0)
    assert facts["threads"].split()[-1] == str(fe.get_num_threads())


def test_the_import_is_quiet_and_leaves_subnormals_alone():
    """In a fresh process: no warning, no output, and no flush to zero, which -ffast-math would switch on."""
    code = "import fastelbo; tiny = float('2.3e-308'); assert 0 < tiny / 2 < tiny"
    process = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
