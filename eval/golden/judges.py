"""Do contrastive models prefer a picture to its negative? One that sees pictures upside down in brightness, or through
the wrong preprocessing, gives numbers too, and nobody notices.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dalle.images import iter_archive
from dalle.models.contrastive import open_clip_weights
from dalle.provenance import ROOT
from eval.contrastive import Judge, load_judge
from eval.golden import fixtures
from eval.golden.check import Check, NotAtHand
from eval.golden.installation import at_hand
from eval.pixels import Picture
from eval.protocols.protocol import ClipProtocol, FidProtocol, load_protocol, protocol_labels

RESULTS = ROOT / "results"
FIRST = 16  # pictures of an experiment
SHARE = 0.9  # of them


def judge_checks(weights: dict[str, str]) -> list[Check]:
    """One for each model that is at hand, of open_clip's and of the experiments' own."""
    found = []
    for protocol in open_clip_protocols():
        source = open_clip_weights(protocol.model, protocol.pretrained)
        try:
            path = at_hand(protocol.model, source, weights.get(protocol.model))
        except NotAtHand:
            continue
        found.append(Check(f"CLIP: {protocol.model}", partial(check_open_clip, protocol, path)))
    for model in sorted(RESULTS.glob("*/clip/weights.safetensors")):
        experiment = model.parent.parent
        found.append(Check(f"CLIP: results/{experiment.name}", partial(check_experiment, experiment)))
    return found or [Check("CLIP", _nothing)]


def _nothing() -> str:
    raise NotAtHand("not checked: no contrastive weights at hand")


def open_clip_protocols() -> list[ClipProtocol]:
    """One for each open_clip model that scores captions or gives features."""
    import open_clip

    protocols = list(map(load_protocol, protocol_labels()))
    scoring = {found.model: found for found in protocols if isinstance(found, ClipProtocol) and found.model != "own"}
    towers = {
        found.network: found
        for found in protocols
        if isinstance(found, FidProtocol) and found.network in open_clip.list_models()
    }
    whole = next(iter(scoring.values()))
    others = [
        whole.model_copy(update={"model": name, "weights": found.weights, "prefix": ""})
        for name, found in towers.items()
        if name not in scoring
    ]
    return [*scoring.values(), *others]


def check_open_clip(protocol: ClipProtocol, weights: str | Path) -> str:
    """A model of open_clip's prefers the golden photograph to its negative, by the photograph's caption."""
    judge = load_judge(protocol, weights)
    ((own, negative),) = cosines(judge, [fixtures.picture(fixtures.PHOTO)], [fixtures.CAPTION])
    if not own > negative:
        raise ValueError(f"“{fixtures.CAPTION}”: cosine {own:.3f} with the picture, {negative:.3f} with its negative")
    return f"cosine {own:.3f} with the picture, {negative:.3f} with its negative"


def check_experiment(experiment: Path) -> str:
    """An experiment's own model prefers more than SHARE of its first validation pictures to their negatives.

    Raises NotAtHand for a model that by its own report has not learnt colours.
    """
    report = json.loads((experiment / "clip" / "report.json").read_text(encoding="utf-8"))
    learnt = report["picture colour"]["accuracy"]
    if learnt < SHARE:
        raise NotAtHand(f"not checked: by its report the model tells colours in {learnt:.0%} (chance is 50%)")
    tokenizer = experiment / "tokenizer" / "tokenizer.json"
    judge = load_judge(load_protocol("clip.own", ClipProtocol), own=experiment / "clip", tokenizer=tokenizer)
    rows, pictures = next(iter_archive(experiment / "data" / "val.parquet", FIRST))
    own, negative = cosines(judge, pictures, list(rows["caption"])).T
    share = float(np.mean(own > negative))
    if not share > SHARE:
        raise ValueError(
            f"prefers {share:.0%} of {len(own)} pictures to their negatives; wanted is more than {SHARE:.0%}"
        )
    return f"prefers {share:.0%} of {len(own)} pictures to their negatives"


def cosines(judge: Judge, pictures: list[Picture], captions: list[str]) -> Float[np.ndarray, "n 2"]:
    """Each caption's cosines with its picture, and with that picture's negative."""
    texts = judge.embed_texts(captions)
    sides = [judge.embed_pictures(side) for side in (pictures, [255 - picture for picture in pictures])]
    return np.stack([(side * texts).sum(axis=1) for side in sides], axis=1)
