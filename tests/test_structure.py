"""How the package is built: which module imports which, how long a file is, where losses are told apart, and
which names users see."""

import ast
import importlib
import inspect
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastelbo as fe
from fastelbo import _core, _declare, _families

PACKAGE = Path(fe.__file__).parent
#: From the lowest up; a module imports from layers below its own. What imports nothing here may be in one.
LAYERS = (
    ("_typing", "_results", "_version"),
    ("_declare",),
    ("_families.*",),  # a likelihood each, none of which imports another
    ("_families.elbo",),
    ("_families",),
    ("_stub", "_core", "_openmp"),
    ("_threads",),
    ("_rules", "_rules.scales", "_rules.real", "_rules.search", "_rules.frames", "_rules.overlap"),
    ("_rules.dtypes", "_rules.integers", "_rules.options", "_rules.fits", "_rules.call", "_rules.wrt"),
    ("_rules.parameters",),
    ("_rules.axes", "_rules.weights", "_rules.domain", "_rules.outputs", "_rules.inplace"),
    ("_rules.joint", "_rules.run", "_rules.samples"),
    ("_rules.loss", "_rules.halves"),
    ("_rules.elbo",),
    ("_losses", "_blocks"),
    ("_config", "_squares"),
    ("_objectives", "_free_bits", "_sampling", "_implied"),
    ("reference._scales",),
    ("reference._rows",),
    ("reference._losses", "reference._samples"),
    ("reference._elbo", "reference._optimal"),
    ("reference",),
    ("",),  # fastelbo itself, which nothing here imports
)
LAYER = {name: height for height, names in enumerate(LAYERS) for name in names if "*" not in name}
LONGEST = 400


def module_of(path: Path) -> str:
    """Its name without the package's: "_rules.run", and "" for fastelbo itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, Path]:
    """The package's Python files, and the stub of the core, by module."""
    written = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("_core.pyi")]  # other stubs are made by the build
    return {module_of(path): path for path in written}


SOURCES = sources()
LAYER |= {
    name: LAYERS.index(("_families.*",))
    for name in SOURCES
    if name.startswith("_families.") and name not in LAYER
}
#: What Cython compiles, which no wheel has
COMPILED = sorted((Path(__file__).parents[1] / "fastelbo").glob("*.pyx"))
CYTHON_IMPORT = re.compile(
    r"^[ \t]*((?:from[ \t]+(?:fastelbo|\.)[\w.]*[ \t]+)?c?import[ \t]+(?:\([^)]*\)|[^\n(#]*))", re.MULTILINE
)


def imported(code: str, package: list[str]) -> Iterator[str]:
    """The modules of fastelbo that code of `package` imports: anywhere, and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])]).rstrip(".")
            inside = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix("fastelbo.") in LAYER else base for name in inside]
        else:
            continue
        for name in names:
            if name == "fastelbo" or name.startswith("fastelbo."):
                yield name.removeprefix("fastelbo").removeprefix(".")


def graph() -> dict[str, list[str]]:
    """What each module imports."""
    found: dict[str, set[str]] = {}
    for name, path in SOURCES.items():
        package = ["fastelbo", *name.split(".")][: -1 if path.stem != "__init__" else None]
        found[name] = {*imported(path.read_text(encoding="utf-8"), package)}
    for path in COMPILED:
        code = "\n".join(CYTHON_IMPORT.findall(path.read_text(encoding="utf-8"))).replace("cimport", "import")
        found.setdefault(path.stem, set()).update(imported(code, ["fastelbo"]))
    return {name: sorted(others) for name, others in found.items()}


GRAPH = graph()


def drawn() -> str:
    """The import graph, a layer after the other, the highest first."""
    lines = []
    for height in reversed(range(len(LAYERS))):
        for name in [name for name, own in LAYER.items() if own == height]:
            below = ", ".join(GRAPH.get(name, [])) or "nothing"
            lines.append(f"{height:>3}  {name or 'fastelbo'} → {below}")
    return "\n".join(lines)


def test_every_module_has_a_layer():
    assert COMPILED
    assert GRAPH.keys() == LAYER.keys(), "name new modules in LAYERS, and no others"


def test_imports_go_down():
    upward = [
        f"{name or 'fastelbo'} imports {other or 'fastelbo'}"
        for name, others in GRAPH.items()
        for other in others
        if LAYER[other] >= LAYER[name]
    ]
    assert not upward, f"{'; '.join(upward)}: from a layer that is not below its own\n\n{drawn()}"


def test_rules_know_no_public_function():
    """The rules take types, results, declarations and the core, and no other module that is below them."""
    allowed = {"_typing", "_results", "_declare", "_threads", "_core"}
    strange = {
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if name.startswith("_rules") and not other.startswith("_rules.") and other not in allowed
    }
    assert not strange, drawn()


def lines_but_public_docstrings(path: Path) -> int:
    text = path.read_text(encoding="utf-8")
    count = len(text.splitlines())
    for node in ast.walk(ast.parse(text)):
        documented = isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and ast.get_docstring(node)
        if documented and not getattr(node, "name", "").startswith("_"):
            count -= node.body[0].end_lineno - node.body[0].lineno + 1
    return count


TESTS = Path(__file__).parent
FILES = SOURCES | {f"tests/{path.relative_to(TESTS)}": path for path in sorted(TESTS.rglob("*.py"))}


@pytest.mark.parametrize("name", FILES)
def test_files_are_short(name):
    lines = lines_but_public_docstrings(FILES[name])
    assert lines <= LONGEST, f"{FILES[name].name} has {lines} lines besides public docstrings: split it"


FAMILIES = [importlib.import_module(f"fastelbo.{name}") for name in SOURCES if name.startswith("_families.")]
DECLARED = {
    name for module in FAMILIES for name, value in vars(module).items() if isinstance(value, _declare.Loss)
}
KERNELS = {loss.kernel for loss in _families.LOSSES.values()}


def names_in(node: ast.AST) -> set[str]:
    """Losses that an expression names: by a string, as the core calls them, or as a declaration."""
    parts = list(ast.walk(node))
    strings = {part.value for part in parts if isinstance(part, ast.Constant) and type(part.value) is str}
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    names |= {part.attr for part in parts if isinstance(part, ast.Attribute)}
    return (strings & (KERNELS | _families.LOSSES.keys())) | (names & DECLARED)


def told_apart(path: Path) -> Iterator[str]:
    """Places that compare with a loss, or list several."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Compare) and names_in(node):
            yield f"{where} compares with {', '.join(names_in(node))}"
        elif isinstance(node, ast.MatchValue) and names_in(node):
            yield f"{where} matches {', '.join(names_in(node))}"
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            plain = [item for item in node.elts if isinstance(item, (ast.Constant, ast.Name))]
            listed = {name for item in plain for name in names_in(item)}
            if len(listed) > 1:
                yield f"{where} lists {', '.join(listed)}"
        elif isinstance(node, ast.Dict):
            strings = {key.value for key in node.keys if isinstance(key, ast.Constant)}
            keys = {name for key in node.keys if key is not None for name in names_in(key)}
            if len(keys) > 1 and not strings >= {*_declare.VALUES}:  # but for the results of a negative ELBO
                yield f"{where} has a table of {', '.join(keys)}"


