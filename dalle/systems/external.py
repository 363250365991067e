"""Pictures of another program as a system."""

from pathlib import Path

from dalle.config.systems import External
from dalle.images import read_rows
from dalle.intake import take_in
from dalle.manifest import Pictures, open_pictures, read_hub


def write_external(settings: External, prompts: str | Path, out: str | Path, selection: str | Path) -> None:
    """The pictures that answer the archive ``prompts``, as :func:`dalle.intake.take_in` writes them.

    Raises ValueError as it does, and for a place where no pictures can be read.
    """
    take_in(_given(settings), read_rows(prompts), out, selection)


def _given(settings: External) -> Pictures:
    if settings.hub is not None:
        return read_hub(settings.hub, settings.split)
    return open_pictures(settings.path, settings.manifest)
