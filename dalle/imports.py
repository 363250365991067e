"""Who imports whom among the project's own files, read from their syntax trees: nothing is executed."""

import ast
from functools import lru_cache

from dalle.provenance import ROOT, code_digest

# What these do never shows in a result: settings arrive as params, the others write names and logs. So an edit of a
# default, or of a log line, reruns only what it changes.
PLUMBING = ("dalle/config/", "dalle/imports.py", "dalle/joblog.py", "dalle/provenance.py", "dalle/receipts.py")


def imports_of(file: str) -> tuple[str, ...]:
    """The project's files that ``file`` imports itself, inside functions too. Paths are relative to the root, sorted.

    Raises ValueError for a file that does not exist.
    """
    if not (ROOT / file).is_file():
        raise ValueError(f"imports_of: there is no file {file} in the project")
    return _imports_of(file)


@lru_cache
def _imports_of(file: str) -> tuple[str, ...]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return tuple(sorted(_files_of(name) for name in imported_names(tree) if _files_of(name)))


def imported_names(tree: ast.AST) -> set[str]:
    """Dotted names that the imports of ``tree`` mention: ``from a.b import c`` gives ``a.b`` and ``a.b.c``."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _files_of(name: str) -> str:
    """The file of a dotted name, '' if it is not a module of ours (packages hold no code, so none is one)."""
    path = f"{name.replace('.', '/')}.py"
    return path if name.partition(".")[0] in ("dalle", "eval") and (ROOT / path).is_file() else ""


def closure(file: str) -> tuple[str, ...]:
    """``file`` and all files of the project it runs, directly or through others, without the plumbing. Sorted."""
    found, waiting = set(), [file]
    while waiting:
        current = waiting.pop()
        if current not in found and not current.startswith(PLUMBING):
            found.add(current)
            waiting += imports_of(current)
    return tuple(sorted(found))


def code_of(script: str) -> str:
    """A digest of what workflow/scripts/{script}.py runs. Comments, docstrings and layout do not enter.

    Raises ValueError if there is no such script.
    """
    return code_digest(*closure(f"workflow/scripts/{script}.py"))
