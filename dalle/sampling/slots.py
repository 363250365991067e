"""How candidates of captions are cut into what is decoded together."""

from dataclasses import dataclass

TILE = 8  # candidates; few enough that a lone one wastes little, enough that they cost little more than one


@dataclass(frozen=True)
class Slot:
    """What shares one caption in a batch: a prompt, by its number in a list, and whole tiles of its candidates."""

    prompt: int
    candidates: range


def slots(num_prompts: int, candidates: range, most: int) -> list[Slot]:
    """Slots of one size, at most ``most`` tiles, that cover the ``candidates`` of every prompt, in order.

    They may reach beyond the candidates, at either end.
    """
    first, end = candidates.start // TILE, -(-candidates.stop // TILE)
    tiles = share(end - first, most)
    return [
        Slot(prompt, range(tile * TILE, (tile + tiles) * TILE))
        for prompt in range(num_prompts)
        for tile in range(first, end, tiles)
    ]


def share(total: int, most: int) -> int:
    """What each part has if ``total`` is cut into as few equal parts of at most ``most`` as can be; the last may have
    less."""
    parts = max(1, -(-total // most))
    return max(1, -(-total // parts))
