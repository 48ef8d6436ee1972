"""What docs/adding-a-likelihood.md says, carried out: python tests/by_the_page.py.

Its blocks go into a copy of the tree, which is built and tested, at one instruction set. Then a place at a
time is forgotten: one clear message must name it.
"""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import fastelbo
import instrumented
import mutants

PAGE = instrumented.ROOT / "docs" / "adding-a-likelihood.md"
BLOCK = re.compile(
    r'^<!-- (?:new|at the end of|after "(?P<line>[^\n]*)" in): (?P<file>\S+) -->\n```\w+\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
TESTS = ("test_structure", "test_names", "test_reference", "test_extremes", "test_special", "test_smoke")

OWN = "logistic or test_structure or test_names or test_smoke"


class Block(NamedTuple):
    """A block of the page: the file it goes into, and after which line of it."""

    file: str
    line: str | None
    text: str

    def put(self, tree: Path) -> None:
        path = tree / self.file
        text = path.read_text("utf-8") if path.exists() else ""
        if self.line is None:
            path.write_text(f"{text}\n\n{self.text}" if text else self.text, "utf-8")
            return
        lines = text.splitlines()
        at = [i for i, line in enumerate(lines) if self.line in line]
        assert len(at) == 1, f"{self.file} has {self.line!r} {len(at)} times"
        end = at[0]
        while "EACH_LOSS" not in lines[end] and lines[end].count("(") > lines[end].count(")"):
            end += 1  # of an entry over several lines
        added = self.text.rstrip("\n")
        if lines[end].endswith("\\"):
            added += " \\"
        elif added.lstrip().startswith("LOSS("):
            lines[end] += " \\"
        path.write_text("\n".join([*lines[: end + 1], added, *lines[end + 1 :], ""]), "utf-8")


def blocks() -> list[Block]:
    found = [
        Block(match["file"], match["line"], match["text"])
        for match in BLOCK.finditer(PAGE.read_text("utf-8"))
    ]
    assert len(found) == 5, f"{PAGE.name} has {len(found)} blocks"
    return found


def is_c(block: Block) -> bool:
    return "/src/" in block.file


def in_copy(places: list[Block], change: Callable[[Path], None] = lambda tree: None) -> Iterator[Path]:
    with instrumented.copy_of_tree() as tree:
        mutants.apply(mutants.QUICK, tree)
        for block in places:
            block.put(tree)
        change(tree)
        yield tree


def python(tree: Path, *words: str) -> instrumented.Done:
    return instrumented.run([sys.executable, "-P", *words], tree)


def built(tree: Path) -> None:
    done = instrumented.build(tree)
    assert not done.status, done.output[-3000:]


def expect(what: str, done: instrumented.Done, *says: str) -> None:
    assert done.status, f"{what} is forgotten, and nothing says so"
    assert all(text in done.output for text in says), f"{what} is forgotten: {done.output[-2000:]}"
    print(f"forgotten: {what}: said", flush=True)


def main() -> None:
    places = blocks()
    entry, include = [block for block in places if block.line]
    declaration = next(block for block in places if "_families" in block.file)
    oracle = next(block for block in places if block.file.startswith("tests/"))

    for tree in in_copy([block for block in places if not is_c(block)]):
        for built_here in Path(fastelbo.__file__).parent.glob("_*.so"):  # without the loss, as is
            shutil.copy(built_here, tree / "fastelbo")
        done = python(tree, "-c", "import fastelbo")
        expect("the entry in C", done, "src/losses/losses.h has no loss 'logistic'")
    for tree in in_copy([block for block in places if block is not include]):
        expect("the #include of the file of C", instrumented.build(tree), "logistic", "#include")
    group = ".group = 8, "
    assert group in entry.text
    for tree in in_copy([block for block in places if block is not entry]):
        entry._replace(text=entry.text.replace(group, "")).put(tree)
        expect("the group of additions", instrumented.build(tree), "logistic", "group")

    for tree in in_copy(places):
        built(tree)
        names = [f"tests/{name}.py" for name in TESTS]
        done = python(tree, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *names, "-k", OWN)
        assert not done.status, done.output[-5000:]
        print(done.output.splitlines()[-1], flush=True)
        done = python(tree, "-c", "import doctest, sys, fastelbo; sys.exit(doctest.testmod(fastelbo).failed)")
        assert not done.status, done.output[-3000:]

        family, oracles = tree / declaration.file, tree / oracle.file
        whole = family.read_text("utf-8")
        test = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")
        loads = ("-c", "import fastelbo")
        for what, there, instead, says in (
            ("the reference", "    maths=_nll,\n", "", "has no `maths`"),
            ("a docstring", "    doc=_NLL,\n", "", "has no `doc`"),
            (
                "the forms of the scale",
                '("", "scale", "", "logscale", "")',
                "()",
                "has a Scale of the forms ()",
            ),
            ("a letter of an option", '"min_scale"))', '"min_scal"))', "did you mean 'min_scale'?"),
        ):
            assert whole.count(there) == 1, there
            family.write_text(whole.replace(there, instead), "utf-8")
            expect(what, python(tree, *loads), "the declaration of logistic_nll (fastelbo/_families/)", says)
        family.unlink()
        done = python(tree, *test, "tests/test_structure.py")
        expect("the declaration", done, "src/losses/losses.h has 'logistic', which no declaration names")
        family.write_text(whole, "utf-8")
        oracles.write_text(oracles.read_text("utf-8").replace('CALLS["logistic_nll"]', "_"), "utf-8")
        done = python(tree, *test, "tests/test_reference.py")
        expect("the oracle", done, "tests/oracles.py", "logistic_nll")
    print("The page holds.")


if __name__ == "__main__":
    main()
