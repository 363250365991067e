"""The embedded experiment's data: training pictures, the suites, and an account of how they overlap."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from dalle.config import Scenes
from dalle.data.captions import caption
from dalle.data.drawing import draw
from dalle.data.scenes import Scene, all_pairs, is_reserved, place, random_scenes
from dalle.images import write_archive
from dalle.provenance import atomic
from dalle.seeding import seed_for


def write_scenes(settings: Scenes, seed: int, folder: str | Path) -> None:
    """Writes ``train``, ``uncaptioned``, ``val``, ``val_real``, ``zeroshot``, ``zeroshot_real`` and ``report.json``.

    - ``train``: captioned pictures of seen colour×shape pairs whose content is not reserved.
    - ``uncaptioned``: pictures with held-out pairs, without captions; only the dVAE sees them, its codes must show them
    - ``val``: distinct reserved contents of seen pairs; ``zeroshot``: distinct contents, each with a held-out pair.
    - ``*_real``: other pictures of the same contents, placed and textured anew, under the same captions.
    """
    folder = Path(folder)
    splits = {
        "train": list(islice(train_scenes(settings, seed), settings.train)),
        "uncaptioned": list(islice(zeroshot_scenes(settings, seed, "uncaptioned"), settings.uncaptioned)),
        "val": _distinct(val_scenes(settings, seed), settings.val),
        "zeroshot": _distinct(zeroshot_scenes(settings, seed), settings.zeroshot),
    }
    rows = {name: _write(folder / f"{name}.parquet", name, scenes, settings, seed) for name, scenes in splits.items()}
    for suite in ("val", "zeroshot"):
        _write_real(folder / f"{suite}_real.parquet", suite, splits[suite], rows[suite], settings, seed)
    _write_report(folder / "report.json", splits, rows, settings)


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


def _distinct(scenes: Iterator[Scene], num: int) -> list[Scene]:
    chosen: dict[str, Scene] = {}
    for scene in islice(scenes, 1000 * num):
        chosen.setdefault(scene.content, scene)
        if len(chosen) == num:
            return list(chosen.values())
    raise ValueError(f"this world has no {num} distinct contents for the suite, only {len(chosen)}; ask for fewer")


def _write(path: Path, name: str, scenes: list[Scene], settings: Scenes, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed_for(seed, "captions", name))
    words = ["" if name == "uncaptioned" else caption(scene, rng) for scene in scenes]
    rows = pd.DataFrame(
        {"prompt_id": range(len(scenes)), "candidate": 0, "caption": words, "scene": [s.to_json() for s in scenes]}
    )
    _draw_all(path, rows, scenes, settings.image_size, seed_for(seed, "texture", name))
    return rows


def _write_real(path: Path, suite: str, scenes: list[Scene], rows: pd.DataFrame, settings: Scenes, seed: int) -> None:
    rng = np.random.default_rng(seed_for(seed, "real", suite))
    others = [_same_content(scene, rng, settings) for scene in scenes]
    rows = rows.assign(scene=[scene.to_json() for scene in others])
    _draw_all(path, rows, others, settings.image_size, seed_for(seed, "texture", f"{suite}_real"))


def _same_content(scene: Scene, rng: np.random.Generator, settings: Scenes) -> Scene:
    kinds = [thing.kind for thing in scene.things]
    while True:
        other = place(rng, kinds, scene.background, settings.image_size, settings.lattice)
        if other.content == scene.content:
            return other


def _draw_all(path: Path, rows: pd.DataFrame, scenes: list[Scene], image_size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = np.empty((len(scenes), image_size, image_size, 3), np.uint8)
    for number, scene in enumerate(scenes):
        pictures[number] = draw(scene, image_size, rng)
    write_archive(path, rows, pictures)


def _write_report(path: Path, splits: dict, rows: dict, settings: Scenes) -> None:
    captions = set(rows["train"]["caption"])
    contents = {scene.content for scene in splits["train"]}
    report = {
        "pictures": {name: len(scenes) for name, scenes in splits.items()},
        "distinct_training_captions": len(captions),
        "distinct_training_contents": len(contents),
        "held_out": sorted(settings.held_out),
        "overlap": {
            suite: {
                "captions": float(np.mean([text in captions for text in rows[suite]["caption"]])),
                "contents": float(np.mean([scene.content in contents for scene in splits[suite]])),
            }
            for suite in ("val", "zeroshot")
        },
    }
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")
