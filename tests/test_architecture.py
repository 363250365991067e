"""The rules of the house, read from the syntax trees: layers, no cycles, small files. Each rule is shown to bite."""

import ast
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from dalle.imports import imported_names
from dalle.provenance import ROOT

Sources = dict[str, str]  # path relative to the root → text

DALLE_ROWS = [
    {"config", "provenance", "seeding"},
    {"device", "hardware", "imports", "listing", "seals", "sheets"},
    {"receipts"},
    {"joblog"},
    {"images"},
    {"manifest", "mapped", "strips"},
    {"gallery", "intake", "tokenizer"},
    {"data", "prompts"},
    {"models"},
    {"systems"},
    {"training", "sampling", "rerank", "plan", "verify"},
    {"completions", "neighbours", "playing"},
    {"__main__"},
]
EVAL_ROWS = [
    {"metrics", "pixels", "protocols", "stats", "style", "tables"},
    {"networks", "registry", "store", "throughput"},
    {"blur", "contrastive", "extractors"},
    {"features", "human"},
    {"agreement", "differences", "shown"},
    {"grounding", "sweep", "plots", "grids", "headline", "track"},
    {"golden", "judge", "report"},
    {"doctor"},
    {"__main__"},
]
GROUND = DALLE_ROWS[0]  # everybody may use these
# What upper rows of eval may use of dalle.
SHARED = GROUND | {"device", "images", "manifest", "intake", "sheets", "strips", "tokenizer", "models"}
# A scene is the truth that the grader compares a picture with: drawing and reading share its definition.
EXCEPTIONS = {("eval/metrics/grounded.py", "data")}
BEFORE_ANY_JOB = ("dalle/config/", "dalle/imports.py", "dalle/provenance.py")  # the Snakefile reads them each time
HEAVY = {"torch", "numpy", "pandas", "datasets", "mlflow", "tokenizers", "open_clip"}


def sources() -> Sources:
    folders = ("dalle", "eval", "workflow/scripts", "tests")
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def imports(text: str) -> set[str]:
    return imported_names(ast.parse(text))


def ours(text: str) -> Iterator[tuple[str, str]]:
    """(package, room) of every import of the project: ``dalle.models.dvae`` is ('dalle', 'models')."""
    for name in imports(text):
        package, _, rest = name.partition(".")
        if package in ("dalle", "eval") and rest:
            yield package, rest.split(".")[0]


def row(rows: list[set[str]], room: str) -> int:
    """Where a room stands. A room that the plan does not name stands nowhere: name it there first."""
    return next((number for number, rooms in enumerate(rows) if room in rooms), -1)


def room_of(path: str) -> str:
    return path.split("/")[1].removesuffix(".py")


def of_package(files: Sources, package: str) -> Iterator[tuple[str, str]]:
    yield from ((path, text) for path, text in files.items() if path.startswith(f"{package}/"))


def unplanned_rooms(files: Sources) -> list[str]:
    known = {"dalle": DALLE_ROWS, "eval": EVAL_ROWS}
    return [
        f"{path} is in no row of tests/test_architecture.py"
        for package, rows in known.items()
        for path, _ in of_package(files, package)
        if room_of(path) != "__init__" and row(rows, room_of(path)) < 0
    ]


def upward_imports(files: Sources) -> list[str]:
    """Imports from the same or a higher row of the own package, other than from the own room."""
    return [
        f"{path} imports {package}.{room}"
        for package, rows in (("dalle", DALLE_ROWS), ("eval", EVAL_ROWS))
        for path, text in of_package(files, package)
        for target, room in sorted(set(ours(text)))
        if target == package and room != room_of(path) and row(rows, room) >= row(rows, room_of(path))
    ]


def broken_walls(files: Sources) -> list[str]:
    """dalle knows nothing of eval; eval knows the pixels and models of dalle, its numbers know only the ground."""
    inward = [f"{path} imports eval" for path, text in of_package(files, "dalle") if "eval" in dict(ours(text))]
    outward = [
        f"{path} imports dalle.{room}"
        for path, text in of_package(files, "eval")
        for package, room in sorted(set(ours(text)))
        if package == "dalle" and (path, room) not in EXCEPTIONS
        if room not in (GROUND if row(EVAL_ROWS, room_of(path)) == 0 else SHARED)
    ]
    return inward + outward


def foreign_tools(files: Sources) -> list[str]:
    """mlflow only in eval/track.py, snakemake in neither package."""
    return [
        f"{path} imports {tool}"
        for path, text in files.items()
        for tool in sorted({name.split(".")[0] for name in imports(text)} & {"mlflow", "snakemake"})
        if path.startswith(("dalle/", "eval/")) and (path, tool) != ("eval/track.py", "mlflow")
    ]


def cycles(files: Sources) -> list[str]:
    modules = {path.removesuffix(".py").replace("/", "."): text for path, text in files.items()}
    graph = {module: imports(text) & modules.keys() for module, text in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" → ".join(error.args[1])]
    return []


