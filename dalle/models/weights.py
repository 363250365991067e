"""Weights of published networks: a given file, or the library's own download; in either case the file that is meant."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dalle.provenance import file_digest


@dataclass(frozen=True)
class Source:
    """Where a library has the weights of one of its networks."""

    file: str  # what the library calls the file
    fetch: Callable[[], str | Path]  # the file in the library's cache, downloaded if it is not there


def find_weights(
    network: str, source: Source, given: str | Path | None, digest: str | None, how_to_give: str
) -> tuple[Path, str]:
    """The file of a network's weights and its SHA-256, which begins with ``digest`` (None: any).

    ``given`` is used if it is there, else the library's cache or download. Raises ValueError for a file that is not
    there or is another one, and where nothing can be downloaded; then it says which file is needed and how to get it.
    """
    path = Path(given) if given else _fetch(network, source, digest, how_to_give)
    if not path.is_file():
        raise ValueError(f"weights of {network}: there is no file {path}")
    found = file_digest(path)
    if digest and not found.startswith(digest):
        raise ValueError(
            f"weights of {network}: {path} has the SHA-256 {found[: max(16, len(digest))]}…, "
            f"the protocol means the file {source.file} with {digest}…"
        )
    return path, found


def _fetch(network: str, source: Source, digest: str | None, how_to_give: str) -> Path:
    try:
        return Path(source.fetch())
    except Exception as error:  # every library has its own errors for "no connection"; the way out is the same
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ValueError(
            f"weights of {network}: the file {source.file} (SHA-256 {f'{digest}…' if digest else 'not known'}) is not "
            f"here and its download failed ({reason}). Either run this once where there is internet, the library then "
            f"keeps the file; or give the file: {how_to_give}"
        ) from None
