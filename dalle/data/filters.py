"""Which captions and pictures are trained on (paper appendix C): named steps, each with a count of what it took."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool

if TYPE_CHECKING:
    from dalle.config.data import Filters

Keeps = Callable[[pd.DataFrame], Bool[np.ndarray, " n"]]

OF_PICTURES = "aspect ratio"  # the one step that asks nothing of captions


class Step(NamedTuple):
    """One filter: its name, its rule in words, and which rows it keeps."""

    name: str
    rule: str
    keeps: Keeps


def filter_steps(settings: "Filters") -> list[Step]:
    """The paper's filters in their order. A picture that nobody described only has to pass the one about pictures.

    Departures: English is judged by the alphabet, not by cld3; of the Conceptual Captions filters only those remain
    that need no tagger.
    """
    fewest, most = settings.words
    lowest, highest = settings.aspect
    banned = re.compile("|".join(f"(?:{pattern})" for pattern in settings.banned) or "(?!)", re.IGNORECASE)
    shown = ", ".join(settings.banned)
    steps = [
        Step(OF_PICTURES, f"width / height in [{lowest:g}, {highest:g}]", lambda rows: _shaped(rows, lowest, highest)),
        Step("caption length", f"{fewest} to {most} words", _of_captions(lambda text: fewest <= _words(text) <= most)),
        Step("banned captions", f"none of {shown}", _of_captions(lambda text: not banned.search(text))),
    ]
    if settings.ascii:
        steps.insert(2, Step("language", "ASCII characters only", _of_captions(str.isascii)))
    return steps


def _shaped(rows: pd.DataFrame, lowest: float, highest: float) -> Bool[np.ndarray, " n"]:
    """A picture of unknown size stays: it cannot be read, which is counted when it is opened."""
    ratio = (rows["width"] / rows["height"].where(rows["height"] > 0)).to_numpy()
    return np.isnan(ratio) | ((ratio >= lowest) & (ratio <= highest))


def _words(caption: str) -> int:
    return len(caption.split())


def _of_captions(is_kept: Callable[[str], bool]) -> Keeps:
    return lambda rows: np.array([not caption or is_kept(caption) for caption in rows["caption"]], bool)


def sift(rows: pd.DataFrame, steps: list[Step]) -> pd.DataFrame:
    """The rows with a column ``taken_by``: the first step that does not keep the row, '' for those that stay."""
    taken_by = np.full(len(rows), "", dtype=object)
    for step in steps:
        taken_by[(taken_by == "") & ~step.keeps(rows)] = step.name
    return rows.assign(taken_by=taken_by)


def account(sifted: pd.DataFrame, steps: list[Step]) -> pd.DataFrame:
    """What each step took: step, rule, captions, pictures (those that lost their last row), and what was left of both.

    The first row, ``delivered``, takes nothing.
    """
    lines, left = [], sifted
    for name, rule in [("delivered", ""), *((step.name, step.rule) for step in steps)]:
        stays = left[left["taken_by"] != name]
        counts = [(some["caption"] != "").sum() for some in (left, stays)]
        pictures = [some["picture"].nunique() for some in (left, stays)]
        taken = {"captions": counts[0] - counts[1], "pictures": pictures[0] - pictures[1]}
        lines.append({"step": name, "rule": rule, **taken, "captions_left": counts[1], "pictures_left": pictures[1]})
        left = stays
    return pd.DataFrame(lines)
