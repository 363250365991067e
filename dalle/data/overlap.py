"""Reference pictures that a system may have seen: FID is given with and without them (paper §3.1, figure 9, dashed)."""

from collections.abc import Iterable

import pandas as pd

from dalle.data.scenes import Scene, Thing


def layout(scene: Scene) -> tuple[Thing, ...]:
    """The things of a scene with their places, in a fixed order; the ground and its texture are left out."""
    return tuple(sorted(scene.things, key=lambda thing: (thing.kind, thing.x, thing.y)))


def find_overlap(suites: dict[str, list[Scene]], training: Iterable[Scene]) -> pd.DataFrame:
    """suite, prompt_id, overlap: whether a training picture shows the same things at the same places.

    Such a picture differs in its ground alone. The paper calls near-duplicates found by a contrastive model an overlap,
    21 % of its COCO validation pictures; here the scenes say it exactly.
    """
    known = {layout(scene) for scene in training}
    rows = [
        (suite, prompt_id, layout(scene) in known)
        for suite, scenes in suites.items()
        for prompt_id, scene in enumerate(scenes)
    ]
    return pd.DataFrame(rows, columns=["suite", "prompt_id", "overlap"])
