"""The examples run, in a small setting, and say what they should."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastelbo as fe

EXAMPLES = Path(__file__).parents[1] / "examples"
for package in ("sklearn", "matplotlib", "rich", "onnx", "onnxruntime"):
    pytest.importorskip(package, reason="the examples need more than NumPy: pip install '.[examples]'")


def run(folder, script, *options) -> str:
    """What it prints; it writes to the folder alone."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(folder / "matplotlib")}
    command = [sys.executable, EXAMPLES / script, *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_png(path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_vae_digits(tmp_path):
    options = ("--epochs", "3", "--samples", "2", "--dtype", "float64", "--save", "w.npz")
    printed = run(tmp_path, "vae_digits.py", *options)
    lines = re.findall(r"epoch +\d: test -ELBO +(\S+) nats an image = NLL +(\S+) \+ KL +(\S+)\n", printed)
    losses = np.array(lines, float)
    assert losses.shape == (3, 3)
    assert (np.diff(losses[:, 0]) < 0).all()
    assert abs(losses[:, 0] - losses[:, 1] - losses[:, 2]).max() <= 0.015 + 1e-9  # three roundings to 0.01
    with np.load(tmp_path / "w.npz") as weights:
        assert {w.dtype for w in weights.values()} == {np.dtype(np.float64)}
    assert run(tmp_path, "vae_digits.py", *options) == printed
    assert run(tmp_path, "vae_digits.py", *options, "--seed", "1") != printed


@pytest.mark.parametrize("n_latent", ["1", "2", "3"])
def test_picture_of_any_latent_space(tmp_path, n_latent):
    run(tmp_path, "vae_digits.py", "--epochs", "1", "--latent", n_latent, "--plot", "p.png")
    assert is_png(tmp_path / "p.png")


def test_score_onnx(tmp_path):
    options = ("--epochs", "20", "--left-out", "7", "2", "--plot", "p.png", "--save", "models")
    printed = run(tmp_path, "score_onnx.py", *options)
    (mean_auc,) = re.findall(r"mean +(\S+)", printed)
    assert float(mean_auc) > 0.7  # of 20 epochs; 0.5 is chance
    assert is_png(tmp_path / "p.png")
    assert {p.name for p in (tmp_path / "models").iterdir()} == {"without_2.onnx", "without_7.onnx"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx_runtime_and_numpy_agree(monkeypatch, dtype):
    """The exported model is the model; and its rows' and pixels' scores add up to its loss."""
    monkeypatch.syspath_prepend(EXAMPLES)
    names = "vae_digits", "vae_onnx", "score_onnx", "onnxruntime"
    vae_digits, vae_onnx, score_onnx, onnxruntime = map(importlib.import_module, names)
    model = vae_digits.VAE(64, 3, np.random.default_rng(0), dtype)
    x = vae_digits.load(dtype).x_test
    session = onnxruntime.InferenceSession(vae_onnx.to_onnx(model))
    scores = score_onnx.score(session, x, np.random.default_rng(1))
    eps = np.random.default_rng(1).standard_normal((score_onnx.SAMPLES, len(x), 3)).astype(dtype)
    # Sums of up to 128 products and two more layers of them, in another order: 1000 eps is ample.
    tolerance = {"rel": 1000 * float(np.finfo(dtype).eps)}
    means = [member.mean(dtype=np.float64) for member in scores[:3]]
    assert means == pytest.approx(list(model.neg_elbo(x, eps)), **tolerance)
    assert scores.nll == pytest.approx(scores.pixels.sum(axis=-1), **tolerance)
    assert scores.value == pytest.approx(scores.nll + scores.kl, **tolerance)
    _, z_mean, z_logvar = model.encode(x)
    assert scores.kl == pytest.approx(fe.gaussian_kl(z_mean, logvar=z_logvar), **tolerance)