def heavy_before_jobs(files: Sources) -> list[str]:
    return [
        f"{path} imports {name}"
        for path, text in files.items()
        if path.startswith(BEFORE_ANY_JOB)
        for name in sorted({name.split(".")[0] for name in imports(text)} & HEAVY)
    ]


def rebound_eval(files: Sources) -> list[str]:
    """``import eval`` takes the builtin's name; relative imports hide from ``imports_of``."""
    nodes = [(path, node) for path, text in files.items() for node in ast.walk(ast.parse(text))]
    rebound = [
        f"{path}: import eval"
        for path, node in nodes
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "eval" for alias in node.names)
    ]
    return rebound + [f"{path}: relative import" for path, node in nodes if getattr(node, "level", 0)]


def long_files(files: Sources) -> list[str]:
    return [f"{path}: {len(text.splitlines())} lines" for path, text in files.items() if text.count("\n") > 400]


def long_functions(files: Sources) -> list[str]:
    """Functions of more than 40 lines; a docstring is not counted, it makes nothing harder to read."""
    return [
        f"{path}: {node.name} has {lines} lines"
        for path, text in files.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and (lines := _lines(node)) > 40
    ]


def _lines(node: ast.FunctionDef) -> int:
    docstring = node.body[0] if ast.get_docstring(node) else None
    return node.end_lineno - node.lineno + 1 - (docstring.end_lineno - docstring.lineno + 1 if docstring else 0)


def thick_scripts(files: Sources) -> list[str]:
    """A script that a rule runs has at most 15 lines and decides nothing."""
    scripts = {path: text for path, text in files.items() if path.startswith("workflow/scripts/")}
    scripts.pop("workflow/scripts/conda_twin.py", None)  # no rule runs it
    return [
        path
        for path, text in scripts.items()
        if text.count("\n") > 15 or any(isinstance(node, ast.If | ast.IfExp) for node in ast.walk(ast.parse(text)))
    ]


def full_inits(files: Sources) -> list[str]:
    """A package file holds its docstring and nothing else."""
    inits = {path: ast.parse(text) for path, text in files.items() if path.endswith("/__init__.py")}
    return [path for path, tree in inits.items() if len(tree.body) != 1 or not ast.get_docstring(tree)]


FUNCTION_OF_42_LINES = "def f():\n" + "    x = 1\n" * 41
VIOLATIONS: list[tuple[Callable[[Sources], list[str]], Sources]] = [
    (unplanned_rooms, {"dalle/manager.py": ""}),
    (upward_imports, {"dalle/models/a.py": "from dalle.training.fit import fit"}),
    (upward_imports, {"dalle/sampling/a.py": "def f():\n    import dalle.rerank"}),
    (upward_imports, {"eval/stats.py": "from eval.features import read_features"}),
    (broken_walls, {"dalle/rerank.py": "from eval.stats import wilson"}),
    (broken_walls, {"eval/metrics/frechet.py": "from dalle.images import read_archive"}),
    (broken_walls, {"eval/sweep.py": "from dalle.training.fit import fit"}),
    (foreign_tools, {"eval/sweep.py": "import mlflow"}),
    (foreign_tools, {"dalle/joblog.py": "from snakemake.shell import shell"}),
    (cycles, {"dalle/data/a.py": "from dalle.data.b import x", "dalle/data/b.py": "import dalle.data.a"}),
    (heavy_before_jobs, {"dalle/config/data.py": "def f():\n    import torch"}),
    (rebound_eval, {"eval/sweep.py": "import eval.stats"}),
    (rebound_eval, {"dalle/data/a.py": "from . import scenes"}),
    (long_files, {"dalle/images.py": "x = 1\n" * 401}),
    (long_functions, {"dalle/images.py": FUNCTION_OF_42_LINES}),
    (thick_scripts, {"workflow/scripts/a.py": "x = 1\n" * 16}),
    (thick_scripts, {"workflow/scripts/a.py": "x = 1 if snakemake else 2\n"}),
    (full_inits, {"dalle/data/__init__.py": '"""Data."""\nfrom dalle.data.scenes import Scene'}),
]
RULES = dict.fromkeys(rule for rule, _ in VIOLATIONS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_the_rule(rule: Callable[[Sources], list[str]]) -> None:
    assert rule(sources()) == []


@pytest.mark.parametrize(("rule", "files"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_rule_bites(rule: Callable[[Sources], list[str]], files: Sources) -> None:
    assert rule(files) != []


def test_every_rule_has_its_script() -> None:
    rules = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "workflow/rules").glob("*.smk"))
    scripts = {file.name for file in Path(ROOT / "workflow/scripts").glob("*.py")} - {"conda_twin.py"}
    assert scripts == {
        name for name in scripts if f'"../scripts/{name}"' in rules and f'code_of("{name[:-3]}")' in rules
    }
