"""Photographs as an experiment's data: the same files as for the scenes, from any source of captioned pictures."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dalle.data.darkroom import Darkroom, Print
from dalle.data.filters import OF_PICTURES, Step, account, filter_steps, sift
from dalle.data.oddities import RULES
from dalle.data.sources.doors import open_source
from dalle.data.sources.table import Source, measured
from dalle.listing import some
from dalle.provenance import atomic
from dalle.seeding import seed_for
from dalle.sheets import write_sheet

if TYPE_CHECKING:
    from dalle.config.data import Photographs

SUITE = "val"


def write_photographs(settings: "Photographs", seed: int, folder: str | Path) -> None:
    """Writes ``train``, ``uncaptioned``, ``val``, ``val_reference``, ``val_real``, ``captions``, prompts, a report.

    - ``train``: captioned training pictures that pass the filters, in an order drawn by seed, ``views`` crops of each
      under its captions in turn.
    - ``uncaptioned``: ``dvae_views`` crops of every training picture of allowed shape, without captions, for the dVAE.
      Every training picture is once, in one of these two archives, ``candidate`` 0: cut as the references are.
    - ``val``: the prompts in an order drawn by seed, each with its own picture; ``val_reference``: every captioned
      picture of the suite once, under its first caption. Never filtered.
    - ``val_real``: other pictures under the prompts, of the same category where there are categories: the floor of what
      compares sets. Their captions are others, so what compares a picture with its caption says nothing about them.
    - ``captions.parquet``: every caption of the source, what it is used for, and which filter took it.
    - ``prompts.csv``: prompt_id, image_id and caption of ``val``; ``report.json``: counts, rules, the prompts' digest.

    Raises ValueError as the source's door does, for a split that is not there, and where nothing is left.
    """
    folder = Path(folder)
    source = with_val(measured(open_source(settings), settings.workers), settings, seed)
    darkroom = Darkroom(source, settings.image_size, settings.crop == "box", settings.workers, seed)
    steps = filter_steps(settings.filters)
    train = sift(_drawn_pictures(source.of_split(*settings.train), settings.pictures, seed), steps)
    _refuse_nothing(source, "training caption passes the filters", train.query("taken_by == '' and caption != ''"))
    written = darkroom.write(list(_training_prints(train, settings, seed)), folder)
    steps.append(_of_readable(darkroom))
    train = sift(train, steps)
    if not written["train"]:
        raise ValueError(f"{source.name}: no training picture can be read; {_unreadable(darkroom)}")

    val = _readable(source.of_split(settings.val).query("caption != ''"), darkroom)
    held_back = _held_back(val, settings.held_back, seed)
    prompts = choose_prompts(val[~held_back], settings.captions, settings.prompts, seed)
    reference = val[~held_back].drop_duplicates("picture")
    pool = val[held_back] if settings.held_back else train[train["taken_by"] == ""]
    _refuse_nothing(source, "prompt is left", prompts)
    _refuse_nothing(source, f"picture for {SUITE}_real is left", pool)
    for prints in (
        [_centred(SUITE, row) for row in prompts.itertuples()],
        [_centred(f"{SUITE}_reference", row) for row in reference.itertuples()],
        list(_other_prints(prompts, pool, seed)),
    ):
        written += darkroom.write(prints, folder)

    _write_prompts(prompts, folder / "prompts.csv")
    _write_captions(source.rows, train, {"prompt": prompts, "held back": val[held_back]}, folder / "captions.parquet")
    report = {"pictures": dict(written)} | _report(source, train, steps, prompts, darkroom)
    with atomic(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def with_val(source: Source, settings: "Photographs", seed: int) -> Source:
    """The source, or where it has no split for the suite, one with a share of its training pictures as that split.

    Raises ValueError if that is less than one picture.
    """
    if settings.val in set(source.rows["split"]) or not settings.draw_val:
        return source
    train = source.of_split(*settings.train)
    described = train[train["caption"] != ""]["image_id"].unique()
    order = sorted(described, key=lambda image_id: seed_for(seed, "val", image_id))
    chosen = order[: round(settings.draw_val * len(order))]
    if not chosen:
        share = f"{settings.draw_val:g} of {len(order)} captioned pictures"
        raise ValueError(f"data.draw_val: {share} is none; allowed are larger shares")
    rows = source.rows.copy()
    rows.loc[rows["image_id"].isin(chosen), "split"] = settings.val
    return replace(source, rows=rows)


def choose_prompts(rows: pd.DataFrame, which: str, num: int | None, seed: int) -> pd.DataFrame:
    """The rows that are prompts, in an order drawn by seed; fewer are the first of more.

    ``which``: "one" a picture, drawn by seed; "all"; "unique": of captions that are equal but for their case the first.
    Raises ValueError for fewer than ``num``.
    """
    if which == "unique":
        rows = rows[~rows["caption"].str.lower().duplicated()]
    order = [seed_for(seed, "prompt", int(prompt_id)) for prompt_id in rows["prompt_id"]]
    drawn = rows.iloc[np.argsort(order)]
    if which == "one":
        drawn = drawn.drop_duplicates("picture")
    if num is not None and num > len(drawn):
        raise ValueError(f"data.prompts: {num} is more than the {len(drawn)} captions of the suite ({which})")
    return drawn.iloc[:num]


def _in_drawn_order(rows: pd.DataFrame, seed: int, purpose: str) -> list[int]:
    """The pictures of some rows in an order that is drawn by seed and does not depend on which others there are."""
    of_picture = rows.drop_duplicates("picture").set_index("picture")["image_id"]
    return sorted(of_picture.index, key=lambda picture: seed_for(seed, purpose, of_picture[picture]))


def _drawn_pictures(rows: pd.DataFrame, num: int | None, seed: int) -> pd.DataFrame:
    """The rows of ``num`` pictures (all, if None), picture by picture in drawn order.

    The last pairs of training are kept for its validation; so they are no class of their own, and hardly a picture
    stands on both sides. Raises ValueError for fewer than ``num``.
    """
    order = pd.Series({picture: place for place, picture in enumerate(_in_drawn_order(rows, seed, "train"))})
    places = order[rows["picture"]].to_numpy()
    drawn = rows.iloc[np.argsort(places, kind="stable")]
    if num is not None and num > len(order):
        raise ValueError(f"data.pictures: {num} is more than the {len(order)} pictures to train on")
    return drawn if num is None else drawn[np.sort(places) < num]


def _held_back(rows: pd.DataFrame, share: float, seed: int) -> pd.Series:
    order = _in_drawn_order(rows, seed, "held back")
    return rows["picture"].isin(order[: round(share * len(order))])


def _readable(rows: pd.DataFrame, darkroom: Darkroom) -> pd.DataFrame:
    """The rows of pictures that can be read; those that the darkroom does not know yet are looked at."""
    darkroom.look(picture for picture in rows["picture"].unique() if picture not in darkroom.odd)
    return rows[~rows["picture"].isin(list(darkroom.unreadable))]


def _of_readable(darkroom: Darkroom) -> Step:
    """The last step of all: what only shows when the pictures are opened."""
    return Step(
        "unreadable", RULES["unreadable"], lambda rows: ~rows["picture"].isin(list(darkroom.unreadable)).to_numpy()
    )


def _refuse_nothing(source: Source, what: str, rows: pd.DataFrame) -> None:
    if rows.empty:
        raise ValueError(f"{source.name}: no {what}")


def _training_prints(train: pd.DataFrame, settings: "Photographs", seed: int) -> Iterator[Print]:
    """For every picture of allowed shape the crops for the dVAE, and after those with a caption that stayed."""
    shaped = train[train["taken_by"] != OF_PICTURES]
    for picture, rows in shaped.groupby("picture", sort=False):
        first = rows.iloc[0]
        kept = rows[rows["taken_by"].eq("") & rows["caption"].ne("")]
        order = np.random.default_rng(seed_for(seed, "captions", first["image_id"])).permutation(len(kept))
        for view, place in zip(range(settings.views * bool(len(kept))), cycle(order), strict=False):
            said = kept.iloc[place]
            crop = "prior" if view else "centred"
            yield Print(picture, "train", int(said["prompt_id"]), view, said["caption"], crop)
        start = int(len(kept) > 0)  # the centred crop of a picture is in one of the archives, as candidate 0
        for view in range(start, start + settings.dvae_views):
            yield Print(picture, "uncaptioned", int(first["prompt_id"]), view, "", "dvae" if view else "centred")


def _centred(archive: str, row: Any) -> Print:
    return Print(row.picture, archive, row.prompt_id, 0, row.caption, "centred")


def _other_prints(prompts: pd.DataFrame, pool: pd.DataFrame, seed: int) -> Iterator[Print]:
    """For each prompt another picture, of its category where the pool has it; each once before one comes again."""
    of_picture = pool.drop_duplicates("picture").set_index("picture")
    order = _in_drawn_order(pool, seed, "real")
    anyone = cycle(order)
    of_category = {
        category: cycle([picture for picture in order if picture in pictures])
        for category, pictures in of_picture.groupby("category").groups.items()
    }
    for row in prompts.itertuples():
        picture = next(of_category.get(row.category, anyone))
        yield Print(picture, f"{SUITE}_real", row.prompt_id, 0, row.caption, "centred")


def _write_prompts(prompts: pd.DataFrame, path: Path) -> None:
    write_sheet(prompts[["prompt_id", "image_id", "caption"]], path)


def digest_of_ids(prompt_ids: pd.Series) -> str:
    """SHA-256 of the prompts' ids in ascending order, one a line: equal sets of captions, equal digests."""
    return hashlib.sha256("\n".join(str(each) for each in sorted(prompt_ids)).encode()).hexdigest()


