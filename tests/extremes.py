"""Random calls of the losses with extremes in every argument, each against 60 digits.

    python tests/extremes.py --calls 100000 [--seed S] [--from N] [--functions gaussian_nll,…] [--processes P]

Data, scales and factors (weight, beta, x_scale, min_var, and 1/N and 1/S by the shapes) are of any size that
the dtype has; half of the residuals are some σ, so that answers are numbers. Scales come in every shape, with
and without `where`, under every reduction. A result must have the class of the answer, finite or infinite,
and be within its bound: promises.py. `fastelbo.reference` is not asked, as float64 over- and underflows too.
Infinite and undefined arguments are test_special's. Call number n of a function and seed is always the same.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import math
import multiprocessing
import random
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import declared
import fastelbo as fe
import oracles
import promises
import signatures
import variance
from fastelbo._declare import EMPTY, FLOORS, Loss, Scale

NAMES = tuple(
    [
        name + suffix
        for name in (*declared.LOSSES, *declared.JOINTS, "optimal_nll")
        for suffix in ("", "_grad")
    ]
    + ["optimal_var"]
)
MOST_FAILURES = 5


class Calls:
    """Call number `n` of a function."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed = name, seed

    def __getitem__(self, number: int) -> dict[str, Any]:
        self.random = random.Random(f"{self.name} {self.seed} {number}")
        self.chance, self.pick = self.random.random, self.random.choice
        self.dtype = np.dtype(self.pick("fd"))
        self.limits = np.finfo(self.dtype)
        self.shape = (self.pick((1, 1, 2, 3)), self.pick((1, 2, 3)))
        self.given: dict[str, Any] = {}
        getattr(self, signatures.FUNCTIONS[self.name].loss)()
        self.options()
        return self.given

    # --- numbers

    def one(self, most: float | None = None) -> float:
        """Any number of the dtype, most of them ordinary ones."""
        most = float(self.limits.max) if most is None else most
        kind = self.chance()
        if kind < 0.45:
            return self.random.gauss(0, 2)
        if kind < 0.55:
            return self.pick((0.0, 0.0, -0.0, 1.0, most, -most, float(self.limits.tiny)))
        return self.pick((1, -1)) * min(self.decades(), most)

    def decades(self) -> float:
        """Of any size, subnormal ones among them."""
        low, high = (math.log10(float(end)) for end in (self.limits.smallest_subnormal, self.limits.max))
        return 10 ** self.random.uniform(low, high * (1 - 1e-12))

    def array(self, shape: tuple[int, ...], draw: Callable[[], float]) -> np.ndarray:
        values = [draw() for _ in range(math.prod(shape))]
        with np.errstate(all="ignore"):
            array = np.array(values, float).reshape(shape).astype(self.dtype)
        return np.clip(array, -self.limits.max, self.limits.max)

    def raw(self, form: str) -> float:
        """Of a scale: σ² about 1, or anything that the form can say."""
        if self.chance() < 0.5:
            return float(variance.raw_of(form, self.random.gauss(0, 1.5)))
        if declared.is_log(form):
            reach = 1.3 * math.log(float(self.limits.max))
            return self.random.uniform(-reach, reach) if self.chance() < 0.9 else self.one(1e6)
        return self.decades()

    def scale(self, scale: Scale, shape: tuple[int, ...]) -> Any:
        key = self.pick(declared.forms(scale))
        form = declared.form_of(key)
        own = tuple([self.pick((1, n)) for n in shape])[self.pick((0, 0, 0, len(shape))) :]
        raw = self.array(own, lambda: self.raw(form))
        if declared.is_linear(form):
            raw = np.maximum(raw, self.limits.smallest_subnormal)
        self.given[key] = raw if own else raw[()]
        return form, raw

    def near(self, centre: np.ndarray, form: str, raw: np.ndarray) -> np.ndarray:
        """`centre` and some σ, as far as these are numbers."""
        with np.errstate(all="ignore"):
            kind, k = variance.FORMS[form]
            wide = raw.astype(np.longdouble)
            sigma = wide ** (k / 2) if kind == "power" else np.exp(wide * k / 2)
            units = np.array([self.random.gauss(0, 3) for _ in range(centre.size)]).reshape(centre.shape)
            there = (centre + units * np.broadcast_to(sigma, centre.shape)).astype(self.dtype)
        return np.where(np.isfinite(there), there, centre)

    # --- arguments

    def two(self, one: str, two: str, shape: tuple[int, ...], form: str, raw: np.ndarray) -> None:
        first = self.array(shape, self.one)
        if self.chance() < 0.3:
            first[...] = 0
        second = self.near(first, form, raw) if self.chance() < 0.6 else self.array(shape, self.one)
        self.given |= {one: first, two: second}

    def loss(self) -> None:
        loss = signatures.FUNCTIONS[self.name].declared
        assert loss is not None
        one, two = loss.operands[:2]
        if not loss.scales:
            self.given |= {key: self.array(self.shape, self.one) for key in (one, two)}
            if self.chance() < 0.5:  # probabilities
                self.given[one] = np.clip(abs(self.given[one]), 0, 1)
            return
        form, raw = self.scale(loss.scales[0], self.shape)
        with_all = len(loss.scales) == 1 or self.chance() < 0.5
        for scale in loss.scales[1:] if with_all else ():
            form, raw = self.scale(scale, self.shape)
        if with_all:
            self.two(one, two, self.shape, form, raw)
        else:
            self.given[one] = self.array(self.shape, self.one)
        if loss.number:
            self.given[loss.number] = self.array(self.pick(((), self.shape[1:], self.shape)), self.positive)
            self.given[loss.number] = self.given[loss.number][()]
        self.of_call(loss)

    def positive(self) -> float:
        """Of any size, most of them ordinary."""
        if self.chance() < 0.6:
            return self.pick((1.0, 2.0, self.random.uniform(0.1, 30)))
        return max(self.decades(), float(self.limits.smallest_subnormal))

    def of_call(self, loss: Loss) -> None:
        """Numbers of the whole call, which have float32: a width, and the ends of a range."""
        for key, none in loss.parameters_of_call.items():
            if none is EMPTY:
                some = (0.25, 2.0, 10 ** self.random.uniform(-6, 6), 10 ** self.random.uniform(-30, 30))
                self.given[key] = float(np.float32(self.pick(some)))
            elif self.chance() < 0.5:
                end = abs(self.random.gauss(0, 2)) + 0.125
                self.given[key] = float(np.copysign(np.float32(end), none))

    def elbo(self) -> None:
        decoder, encoder, prior = signatures.FUNCTIONS[self.name].scales
        full = (*self.pick(((), (1,), (2,), (3,))), *self.shape)
        form, raw = self.scale(decoder, full)
        self.given["x"] = self.array(self.shape, self.one)
        centre = np.broadcast_to(self.given["x"], full)
        self.given["recon"] = (
            self.near(centre, form, raw) if self.chance() < 0.6 else self.array(full, self.one)
        )
        latents = (self.shape[0], self.pick((1, 2)))
        self.scale(encoder, latents)
        if self.chance() < 0.4:
            self.two("z_mean", "prior_mean", latents, *self.scale(prior, latents))
        else:
            self.given["z_mean"] = self.array(latents, self.one)

    def optimal(self) -> None:
        self.two("x", "mean", self.shape, "var", np.ones(()))

    variance = optimal

    def factor(self) -> float:
        """0, 1, a power of two, or any number of float32 that is one of the dtype too."""
        kind = self.chance()
        if kind < 0.3:
            return self.pick((0.0, 1.0, 0.5))
        number = 2.0 ** self.random.randrange(-120, 120) if kind < 0.5 else 10 ** self.random.uniform(-37, 38)
        return float(np.float32(number))

    def wide(self) -> float:
        """A factor beyond float32."""
        return self.pick((0.0, 1.0, 10 ** self.random.uniform(-120, 120)))

    def options(self) -> None:
        takes, given = set(signatures.PARAMETERS[self.name]), self.given
        given["axis"] = self.pick((-1, -1, -1, (), None)) if "z_mean" not in given else -1
        if "reduction" in takes:
            given["reduction"] = self.pick(("none", "sum", "mean"))
        if "beta" in takes:
            given["beta"] = self.pick((self.factor(), 10 ** self.random.uniform(-300, 300), 0.0))
        if "x_scale" in takes and self.chance() < 0.3:
            given["x_scale"] = self.factor() or 1.0
        if "full" in takes and self.chance() < 0.2:
            given["full"] = False
        for floor in [key for key in FLOORS if key in takes]:
            if self.chance() < 0.3:
                squared = 10 ** self.random.uniform(-300, 300)
                given[floor] = squared if floor == "min_var" else squared**0.5
        if "where" in takes and self.chance() < 0.25:
            frame = np.shape(given.get("recon", given.get("x", given.get("mean"))))
            mask = np.array([self.chance() < 0.7 for _ in range(math.prod(frame))])
            given["where"] = mask.reshape(frame)
        if "weight" in takes and self.chance() < 0.5:
            shape = self.shape
            if "z_mean" in given or (given["axis"] == -1 and self.chance() < 0.6):
                shape = shape[:1]
            given["weight"] = self.array(shape, self.factor)
            if self.chance() < 0.1:  # of float64 with float32 data: no factor is rounded first
                given["weight"] = np.reshape([self.wide() for _ in range(math.prod(shape))], shape)
        if "z_where" in takes and self.chance() < 0.25:
            latents = np.shape(given["z_mean"])
            given["z_where"] = np.reshape([self.chance() < 0.7 for _ in range(math.prod(latents))], latents)
        if "wrt" in takes:
            given["wrt"] = self.asked()

    def asked(self) -> tuple[str, ...]:
        fields = [field for field in signatures.FUNCTIONS[self.name].out if field not in signatures.VALUES]
        have = {"prior_mean": 0.0} | self.given
        fields = [
            field for field in fields if any(key in have for key in signatures.SCALES.get(field, [field]))
        ]
        return tuple(fields) if self.chance() < 0.7 else tuple(self.random.sample(fields, 1))


