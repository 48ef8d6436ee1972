"""exp, log, expm1, log1p and the KL's h against what they should be: the worst error, in ULP, and where.

    python tests/exhaustive.py [--functions exp,h-std] [--step K] [--random N] [--exact M] [--processes P]

float32 takes all 2³² inputs (every K-th with --step) against NumPy's float64 functions, which are right to
2⁻²⁷ ULP of float32. float64 takes N random inputs against those of long double, right to 2⁻⁹ ULP of float64
where it has 64 bits; the worst of them, the hard inputs, and M more random ones, against mpmath at 60 digits.
A ULP is the distance of the floats around the exact answer, for subnormal ones too. Exits with 1 if an error
is beyond 1.0 ULP or a special value (NaN, an infinity, a zero and its sign) is wrong. FASTELBO_ISA chooses
the kernels.

h(log σ²) = σ² − 1 − log σ² is the KL's part of a scale, by each of its forms: h-var … h-precision, value
and gradient, by the public function. float32 takes all of `H_RANGES`, float64 random inputs, and hard ones:
powers of two, √2·2ᵏ, 1 and where the way changes, with their neighbours. The wider type computes it by a
series of its own where it cancels. The bounds are the policy's: 4 ULP for a log form, 6 for the others; of a
gradient 6 eps of the largest term of its formula.
"""

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from mpmath import mp, mpf

import fastelbo as fe
import oracles
import rounding
import variance
from fastelbo import _core

FUNCTIONS = ("exp", "log", "expm1", "log1p")
BOUND = 1.0
BLOCK = 1 << 14  # inputs at a time: their float64 arrays stay in the first caches
DIGITS = 60
#: Where the answers are neither trivial nor out of range
RANGES = {
    "exp": [(-746.0, 710.0), (-1.0, 1.0)],
    "log": [(0.5, 2.0), (0.0, 100.0)],
    "expm1": [(-40.0, 710.0), (-1.2, 1.2)],
    "log1p": [(-1.0, 1.0), (0.0, 100.0)],
}


class Worst(NamedTuple):
    """The greatest error in ULP, inf for a wrong special value; its input, answer, reference; all inputs."""

    ulps: float
    x: float
    got: float
    want: float
    count: int

    def __str__(self) -> str:
        return f"{self.ulps:.4f} ULP at {self.x.hex()} ({self.x!r}): {self.got!r}, not {self.want!r}"


def worst_of(parts: Iterable[Worst]) -> Worst:
    parts = list(parts)
    return max(parts)._replace(count=sum(part.count for part in parts))


# --- by the next wider type ---------------------------------------------------------------------------------

WIDER = {"f": np.float64, "d": np.longdouble}
#: Where this is False, WIDER is of no use for float64
HAS_WIDER = np.finfo(np.longdouble).nmant >= 63


def worst_by_wider(name: str, x: np.ndarray) -> Worst:
    """An infinite answer counts as 2¹²⁸ (2¹⁰²⁴), the next number after the largest float."""
    got, limits, wide = _core.elementary(name, x), np.finfo(x.dtype), WIDER[x.dtype.char]
    last, end = limits.nmant + 1, np.ldexp(wide(1), limits.maxexp)
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x.astype(wide))
        answer, exact = np.clip(got.astype(wide), -end, end), np.clip(want, -end, end)
        exponent = np.clip(np.frexp(exact)[1] - last, limits.minexp - limits.nmant, limits.maxexp - last)
        unit = np.ldexp(wide(1), exponent)
        ulps = np.abs(answer - exact) / unit
    ulps[np.isnan(got) & np.isnan(want)] = 0
    wrong = np.isnan(got) != np.isnan(want)
    wrong |= (np.abs(want) >= end) & np.isfinite(got)
    wrong |= (np.signbit(got) != np.signbit(want)) & ~np.isnan(want)
    ulps[wrong] = np.inf
    i = int(np.argmax(ulps))
    return Worst(float(ulps[i]), float(x[i]), float(got[i]), float(want[i]), x.size)