def _write_captions(rows: pd.DataFrame, train: pd.DataFrame, used: dict[str, pd.DataFrame], path: Path) -> None:
    """All rows of the source, with the columns taken_by (the filter, '' if none) and used ('' if for nothing)."""
    taken_by = train["taken_by"].reindex(rows.index, fill_value="")
    uses = pd.Series("", rows.index)
    for use, some_rows in {"train": train[train["taken_by"] == ""], **used}.items():
        uses[some_rows.index] = use
    with atomic(path) as temporary:
        rows.drop(columns="picture").assign(taken_by=taken_by, used=uses).to_parquet(temporary, index=False)


def _report(
    source: Source, train: pd.DataFrame, steps: list[Step], prompts: pd.DataFrame, darkroom: Darkroom
) -> dict[str, Any]:
    odd = Counter(name for names in darkroom.odd.values() for name in names)
    kept = set(train["caption"][train["taken_by"] == ""].str.lower())
    return {
        "source": source.name,
        "notes": dict(source.notes),
        "delivered": {str(split): _counts(rows) for split, rows in source.rows.groupby("split")},
        "filters": account(train, steps).to_dict("records"),
        "odd_pictures": {name: {"pictures": odd[name], "rule": rule} for name, rule in RULES.items()},
        "unreadable": _unreadable(darkroom),
        "prompts": {"captions": len(prompts), "digest": digest_of_ids(prompts["prompt_id"])},
        "distinct_training_captions": len(kept),
        "overlap": {SUITE: {"captions": float(prompts["caption"].str.lower().isin(kept).mean())}},
    }


def _unreadable(darkroom: Darkroom) -> str:
    """How many pictures could not be read, and why the first of them; '' if all could."""
    return some(list(darkroom.unreadable.values())) if darkroom.unreadable else ""


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    described = rows[rows["caption"] != ""]
    pictures = {"pictures": rows["picture"].nunique(), "captioned": described["picture"].nunique()}
    return pictures | {"captions": len(described)}