def judge(name: str, arguments: dict[str, Any]) -> bool:
    """Make the call and compare it; False where it has no answer, a gradient of the NLL at variance 0."""
    plain = {key: value for key, value in arguments.items() if key != "wrt"}
    if name == "optimal_nll_grad" and not arguments.get("min_var"):
        rest = ("full", "min_var", "reduction")
        mse = oracles.call("optimal_var", **{k: v for k, v in plain.items() if k not in rest})
        if np.any(mse["value"].value == 0):
            return False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = getattr(fe, name)(**arguments)
    promises.check(name, plain, got)
    return True


def run(name: str, seed: int, numbers: range, minutes: float = 1e6) -> tuple[str, int, list[str]]:
    """How many calls were compared, and what was wrong with those that failed, at most five of them."""
    calls, stop, made, failures = Calls(name, seed), time.monotonic() + 60 * minutes, 0, []
    for number in numbers:
        arguments = calls[number]
        try:
            made += judge(name, arguments)
        except Exception as error:
            shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items()).replace("\n", "")
            failures.append(
                f"{type(error).__name__}: {error}\n    {name}({shown})\n"
                f"    --functions {name} --seed {seed} --from {number}"
            )
        if len(failures) == MOST_FAILURES or time.monotonic() > stop:
            break
    return name, made, failures


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--calls", type=int, default=100_000, help="of all functions together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N")
    parser.add_argument("--functions", default=",".join(NAMES), metavar="NAMES")
    parser.add_argument("--processes", type=int, default=2, metavar="P")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop each function after so many")
    options = parser.parse_args()
    names = options.functions.split(",")
    if set(names) - set(NAMES):
        parser.error(f"--functions takes some of {','.join(NAMES)}")
    share = -(-options.calls // len(names))
    numbers, begin = range(options.first, options.first + share), time.monotonic()
    spawn, found = multiprocessing.get_context("spawn"), []
    with concurrent.futures.ProcessPoolExecutor(options.processes, spawn) as pool:  # it tells of a crash
        jobs = [pool.submit(run, name, options.seed, numbers, options.minutes) for name in names]
        for job in jobs:
            name, made, failures = job.result()
            found.append((made, len(failures)))
            print(f"{name:20} {made} compared, {len(failures)} wrong", flush=True)
            print(*failures, sep="\n", end="\n" if failures else "", file=sys.stderr)
    made, failed = (sum(column) for column in zip(*found, strict=True))
    print(f"seed {options.seed}: {made} calls of {len(names)} functions, {failed} wrong, in "
          f"{time.monotonic() - begin:.0f} s")  # fmt: skip
    return int(failed > 0 or made == 0)


if __name__ == "__main__":
    sys.exit(main())