def block_f32(job: tuple[str, int, int]) -> Worst:
    name, start, step = job
    stop = min(start + BLOCK * step, 1 << 32)
    inputs = np.arange(start, stop, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return worst_by_wider(name, inputs)


def block_f64(job: tuple[str, np.ndarray]) -> Worst:
    return worst_by_wider(*job)


# --- by mpmath ----------------------------------------------------------------------------------------------


def exact(name: str, x: float) -> mpf | float:
    """The answer; a float where that is 0, infinite or NaN, or rounds to -1."""
    far = abs(x) > 1000 and name.startswith("exp")
    if not math.isfinite(x) or x == 0 or far or (x <= 0 and name == "log") or (x <= -1 and name == "log1p"):
        with np.errstate(all="ignore"):
            return float(getattr(np, name)(x))
    return getattr(mp, name)(mpf(x)) or 0.0


def ulps_f64(got: float, want: mpf | float) -> float:
    """An infinite answer counts as 2¹⁰²⁴, the next number after the largest float."""
    if isinstance(want, float):
        same = got == want and math.copysign(1, got) == math.copysign(1, want)
        return 0.0 if same or (math.isnan(got) and math.isnan(want)) else math.inf
    end = mp.ldexp(1, 1024)
    overflows, negative = abs(want) >= end, math.copysign(1, got) < 0
    if math.isnan(got) or (overflows and math.isfinite(got)) or negative != (want < 0):
        return math.inf
    answer, right = (min(abs(y), end) for y in (mpf(got), want))
    exponent = 971 if overflows else max(int(mp.mag(right)) - 53, -1074)
    return float(mp.ldexp(abs(answer - right), -exponent))


def worst_by_mpmath(name: str, x: np.ndarray) -> Worst:
    with mp.workdps(DIGITS):
        rows = []
        for number, got in zip(x.tolist(), _core.elementary(name, x).tolist(), strict=True):
            want = exact(name, number)
            rows.append(Worst(ulps_f64(got, want), number, got, float(want), 1))
    return worst_of(rows)


def block_exact(job: tuple[str, np.ndarray]) -> Worst:
    return worst_by_mpmath(*job)


# --- h ------------------------------------------------------------------------------------------------------

H = tuple(f"h-{form}" for form in variance.SCALES)
#: Of the raw scale; ± of a log form
H_RANGES = dict.fromkeys(variance.LINEAR, (0.01, 100.0)) | {"logvar": (0.0, 89.0), "logstd": (0.0, 45.0)}
H_BOUNDS = dict.fromkeys(variance.LINEAR, 6.0) | dict.fromkeys(variance.LOG, 4.0)
GRADIENT_BOUND = 6.0  # eps of the largest term


def h_exact(form: str, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half of h, ∂raw, and the largest term of that, in raw's type: right to 2⁻⁷ ULP of the next narrower.

    Σ sᵏ/k! and Σ (−δ)ᵏ/k where exp(s) − 1 − s and δ − log(1 + δ) would cancel, δ = σ² − 1.
    """
    kind, k = variance.SCALES[form]
    one, half = raw.dtype.type(1), raw.dtype.type(0.5)
    if kind == "exp":
        s = k * raw
        near, delta, v = abs(s) <= 0.5, np.expm1(s), np.exp(s)
        small, series = np.where(near, s, 0), np.zeros_like(s)
        for i in range(24, 1, -1):
            series = (series * small + one) / i  # Σ sⁱ⁻²/i!
        h, slope = np.where(near, series * small * small, delta - s), k * np.ones_like(raw)
        gradient = half * k * delta
    else:
        v = raw if k == 1 else raw * raw if k == 2 else one / raw
        delta = raw - 1 if k == 1 else (raw - 1) * (raw + 1) if k == 2 else (1 - raw) / raw
        near = abs(delta) <= 0.25
        small, series = np.where(near, delta, 0), np.zeros_like(raw)
        for i in range(36, 1, -1):
            series = one / i - series * small
        h = np.where(near, series * small * small, delta - k * np.log(raw))
        slope, gradient = k / raw, half * k * delta / raw
    return half * h, gradient, half * abs(slope) * np.maximum(v, one)


def worst_h_by_wider(form: str, raw: np.ndarray) -> tuple[Worst, Worst]:
    """Of the value, in ULP; of the gradient, in eps of its largest term."""
    limits, wide = np.finfo(raw.dtype), WIDER[raw.dtype.char]
    got = fe.gaussian_kl_grad(raw.dtype.type(0), **{form: raw}, axis=(), wrt="scale")
    with np.errstate(all="ignore"):
        value, gradient, size = h_exact(form, raw.astype(wide))
        exponent = np.maximum(np.frexp(value)[1] - limits.nmant - 1, limits.minexp - limits.nmant)
        found = []
        for mine, exact, unit in (
            (got.value, value, np.ldexp(wide(1), exponent)),
            (got.scale, gradient, np.maximum(wide(limits.eps) * size, wide(limits.smallest_subnormal))),
        ):
            errors = abs(mine.astype(wide) - exact) / unit
            over = abs(exact) > limits.max
            errors = np.where(over, np.where(mine == np.copysign(np.inf, exact), 0, np.inf), errors)
            errors[np.isnan(errors)] = np.inf
            i = int(np.argmax(errors))
            found.append(Worst(float(errors[i]), float(raw[i]), float(mine[i]), float(exact[i]), raw.size))
    return found[0], found[1]


def worst_h_by_mpmath(form: str, raw: np.ndarray) -> tuple[Worst, Worst]:
    got = fe.gaussian_kl_grad(raw.dtype.type(0), **{form: raw}, axis=(), wrt="scale")
    exact = oracles.kl(0.0, members=("value", "scale"), **{form: raw})
    found = []
    for member, units in (
        ("value", rounding.ulp(exact["value"].value, raw.dtype)),
        ("scale", rounding.eps(raw.dtype) * exact["scale"].size),
    ):
        rows = []
        for x, mine, want, unit in zip(
            raw.tolist(), getattr(got, member).tolist(), exact[member].value, units, strict=True
        ):
            over = abs(want) > mpf(float(np.finfo(raw.dtype).max))
            unit = max(unit, rounding.smallest(raw.dtype))
            error = abs(mpf(mine) - want) / unit if math.isfinite(mine) else mp.inf
            rows.append(Worst(0.0 if over and math.isinf(mine) else float(error), x, mine, float(want), 1))
        found.append(worst_of(rows))
    return found[0], found[1]


def block_h(job: tuple[str, np.ndarray | tuple[int, int, int], float]) -> tuple[Worst, Worst]:
    """Inputs, or the numbers of float32 from one to another in steps, and their sign."""
    form, which, sign = job
    if isinstance(which, tuple):
        which = np.arange(*which, dtype=np.uint64).astype(np.uint32).view(np.float32) * np.float32(sign)
    return worst_h_by_wider(form, which)


def block_h_exact(job: tuple[str, np.ndarray, float]) -> tuple[Worst, Worst]:
    return worst_h_by_mpmath(*job[:2])


def h_blocks(form: str, step: int) -> list[tuple[str, tuple[int, int, int], float]]:
    """All float32 of its range, as jobs for block_h."""
    low, high = (int(np.float32(end).view(np.uint32)) for end in H_RANGES[form])
    signs = (1.0, -1.0) if form in variance.LOG else (1.0,)
    starts = range(low, high + 1, BLOCK * step)
    return [(form, (a, min(a + BLOCK * step, high + 1), step), sign) for sign in signs for a in starts]


def random_h(form: str, count: int, seed: int = 3) -> np.ndarray:
    """float64: a half near 1 (a log near 0), at all distances from it; a half in the whole range."""
    generator = np.random.default_rng(seed)
    near = generator.choice([-1, 1], count // 2) * 10 ** generator.uniform(-18, 0, count // 2)
    low, high = H_RANGES[form]
    if form in variance.LOG:
        far = generator.uniform(-8 * high, 8 * high, count - count // 2)
        return np.concatenate([near, np.clip(far, *((-700, 700) if form == "logvar" else (-350, 350)))])
    far = np.exp(generator.uniform(np.log(low), np.log(high), count - count // 2))
    return np.concatenate([1 + 0.99 * near, far])


def hard_h(form: str, dtype) -> np.ndarray:
    """Powers of two, √2·2ᵏ, 1 and where the way changes, with neighbours; σ² leaves room in the type."""
    if form in variance.LOG:
        most = 80 if dtype == np.float32 else 700
        turns = np.concatenate([[0.5, -0.5, 0.25, -0.25], np.arange(-230, 231) * (np.log(2) / 2)])
        powers = np.ldexp(1.0, np.arange(-30, 7))
        raw = np.concatenate([around(turns, dtype, 8), around(np.concatenate([powers, -powers]), dtype, 2)])
        return raw[abs(raw) <= most / variance.SCALES[form][1]]
    ends = np.ldexp(np.sqrt([0.5, 1.0, 2.0])[:, None], np.arange(-40, 41)).ravel()
    roots = np.sqrt(ends[abs(np.log(ends)) < 3])  # of a std whose square is near a turn
    return np.concatenate([around(ends, dtype, 8), around(roots, dtype, 8), around(dtype(1), dtype, 300)])


# --- inputs -------------------------------------------------------------------------------------------------


def around(x, dtype, reach: int) -> np.ndarray:
    """`x` and its neighbours, `reach` floats to either side."""
    x = np.asarray(x, dtype).ravel()
    integer = np.dtype(f"i{x.itemsize}")
    return (x.view(integer)[:, None] + np.arange(-reach, reach + 1, dtype=integer)).view(dtype).ravel()


def hard(name: str, dtype) -> np.ndarray:
    """Special values, all powers of two, and where the functions change their way; each with neighbours."""
    limits = np.finfo(dtype)
    powers = np.ldexp(1.0, np.arange(limits.minexp - limits.nmant, limits.maxexp))
    if name.startswith("exp"):  # the ends of the range, and of the reduction by k ln2
        ends = [
            np.log(float(limits.max)),
            np.log(float(limits.smallest_subnormal)),
            np.log(float(limits.tiny)),
        ]
        turns = np.concatenate([ends, np.arange(-2200, 2100) * (np.log(2) / 2)])
    else:  # the ends of the reduction to 2^e m, m in [√½, √2)
        turns = np.ldexp(np.sqrt(0.5), np.arange(-60, 60)) - (name == "log1p")
    near = [around(np.concatenate([powers, -powers]), dtype, 2), around(turns, dtype, 8)]
    near += [around(dtype(1), dtype, 300), around(dtype(-1), dtype, 300), around(limits.tiny, dtype, 300)]
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, limits.max, -limits.max, limits.tiny, -limits.tiny]
    return np.concatenate([np.array(special, dtype), *near])


def random_f64(name: str, count: int, seed: int = 1) -> np.ndarray:
    """A third of all floats alike, the rest where it matters."""
    generator = np.random.default_rng(seed)
    alike = generator.integers(0, 1 << 64, count // 3, np.uint64).view(np.float64)
    return np.concatenate([alike, *[generator.uniform(*ends, count // 3) for ends in RANGES[name]]])


# --- the command --------------------------------------------------------------------------------------------


def collect(pool, function, jobs: list, label: str) -> Worst:
    """The worst of all jobs, with a line of progress on a terminal."""
    begin, parts = time.monotonic(), []
    for done, part in enumerate(pool.imap_unordered(function, jobs, chunksize=64), 1):
        parts = [worst_of([*parts, part])]
        if sys.stderr.isatty() and (done % 64 == 0 or done == len(jobs)):
            left = (time.monotonic() - begin) * (len(jobs) / done - 1)
            print(f"\r{label}: {done / len(jobs):4.0%}, {left:4.0f} s left ", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(f"{label:<22} {parts[0].count:>10}   {parts[0]}", flush=True)
    return parts[0]


def run_h(pool, name: str, step: int, random: int, exact: int) -> list[tuple[float, int]]:
    """Print the worst of each; return them as shares of their bounds, with how many there were."""
    form, found = name.removeprefix("h-"), []
    hard_of, worst_64 = hard_h(form, np.float64), []
    jobs = {"float32": (block_h, [*h_blocks(form, step), (form, hard_h(form, np.float32), 1.0)])}
    if random:
        inputs = np.concatenate([random_h(form, random), hard_of])
        parts = np.array_split(inputs, inputs.size // BLOCK + 1)
        jobs["float64"] = (block_h, [(form, part, 1.0) for part in parts])
    jobs["float64, mpmath"] = (block_h_exact, [])
    for label, (function, blocks) in jobs.items():
        if function is block_h_exact:
            inputs = np.concatenate([worst_64, hard_of, random_h(form, exact, seed=4)])
            blocks = [(form, part, 1.0) for part in np.array_split(inputs, inputs.size // 500 + 1)]
        pairs = list(pool.imap_unordered(function, blocks, chunksize=16))
        for what, parts, bound in zip(
            ("", " gradient"), zip(*pairs, strict=True), (H_BOUNDS[form], GRADIENT_BOUND), strict=True
        ):
            worst = worst_of(parts)
            worst_64 += [worst.x] if label == "float64" else []
            print(f"{name}{what} {label:<16} {worst.count:>10}   {worst}, of {bound:g}", flush=True)
            found.append((worst.ulps / bound, worst.count))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--functions", default=",".join(FUNCTIONS + H), metavar="NAMES")
    parser.add_argument("--step", type=int, default=1, metavar="K", help="every K-th float32")
    parser.add_argument("--random", type=int, default=10_000_000, metavar="N", help="float64 inputs")
    parser.add_argument("--exact", type=int, default=100_000, metavar="M", help="of them by mpmath")
    parser.add_argument("--processes", type=int, default=2, metavar="P")
    arguments = parser.parse_args()
    names = arguments.functions.split(",")
    if set(names) - {*FUNCTIONS, *H}:
        parser.error(f"--functions takes some of {','.join(FUNCTIONS + H)}")
    if arguments.random and not HAS_WIDER:
        parser.error("long double is no wider than float64 here: pass --random 0")
    print(f"kernels: {_core.isa()}")
    found, shares = [], []
    elementary = [name for name in names if name in FUNCTIONS]
    with multiprocessing.Pool(arguments.processes) as pool:
        for name in elementary:
            starts = range(0, 1 << 32, BLOCK * arguments.step)
            jobs = [(name, start, arguments.step) for start in starts]
            found.append(collect(pool, block_f32, jobs, f"{name} float32"))
        for name in elementary:
            inputs, more = random_f64(name, arguments.random), []
            if inputs.size:
                jobs = [(name, part) for part in np.array_split(inputs, inputs.size // BLOCK + 1)]
                found.append(collect(pool, block_f64, jobs, f"{name} float64"))
                more = [found[-1].x]
            inputs = np.concatenate([more, hard(name, np.float64), random_f64(name, arguments.exact, seed=2)])
            jobs = [(name, part) for part in np.array_split(inputs, inputs.size // 500 + 1)]
            found.append(collect(pool, block_exact, jobs, f"{name} float64, mpmath"))
        for name in names:
            if name in H:
                shares += run_h(pool, name, arguments.step, arguments.random, arguments.exact)
    if found:
        count, most = sum(part.count for part in found), max(found).ulps
        print(f"{len(elementary)} functions, {count} inputs: at most {most:.4f} ULP")
        shares.append((most / BOUND, count))
    if len(names) > len(elementary):
        print(f"h of {len(names) - len(elementary)} forms: at most {max(shares)[0]:.0%} of a bound")
    return int(max(shares)[0] > 1)


if __name__ == "__main__":
    sys.exit(main())
