"""Reference pictures that occur in training, as the experiment's reranker and the pixels see them (paper §3.1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dalle.config.data import Overlap
from dalle.config.sampling import Rerank
from dalle.data.duplicates import write_overlap
from dalle.rerank import load_reranker


def write_neighbours(
    suites: Mapping[str, str | Path],
    training: Sequence[str | Path],
    folder: str | Path,
    sheet: str | Path,
    settings: Overlap,
    rerank: Rerank,
) -> None:
    """:func:`dalle.data.duplicates.write_overlap` with the embedding of the settings, none or the reranker's.

    ``folder`` is data/ of the results whose reranker it is.
    """
    is_embedded = settings.embedding == "clip"
    embed = load_reranker(rerank, Path(folder).parent).embed_pictures if is_embedded else None
    write_overlap(suites, training, folder, sheet, settings, embed)
