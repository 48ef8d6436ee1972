"""Faults put into a copy of the package, one at a time, and the check that has to catch each.

    python tests/mutants.py [--only PART ...] [--list]

PART is a part of a mutant's name. Prints a line for each; exits with 1 if one survives, or if a check fails
on the package as it is. All of them take half an hour on two cores. A mutant whose text is not found, exactly
once, is an error. Needs what the checks need: gcc, clang, libomp (see sanitize.py), and setuptools and cython
as pyproject.toml has them.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import faults
import faults_of_numbers
import instrumented
from faults import COMPILES, Check, Edits, Mutant
from instrumented import Done

MUTANTS = [*faults.MUTANTS, *faults_of_numbers.MUTANTS]

QUICK: Edits = (
    ("setup.py", 'return platform.machine().lower() in {"x86_64", "amd64"}', "return False"),
    ("setup.py", '    "-O3",\n', '    "-O1",\n'),
    ("tests/native/driver.py", '"-dumpmachine"]).startswith("x86_64")', '"-dumpmachine"]) == ""'),
)


def apply(edits: Edits, tree: Path) -> None:
    for file, old, new in edits:
        path = tree / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            sys.exit(f"{file} has this {text.count(old)} times, not once:\n{old}")
        path.write_text(text.replace(old, new), encoding="utf-8")


def build(check: Check, tree: Path) -> Done:
    """Build what the check needs; some build it themselves."""
    if not check.as_shipped:
        apply(QUICK, tree)
    if not check.builds:
        return Done(0, "")
    return instrumented.build(tree, instrumented.SANITIZED if check.sanitized else {})


def run(check: Check, tree: Path) -> Done:
    environment = instrumented.memory_sanitizers(tree) if check.sanitized else {}
    done = instrumented.run([sys.executable, *check.command], tree, environment, timeout=600)
    return Done(done.status, done.output + "".join(instrumented.reports(tree).values()))


def catches(check: Check, done: Done) -> bool:
    """It failed, and for its own reason: not because nothing could be built, say."""
    return done.status != 0 and any(text in done.output for text in check.says.split("|"))


class Unchanged:
    """The package without any mutant: what catches one must pass here."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack, self.trees, self.passed = stack, {}, {}

    def passes(self, check: Check) -> bool:
        """Whether a check passes; each is run, and each kind of build made, once."""
        if check in self.passed:
            return self.passed[check]
        kind = check.sanitized, check.builds, check.as_shipped
        done = Done(0, "")
        if kind not in self.trees:
            self.trees[kind] = self.stack.enter_context(instrumented.copy_of_tree())
            done = build(check, self.trees[kind])
        if not done.status:
            done = run(check, self.trees[kind])
        self.passed[check] = not done.status
        if done.status:
            print(f"{check}: fails without any mutant\n{done.output[-3000:]}")
        return self.passed[check]


def judge(mutant: Mutant, unchanged: Unchanged) -> bool:
    """Whether the mutant is caught; a line that says so, and where it is not, what the check said."""
    begin = time.monotonic()
    with instrumented.copy_of_tree() as tree:
        apply(mutant.edits, tree)
        done = done_building = build(mutant.check, tree)
        if not done.status:
            done = run(mutant.check, tree)
    ran = not done_building.status or mutant.check is COMPILES
    caught = ran and catches(mutant.check, done) and unchanged.passes(mutant.check)
    seconds = time.monotonic() - begin
    print(
        f"{'caught  ' if caught else 'SURVIVED'}  {mutant.name}  →  {mutant.check}  [{seconds:.0f} s]",
        flush=True,
    )
    if not caught:
        print(done.output[-1500:])
    return caught


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""], metavar="PART")
    parser.add_argument(
        "--list",
        action="store_true",
        help="names and checks; that all texts are there",
    )
    given = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if any(part in mutant.name for part in given.only)]
    with instrumented.copy_of_tree() as tree:
        originals = {
            file: (tree / file).read_text(encoding="utf-8") for m in MUTANTS for file, _, _ in m.edits
        }
        for mutant in MUTANTS:  # before anything takes minutes
            apply(mutant.edits, tree)
            for file in originals:
                (tree / file).write_text(originals[file], encoding="utf-8")
    if given.list:
        print("\n".join(f"{mutant.name}  →  {mutant.check}" for mutant in chosen))
        return 0
    with ExitStack() as stack:
        unchanged = Unchanged(stack)
        caught = sum([judge(mutant, unchanged) for mutant in chosen])
    print(f"{caught} of {len(chosen)} mutants caught")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
