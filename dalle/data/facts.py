"""A scene as a set of facts: what is there, and what stands where to what."""

import torch
from jaxtyping import Bool
from torch import Tensor

from dalle.data.scenes import Kind, Scene


def facts(scene: Scene) -> set[str]:
    """Every attribute of every thing, every two of a thing's together, and each with the thing's role in the relation.

    A small red ring on sand: ``on sand``, ``things 1``, ``small``, ``red``, ``ring``, ``small red``, ``small ring``,
    ``red ring``, ``alone``, ``alone, small``, ``alone, red``, ``alone, ring``.
    """
    found = {f"on {scene.background}", f"things {len(scene.things)}"}
    for kind, role in _roles(scene):
        size, colour, shape = kind
        found |= {size, colour, shape, f"{size} {colour}", f"{size} {shape}", f"{colour} {shape}"}
        found |= {f"{role}, {attribute}" for attribute in kind} | {role}
    return found


def _roles(scene: Scene) -> list[tuple[Kind, str]]:
    if len(scene.kinds) == 1:
        return [(scene.things[0].kind, "alone")]
    if scene.is_stacked:
        first, second = sorted(scene.things, key=lambda thing: thing.y)
        return [(first.kind, "above"), (second.kind, "below")]
    first, second = sorted(scene.things, key=lambda thing: thing.x)
    return [(first.kind, "left"), (second.kind, "right")]


def fact_table(scenes: list[Scene], vocabulary: list[str]) -> Bool[Tensor, "scenes facts"]:
    """Which facts of the ``vocabulary`` hold in each scene."""
    column = {fact: number for number, fact in enumerate(vocabulary)}
    table = torch.zeros(len(scenes), len(vocabulary), dtype=torch.bool)
    for row, scene in zip(table, scenes, strict=True):
        row[[column[fact] for fact in facts(scene)]] = True
    return table