def test_losses_are_told_apart_by_their_declarations_alone():
    assert {"GAUSSIAN_NLL", "GAUSSIAN_KL", "BERNOULLI_NLL"} <= DECLARED
    others = [
        path
        for name, path in SOURCES.items()
        if not name.startswith(("_families", "_declare")) and path.suffix == ".py"
    ]
    found = [place for path in others for place in told_apart(path)]
    assert not found, f"{'; '.join(found)}: make it a field of `Loss` in _declare.py"


@pytest.mark.parametrize(
    "code",
    [
        'if loss == "nll": pass',
        'x = loss in ("kl",)',
        "if call.loss is GAUSSIAN_NLL: pass",
        'match loss:\n    case "kl": pass',
        'L = ["nll", "bernoulli"]',
        "L = GAUSSIAN_NLL, GAUSSIAN_KL",
        'T = {"nll": 1, "kl": 2}',
    ],
)
def test_a_place_that_tells_losses_apart_is_found(code, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(code)
    assert list(told_apart(path))


def test_every_loss_in_c_is_declared():
    names = {name for name in _core.kernels_of_losses() if name not in KERNELS}
    assert not names, f"src/losses/losses.h has {', '.join(map(repr, names))}, which no declaration names"


def test_declarations_agree_with_themselves():
    for name, loss in _families.LOSSES.items():
        assert loss.name == name
        assert set(loss.fields) == {loss.value, *loss.operands}
        assert all({*own} <= {*loss.operands} for own in loss.alike.values())
        assert not loss.alike.keys() & {*loss.fields}
    for joint in _families.JOINTS.values():
        both = joint.nll.operands + joint.kl.operands
        assert set(joint.fields) == {*_declare.VALUES, *both}
        assert all({*own} <= {*both} for own in joint.alike.values())


@pytest.mark.parametrize("name", ["fastelbo", "fastelbo.reference"])
def test_only_public_names_show(name):
    module = importlib.import_module(name)
    shown = {name for name in dir(module) if not (name.startswith("__") and name.endswith("__"))}
    assert shown == {*module.__all__}
    assert {name for name in vars(module) if not name.startswith("_")} == {*module.__all__}
    assert not any(inspect.ismodule(getattr(module, name)) for name in module.__all__ if name != "reference")


def test_reference_is_a_module_of_its_own_and_results_load_without_it():
    nothing = pickle.dumps(fe.NLLGrad(1.0, None, None, None))
    code = (
        f"import pickle, fastelbo.reference as r; print(r.__name__, type(pickle.loads({nothing!r})).__name__)"
    )
    command = [sys.executable, "-P", "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["fastelbo.reference", "NLLGrad"]
