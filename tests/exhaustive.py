"""exp, log, expm1 and log1p of the kernels against what they should be: the worst error, in ULP, and where.

    python tests/exhaustive.py [--functions exp,log] [--step K] [--random N] [--exact M] [--processes P]

float32 takes all 2³² inputs (every K-th with --step) against NumPy's float64 functions, which are right to
2⁻²⁷ ULP of float32. float64 takes N random inputs against those of long double, right to 2⁻⁹ ULP of float64
where it has 64 bits; the worst of them, the hard inputs, and M more random ones, against mpmath at 60 digits.
A ULP is the distance of the floats around the exact answer, for subnormal ones too. Exits with 1 if an error
is beyond 1.0 ULP or a special value (NaN, an infinity, a zero and its sign) is wrong. FASTELBO_ISA chooses
the kernels.
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


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--functions", default=",".join(FUNCTIONS), metavar="NAMES")
    parser.add_argument("--step", type=int, default=1, metavar="K", help="every K-th float32")
    parser.add_argument("--random", type=int, default=10_000_000, metavar="N", help="float64 inputs")
    parser.add_argument("--exact", type=int, default=100_000, metavar="M", help="of them by mpmath")
    parser.add_argument("--processes", type=int, default=2, metavar="P")
    arguments = parser.parse_args()
    names = arguments.functions.split(",")
    if set(names) - set(FUNCTIONS):
        parser.error(f"--functions takes some of {','.join(FUNCTIONS)}")
    if arguments.random and not HAS_WIDER:
        parser.error("long double is no wider than float64 here: pass --random 0")
    print(f"kernels: {_core.isa()}")
    found = []
    with multiprocessing.Pool(arguments.processes) as pool:
        for name in names:
            starts = range(0, 1 << 32, BLOCK * arguments.step)
            jobs = [(name, start, arguments.step) for start in starts]
            found.append(collect(pool, block_f32, jobs, f"{name} float32"))
        for name in names:
            inputs, more = random_f64(name, arguments.random), []
            if inputs.size:
                jobs = [(name, part) for part in np.array_split(inputs, inputs.size // BLOCK + 1)]
                found.append(collect(pool, block_f64, jobs, f"{name} float64"))
                more = [found[-1].x]
            inputs = np.concatenate([more, hard(name, np.float64), random_f64(name, arguments.exact, seed=2)])
            jobs = [(name, part) for part in np.array_split(inputs, inputs.size // 500 + 1)]
            found.append(collect(pool, block_exact, jobs, f"{name} float64, mpmath"))
    worst = max(found)
    print(f"{len(names)} functions, {sum(part.count for part in found)} inputs: at most {worst.ulps:.4f} ULP")
    return int(worst.ulps > BOUND)


if __name__ == "__main__":
    sys.exit(main())
