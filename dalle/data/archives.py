"""The embedded experiment's data: training pictures, the suites, and an account of how they overlap."""

import json
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd

from dalle.config.data import Scenes
from dalle.data.captions import caption
from dalle.data.drawing import draw
from dalle.data.overlap import find_overlap
from dalle.data.scenes import Scene, all_pairs, is_reserved, place, random_scenes
from dalle.images import write_archive
from dalle.provenance import atomic
from dalle.seeding import seed_for

SUITES, TRAINING = ("val", "zeroshot"), ("train", "uncaptioned")
Pair = tuple[Scene, str]  # a scene and its caption


def write_scenes(settings: Scenes, seed: int, folder: str | Path) -> None:
    """Writes ``train``, ``uncaptioned``, ``val``, ``val_real``, ``zeroshot``, ``zeroshot_real``, ``overlap``, a report.

    - ``train``: captioned pictures of seen colour×shape pairs whose content is not reserved.
    - ``uncaptioned``: pictures with held-out pairs, without captions; only the dVAE sees them, its codes must show them
    - ``val``: distinct captions of reserved contents of seen pairs; ``zeroshot``: of contents with a held-out pair.
    - ``*_real``: other pictures of the same contents, placed and textured anew, under the same captions.
    - ``overlap``: which pictures of the suites have a near-duplicate in training; ``report.json``: the shares.
    """
    folder = Path(folder)
    uncaptioned = ((scene, "") for scene in zeroshot_scenes(settings, seed, "uncaptioned"))
    splits = {
        "train": list(islice(_worded(train_scenes(settings, seed), seed, "train"), settings.train)),
        "uncaptioned": list(islice(uncaptioned, settings.uncaptioned)),
        "val": _distinct(_worded(val_scenes(settings, seed), seed, "val"), settings.val),
        "zeroshot": _distinct(_worded(zeroshot_scenes(settings, seed), seed, "zeroshot"), settings.zeroshot),
    }
    for name, pairs in splits.items():
        _write(folder / f"{name}.parquet", pairs, settings, seed)
    for suite in SUITES:
        rng = np.random.default_rng(seed_for(seed, "real", suite))
        others = [(_same_content(scene, rng, settings), words) for scene, words in splits[suite]]
        _write(folder / f"{suite}_real.parquet", others, settings, seed)
    overlap = find_overlap(_scenes_of(splits, SUITES), chain(*_scenes_of(splits, TRAINING).values()))
    with atomic(folder / "overlap.parquet") as temporary:
        overlap.to_parquet(temporary, index=False)
    _write_report(folder / "report.json", splits, overlap, settings)


def _scenes_of(splits: dict[str, list[Pair]], names: tuple[str, ...]) -> dict[str, list[Scene]]:
    return {name: [scene for scene, _ in splits[name]] for name in names}


def train_scenes(settings: Scenes, seed: int, purpose: str = "train") -> Iterator[Scene]:
    """Endless scenes of seen pairs and contents that are not reserved; another ``purpose``, other scenes."""
    seen = all_pairs() - held_out_pairs(settings)
    return (scene for scene in _scenes(settings, seed, purpose, seen) if not is_reserved(scene.content))


def val_scenes(settings: Scenes, seed: int) -> Iterator[Scene]:
    """Endless scenes of seen pairs and reserved contents."""
    seen = all_pairs() - held_out_pairs(settings)
    return (scene for scene in _scenes(settings, seed, "val", seen) if is_reserved(scene.content))


def zeroshot_scenes(settings: Scenes, seed: int, purpose: str = "zeroshot") -> Iterator[Scene]:
    """Endless scenes with at least one held-out pair; another ``purpose``, other scenes."""
    held_out = held_out_pairs(settings)
    scenes = _scenes(settings, seed, purpose, all_pairs())
    return (scene for scene in scenes if held_out & {kind.pair for kind in scene.kinds})


def held_out_pairs(settings: Scenes) -> set[str]:
    """The pairs kept for 'zeroshot'. Raises ValueError for a pair this world does not have, or if none is left."""
    pairs, known = set(settings.held_out), all_pairs()
    if not pairs <= known or pairs == known or not pairs:
        raise ValueError(f"data.held_out: {sorted(pairs)}; allowed are some, not all, of {sorted(known)}")
    return pairs


def _scenes(settings: Scenes, seed: int, purpose: str, pairs: set[str]) -> Iterator[Scene]:
    rng = np.random.default_rng(seed_for(seed, "scenes", purpose))
    return random_scenes(rng, pairs, settings.image_size, settings.lattice)


def _worded(scenes: Iterator[Scene], seed: int, purpose: str) -> Iterator[Pair]:
    rng = np.random.default_rng(seed_for(seed, "captions", purpose))
    return ((scene, caption(scene, rng)) for scene in scenes)


def _distinct(pairs: Iterator[Pair], num: int) -> list[Pair]:
    chosen: dict[str, Pair] = {}
    for scene, words in islice(pairs, 1000 * num):
        chosen.setdefault(words, (scene, words))
        if len(chosen) == num:
            return list(chosen.values())
    raise ValueError(f"this world has no {num} distinct captions for the suite, only {len(chosen)}; ask for fewer")


def _same_content(scene: Scene, rng: np.random.Generator, settings: Scenes) -> Scene:
    kinds = [thing.kind for thing in scene.things]
    while True:
        other = place(rng, kinds, scene.background, settings.image_size, settings.lattice)
        if other.content == scene.content:
            return other


def _write(path: Path, pairs: list[Pair], settings: Scenes, seed: int) -> None:
    rng = np.random.default_rng(seed_for(seed, "texture", path.stem))
    pictures = np.empty((len(pairs), settings.image_size, settings.image_size, 3), np.uint8)
    for number, (scene, _) in enumerate(pairs):
        pictures[number] = draw(scene, settings.image_size, rng)
    scenes, captions = [scene.to_json() for scene, _ in pairs], [words for _, words in pairs]
    rows = pd.DataFrame({"prompt_id": range(len(pairs)), "candidate": 0, "caption": captions, "scene": scenes})
    write_archive(path, rows, pictures)


def _write_report(path: Path, splits: dict[str, list[Pair]], overlap: pd.DataFrame, settings: Scenes) -> None:
    captions = {words for _, words in splits["train"]}
    contents = {scene.content for scene, _ in splits["train"]}
    report = {
        "pictures": {name: len(pairs) for name, pairs in splits.items()},
        "distinct_training_captions": len(captions),
        "distinct_training_contents": len(contents),
        "held_out": sorted(settings.held_out),
        "overlap": {
            suite: {
                "captions": float(np.mean([words in captions for _, words in splits[suite]])),
                "contents": float(np.mean([scene.content in contents for scene, _ in splits[suite]])),
                "pictures": float(overlap[overlap["suite"] == suite]["overlap"].mean()),
            }
            for suite in SUITES
        },
    }
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
