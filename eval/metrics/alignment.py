"""Does a picture show what its caption says? Values of single pictures from a contrastive model's embeddings."""

import numpy as np
from jaxtyping import Float, Int


def variants(cosines: Float[np.ndarray, " n"], scale: float, weight: float) -> dict[str, Float[np.ndarray, " n"]]:
    """The four numbers called CLIP score, each from the cosine of a picture's and its caption's embedding.

    - ``clip_cos``, the cosine (T2I-CompBench);
    - ``clipscore``, weight · max(cosine, 0) (Hessel et al. 2021, arXiv 2104.08718, whose weight is 2.5);
    - ``clip_logit``, scale · cosine with the model's own logit scale (GLIDE, arXiv 2112.10741, A.2);
    - ``clip_x100``, 100 · cosine, whatever the model's scale and not clamped (DALL·E 3, §3.2).
    """
    cosines = cosines.astype(np.float64)
    return {
        "clip_cos": cosines,
        "clipscore": weight * cosines.clip(min=0),
        "clip_logit": scale * cosines,
        "clip_x100": 100 * cosines,
    }


def r_precision(
    pictures: Float[np.ndarray, "n dim"],
    texts: Float[np.ndarray, "m dim"],
    own: Int[np.ndarray, " n"],
    ways: int,
    seed: int,
    sayings: Int[np.ndarray, " m"],
) -> Float[np.ndarray, " n"]:
    """1 where a picture is nearer to its own caption than to ``ways - 1`` others, else 0; a tie is 0.

    Embeddings are of length 1; ``own`` is the row of each picture's caption in ``texts``. The others are drawn for each
    caption, once for all its pictures, from those that say something else, which have another number in ``sayings``.
    So chance is right in 1 / ``ways``. Equal ``sayings`` and ``seed`` give equal draws, whatever the pictures. Raises
    ValueError where some caption has fewer than ``ways - 1`` others.
    """
    most_alike = int(np.unique(sayings, return_counts=True)[1].max())
    if not 2 <= ways <= 1 + len(texts) - most_alike:
        raise ValueError(
            f"R-precision among {ways} captions: allowed are 2 to {1 + len(texts) - most_alike}; given {len(texts)}, "
            f"of which up to {most_alike} say the same"
        )
    pictures, texts = pictures.astype(np.float64), texts.astype(np.float64)
    is_right = np.zeros(len(pictures))
    for number, (picture, mine) in enumerate(zip(pictures, own, strict=True)):
        rng = np.random.default_rng([seed, int(mine)])
        others = rng.choice(np.flatnonzero(sayings != sayings[mine]), ways - 1, replace=False)
        mine_first = texts[[mine, *others]] @ picture
        is_right[number] = mine_first[0] > mine_first[1:].max()
    return is_right
