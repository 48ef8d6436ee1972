"""Threads with the smallest stacks that Python gives: no call may need more, whoever takes it."""

import pytest

import fastelbo as fe
import processes

CODE = """
import sys
import threading

import numpy as np

import fastelbo as fe

rng = np.random.default_rng(3)


def calls(dtype, rows, columns):
    def some(*shape):
        return rng.uniform(0.5, 1.5, shape).astype(dtype)

    x, mean, scale, weight = some(rows, columns), some(rows, columns), some(rows, columns), some(rows)
    samples, each, mask = some(2, rows, columns), scale[:, :1].copy(), x > 0.7
    wrt = ("x", "mean", "scale")
    for name in ("var", "std", "logvar", "logstd", "precision"):
        for part in (scale, scale[0], each, 1.5):
            yield "gaussian_nll", (x, mean), {name: part}
            yield "gaussian_nll_grad", (x, mean), {name: part, "wrt": wrt}
            yield "gaussian_nll_grad", (x, mean), {
                name: part, "wrt": wrt, "weight": weight, "where": mask, "min_var": 0.1, "reduction": "mean"
            }
            yield "gaussian_kl", (x,), {name: part}
            yield "gaussian_kl_grad", (x,), {name: part, "prior_mean": mean, "prior_std": scale}
            yield "neg_elbo", (x, mean, x), {name: part, "z_" + name: part}
            yield "neg_elbo_grad", (x, samples, x), {name: part, "z_" + name: part, "prior_" + name: part}
    yield "gaussian_nll", (x[::-1], mean[:, ::-1]), {"var": scale, "axis": 0, "x_scale": 0.5}
    yield "gaussian_nll_grad", (x, samples), {"var": scale[0], "axis": None, "wrt": wrt}
    yield "neg_elbo_grad", (x, samples, x), {"var": scale, "z_var": 1.0, "weight": weight, "where": mask}
    yield "bernoulli_nll", (x, mean), {"weight": weight}
    yield "bernoulli_nll_grad", (x, mean), {"where": mask, "wrt": ("x", "logits")}
    for suffix in ("", "_grad"):
        yield "laplace_nll" + suffix, (x, mean), {"scale": scale, "weight": weight, "reduction": "sum"}
        yield "student_t_nll" + suffix, (x, mean), {"logscale": scale, "df": 3.0, "where": mask}
        yield "discretized_gaussian_nll" + suffix, (x, mean), {"std": scale, "bin": 0.1, "low": 0.0}
    yield "optimal_var", (x, mean), {}
    yield "optimal_nll", (x, mean), {}
    yield "optimal_nll_grad", (x, mean), {}
    yield "free_bits", (x, 0.5), {"per": "dim", "average": "first"}
    yield "iwae_bound", (some(3, rows),), {}
    yield "implied_objective", ("sum", "sum"), {}
    yield "reparameterize", (x,), {"var": scale, "rng": np.random.default_rng(1), "n_samples": 2}
    yield "reparameterize_grad", (samples, samples), {"var": scale}
    yield "get_num_threads", (), {}
    yield "show_config", (), {}
    yield "set_num_threads", (2,), {}


def attempt(name, args, kwargs):
    try:
        getattr(fe, name)(*args, **kwargs)
    except Exception as error:
        failed.append((name, error))


failed = []
some = [call for dtype in ("f4", "f8") for shape in ((1, 2), (300, 800)) for call in calls(dtype, *shape)]
for call in some:  # what a first call imports takes more
    attempt(*call)
threading.stack_size(SIZE)
for call in some:
    print(*call[0::2], file=sys.stderr)
    thread = threading.Thread(target=attempt, args=call)
    thread.start()
    thread.join()
print(failed)
print(sorted({call[0] for call in some}))
"""


@pytest.mark.parametrize("kilobytes", [32, 64])
def test_small_stacks(kilobytes):
    failed, names = processes.run(
        CODE.replace("SIZE", str(kilobytes << 10)), FASTELBO_NUM_THREADS="2"
    ).splitlines()[-2:]
    assert failed == "[]"
    functions = {name for name in fe.__all__ if callable(getattr(fe, name)) and name[0].islower()}
    assert set(eval(names)) == functions
