"""Samples: how the choice grows with N, and the best and the worst captions, failures as openly as successes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eval.report.parts import Grid, Part, Prose, Row, Tile
from eval.report.pictures import Key, read_pictures, tile

SYSTEM = "dalle1"
NUM_GROWING, NUM_EXTREME = 6, 8  # captions shown
SCORE = "clip_cos"
MARKS = "✓: the grader finds everything that the caption says; ✗: it does not."


@dataclass(frozen=True)
class Suite:
    """A suite's answers by :data:`SYSTEM`: its archives, which picture stands for which N, and what judges said."""

    name: str
    real: Path  # pictures that show what the captions say, or were captioned so
    pictures: Path
    captions: dict[int, str]
    selection: pd.DataFrame  # prompt_id, n_candidates, candidate
    right: dict[tuple[str, int, int], bool]  # of system, prompt, candidate; empty where nobody can tell
    scores: dict[Key, float]  # the reranker's cosine; empty where none looked

    @classmethod
    def read(cls, real: str | Path, pictures: str | Path, selection: str | Path, image_scores: str | Path) -> "Suite":
        """From the archives …/{suite}.parquet of real pictures and of ours, our selection and the table of scores."""
        name = Path(pictures).stem
        rows = pd.read_parquet(real, columns=["prompt_id", "caption"])
        asked = [
            ("suite", "==", name),
            ("system", "in", [Path(real).parent.name, SYSTEM]),
            ("metric", "in", ["grounded", SCORE]),
        ]
        found = pd.read_parquet(image_scores, filters=asked).sort_values("protocol")
        graded, scored = found[found["metric"] == "grounded"], found[found["metric"] == SCORE]
        scored = scored[(scored["system"] == SYSTEM) & (scored["protocol"] == scored["protocol"].min())]
        return cls(
            name,
            Path(real),
            Path(pictures),
            dict(rows.drop_duplicates("prompt_id").itertuples(index=False, name=None)),
            pd.read_parquet(selection),
            (graded.set_index(["system", "prompt_id", "candidate"])["value"] == 1).to_dict(),
            scored.set_index(["prompt_id", "candidate"])["value"].to_dict(),
        )

    @property
    def numbers(self) -> list[int]:
        """Every N."""
        return sorted(self.selection["n_candidates"].unique().tolist())


def growing(suites: Sequence[Suite]) -> Iterator[Part]:
    """The first captions of each suite, nobody's choice: a real picture, then what stands for each N."""
    for suite in suites:
        prompts = list(suite.captions)[:NUM_GROWING]
        chosen = suite.selection.set_index(["prompt_id", "n_candidates"])["candidate"].to_dict()
        real, ours = read_pictures(suite.real, prompts), read_pictures(suite.pictures, prompts)
        rows = []
        for prompt in prompts:
            tiles = [_real(suite, prompt, real)]
            tiles += [_ours(suite, (prompt, chosen[prompt, n]), ours, _label(n)) for n in suite.numbers]
            rows.append(Row(suite.captions[prompt], tiles))
        yield Grid(f"The first captions of suite {suite.name}. {MARKS if suite.right else ''}", rows)


def extremes(suites: Sequence[Suite]) -> Iterator[Part]:
    """As many of the worst as of the best captions of each suite, each with a real picture and ours at the largest N.

    Wrong pictures are worse than right ones; among equals the reranker's score decides.
    """
    for suite in suites:
        ranked = _ranked(suite)
        if ranked is None:
            yield Prose(f"Suite {suite.name} has neither grades nor scores by which captions could be ranked.", True)
            continue
        order = "by the grader, then by the reranker's cosine" if suite.right else "by the reranker's cosine"
        num, most = min(NUM_EXTREME, len(ranked) // 2), suite.numbers[-1]
        yield _extreme(
            suite, ranked[::-1][:num], f"Suite {suite.name}, best of {most}: the best {num} captions {order}"
        )
        yield _extreme(suite, ranked[:num], f"Suite {suite.name}, best of {most}: the worst {num} captions")


def wrong_share(suites: Sequence[Suite]) -> Iterator[Part]:
    """How many failures there are, of which the worst captions are examples."""
    for suite in suites:
        if suite.right:
            chosen = _chosen(suite)
            wrong = sum(not suite.right.get((SYSTEM, *key), True) for key in chosen)
            yield Prose(f"Suite {suite.name}: {wrong} of {len(chosen)} captions have a wrong picture.")


def _chosen(suite: Suite) -> list[Key]:
    rows = suite.selection[suite.selection["n_candidates"] == suite.numbers[-1]]
    return list(rows[["prompt_id", "candidate"]].itertuples(index=False, name=None))


def _ranked(suite: Suite) -> list[Key] | None:
    """The chosen pictures, the worst first; None where nobody judged."""
    if not suite.right and not suite.scores:
        return None

    def how_good(key: Key) -> tuple[bool, float, int]:
        return suite.right.get((SYSTEM, *key), True), suite.scores.get(key, 0.0), key[0]

    return sorted(_chosen(suite), key=how_good)


def _extreme(suite: Suite, keys: Sequence[Key], caption: str) -> Grid:
    prompts = [prompt for prompt, _ in keys]
    real, ours = read_pictures(suite.real, prompts), read_pictures(suite.pictures, prompts)
    rows = [
        Row(suite.captions[key[0]], [_real(suite, key[0], real), _ours(suite, key, ours, _score(suite, key))])
        for key in keys
    ]
    return Grid(caption, rows, is_dense=True)


def _real(suite: Suite, prompt: int, pictures: dict) -> Tile:
    right = suite.right.get((suite.real.parent.name, prompt, 0))
    return tile(pictures[prompt, 0], f"a real picture of: {suite.captions[prompt]}", label="real", right=right)


def _ours(suite: Suite, key: Key, pictures: dict, label: str) -> Tile:
    alt = f"{label}, drawn for: {suite.captions[key[0]]}"
    return tile(pictures[key], alt, label=label, right=suite.right.get((SYSTEM, *key)))


def _label(n: int) -> str:
    return "N = 1" if n == 1 else f"best of {n}"


def _score(suite: Suite, key: Key) -> str:
    return f"ours, {suite.scores[key]:.3f}" if key in suite.scores else "ours"
