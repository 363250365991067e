"""Seals: the SHA-256 of every file that a job made, kept apart from it, so that nobody learns from damaged files.

Below the folder of an experiment, the seal of ``codes/train.npy`` is ``seals/codes/train.npy.sha256``. Its one line is
as sha256sum writes it, for the experiment's folder. Files from outside, and files made without a seal, have none.
"""

from collections.abc import Iterable
from pathlib import Path

from dalle.provenance import atomic, file_digest


def seal(files: Iterable[str | Path], results: str | Path) -> dict[str, str]:
    """Keep what these files are now. Gives their digests, by path relative to ``results``."""
    digests = {Path(file).relative_to(results).as_posix(): file_digest(file) for file in files}
    for name, digest in digests.items():
        with atomic(_seal_of(Path(results, name), Path(results))) as temporary:
            temporary.write_text(f"{digest}  {name}\n", encoding="utf-8")
    return digests


def check_seals(files: Iterable[str | Path], results: str | Path) -> None:
    """Raises ValueError that names the first of these files that is no longer what its job made."""
    for file in map(Path, files):
        meant = sealed_digest(file, results)
        if meant and (found := file_digest(file)) != meant:
            kept = _seal_of(file, Path(results))
            raise ValueError(
                f"{file} is not what its job made: its SHA-256 is {found[:16]}…, it was {meant[:16]}…. Delete it, and "
                f"the same command makes it anew; to go on with it as it is, delete {kept}"
            )


def sealed_digest(file: str | Path, results: str | Path) -> str | None:
    """The SHA-256 that a file had when its job made it; None for a file without a seal."""
    if not Path(file).is_relative_to(results) or not (kept := _seal_of(Path(file), Path(results))).exists():
        return None
    return kept.read_text(encoding="utf-8").partition(" ")[0]


def _seal_of(file: Path, results: Path) -> Path:
    inner = file.relative_to(results)
    return results / "seals" / inner.with_name(f"{inner.name}.sha256")
