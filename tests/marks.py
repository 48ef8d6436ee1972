"""Parametrisations that several test files share."""

import itertools

import numpy as np
import pytest

import variance

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
#: The five forms of a scale, and the two of a location family
NAMES = pytest.mark.parametrize("name", variance.SCALES)
TWO_FORMS = pytest.mark.parametrize("form", ["scale", "logscale"])
REDUCTIONS = pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
#: Of the decoder, for each observation; None: recon has no axis of them
SAMPLES = pytest.mark.parametrize("samples", [None, 1, 3])
#: Of free bits
MODES = list(itertools.product(("dim", "row"), ("first", "last")))
PER_AND_AVERAGE = pytest.mark.parametrize(("per", "average"), MODES)
#: What NumPy would say under np.errstate(all=noisy): nothing must be
NOISY = pytest.mark.parametrize("noisy", ["raise", "warn"])
