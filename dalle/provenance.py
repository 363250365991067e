"""What made a file: digests of code and files, facts of the machine; and how a file is whole or not there at all."""

import ast
import glob
import hashlib
import json
import os
import platform
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UMASK = os.umask(0)  # can only be read by setting it
os.umask(UMASK)
PACKAGES = ("torch", "torchvision", "torch-fidelity", "open_clip_torch", "datasets", "pandas", "snakemake", "mlflow")


def code_digest(*places: str) -> str:
    """A digest of what the Python files at or below ``places`` (relative to the project's root) *do*.

    Comments, formatting and docstrings do not enter: a rule that carries this digest in its ``params`` reruns when its
    code changes and stays when only its words do. Raises ValueError for a place that does not exist.
    """
    digest = hashlib.sha256()
    for file in sorted({file for place in places for file in _python_files(place)}):
        digest.update(file.relative_to(ROOT).as_posix().encode())
        digest.update(_meaning(file.read_text(encoding="utf-8")))
    return digest.hexdigest()[:16]


@cache  # many rules run the same files, and every job of a cluster reads all rules
def _meaning(text: str) -> bytes:
    return ast.dump(_without_docstrings(ast.parse(text))).encode()


def _python_files(place: str) -> list[Path]:
    path = ROOT / place
    if not path.exists():
        raise ValueError(f"code_digest: there is no {place} in the project")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        is_scope = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if is_scope and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            node.body = body[1:]
    return tree


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and digests of all files below it. Hexadecimal."""
    if not Path(path).is_dir():
        return file_digest(path)
    files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    return values_digest([[file.relative_to(path).as_posix(), file_digest(file)] for file in files])


def values_digest(values: object) -> str:
    """SHA-256 of plain values: equal for equal values, in whatever order their keys stand. Hexadecimal."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path`` if the block succeeds and vanishes if it fails.

    The temporary name keeps the suffix, because writers choose their format by it. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        if temporary.is_file():
            temporary.chmod(0o666 & ~UMASK)  # some writers make files that nobody else may read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def clear_leftovers(path: str | Path) -> None:
    """Removes what writers of ``path`` left beside it that were killed (:func:`atomic`). Nobody else may be writing."""
    path = Path(path)
    for leftover in path.parent.glob(f".{'[0-9a-f]' * 8}-{glob.escape(path.name)}"):
        leftover.unlink(missing_ok=True)


def run_facts() -> dict[str, str | None]:
    """What ran: Python, platform, the project's commit, versions of the packages that count.

    The commit is None outside a clone and where there is no git.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commit": _commit(),
        **{name: version(name) for name in PACKAGES},
    }


def _commit() -> str | None:
    try:
        asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return asked.stdout.strip() or None
