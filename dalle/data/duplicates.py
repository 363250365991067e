"""Training pictures that occur in the evaluation set (paper §3.1): copies first, then nearest neighbours.

Copies are proposed by perceptual hashes and decided by pixels. A hash is 63 bits: which low frequencies of the grey
picture are above their median. Silhouettes on plain ground can have the same hash, so of the nearest by hash the coarse
colours are correlated. A cut shifts both, so either picture is also looked at as if the other had been cut from it:
windows of 96 and 92 % of its side in the middle and the corners, and mirrored. In pictures of 64 pixels, 991 copies of
COCO and CUB photographs, cut by 4 % anywhere and compressed again (quality 50 to 95), had a likeness of 0.929 and more
and at most 8 different bits. Of a million pairs of CUB's, three were above 0.871: the same photograph in other colours,
and two of one bird seconds later.

Nearest neighbours in a contrastive embedding are the paper's way. Their threshold is for a person to set who has looked
at the sheet of the closest pairs.

What it costs for 10⁵ training and 10⁴ other pictures of 64 pixels, on one core: 3 minutes for what they are recognised
by (0.7 GB), 2 minutes for the hashes, 2 minutes for 512 dimensions (seconds on a GPU), and the model's own time.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Int64, UInt8, UInt64

from dalle.device import best_device
from dalle.images import Picture, iter_archive
from dalle.provenance import atomic
from dalle.sheets import write_sheet

if TYPE_CHECKING:
    from dalle.config.data import Overlap

GRID = 32  # pixels a side of the grey picture whose frequencies are taken
LOW = 8  # frequencies a direction; the first of all, the mean, is left out
SCALES = (0.96, 0.92)
FLAT = 1.0  # grey levels of standard deviation: below, a hash is noise, and there is none
THUMB = 12  # pixels a side of the coarse colours
CANDIDATES = 8  # nearest by hash, whose colours are compared
APART = 64  # bits: more than two hashes can differ in, for those without
BATCH = 256  # pictures read at a time
CHUNK = 2**22  # pairs compared at a time
Embed = Callable[[Sequence[Picture]], Float32[np.ndarray, "n dim"]]  # unit vectors


@dataclass(frozen=True)
class Fingerprints:
    """What pictures are recognised by, 6 KB each. Of windows the first is the whole picture."""

    prompt_id: Int64[np.ndarray, " n"]
    archive: list[str]
    hashes: UInt64[np.ndarray, "n windows"]
    mirrored: UInt64[np.ndarray, "n windows"]  # the mirror's
    thumbs: UInt8[np.ndarray, "n windows side side 3"]
    is_flat: Bool[np.ndarray, " n"]
    vectors: Float32[np.ndarray, "n dim"] | None


class Neighbours(NamedTuple):
    """For each picture the nearest others, nearest first, and how far they are."""

    index: Int64[np.ndarray, "n k"]
    distance: Float64[np.ndarray, "n k"]


def windows(width: int, height: int) -> list[tuple[float, float, float, float]]:
    """The whole picture, and for each scale its middle and its four corners: left, top, right, bottom in pixels."""
    found = [(0.0, 0.0, float(width), float(height))]
    for scale in SCALES:
        for x, y in ((0.5, 0.5), (0, 0), (0, 1), (1, 0), (1, 1)):
            left, top = x * (1 - scale) * width, y * (1 - scale) * height
            found.append((left, top, left + scale * width, top + scale * height))
    return found


def hashes(picture: Picture) -> tuple[UInt64[np.ndarray, " windows"], UInt64[np.ndarray, " windows"]]:
    """The perceptual hash of each window, and as it would be in a mirror.

    Bit i says whether frequency i is above the median of the 63 lowest.
    """
    from PIL import Image
    from scipy.fft import dctn

    grey, size = Image.fromarray(picture).convert("L"), (GRID, GRID)
    boxes = windows(*grey.size)
    small = np.stack([np.asarray(grey.resize(size, Image.Resampling.LANCZOS, box)) for box in boxes])
    low = dctn(small.astype(float), axes=(1, 2), norm="ortho")[:, :LOW, :LOW]
    mirrored = low * (-1.0) ** np.arange(LOW)  # the odd ones of the horizontal frequencies change their sign
    return _packed(low), _packed(mirrored)


def _packed(low: Float64[np.ndarray, "windows low low"]) -> UInt64[np.ndarray, " windows"]:
    values = low.reshape(len(low), -1)[:, 1:]
    bits = values > np.median(values, axis=1, keepdims=True)
    return (bits.astype(np.uint64) << np.arange(bits.shape[1], dtype=np.uint64)).sum(axis=1, dtype=np.uint64)


def thumbs(picture: Picture) -> UInt8[np.ndarray, "windows side side 3"]:
    """The coarse colours of each window."""
    from PIL import Image

    image, size = Image.fromarray(picture), (THUMB, THUMB)
    return np.stack([np.asarray(image.resize(size, Image.Resampling.BOX, box)) for box in windows(*image.size)])


def read_fingerprints(archives: Sequence[str | Path], embed: Embed | None = None) -> Fingerprints:
    """The pictures of archives that are cut in the middle: candidate 0 of every prompt."""
    keys: list[tuple[str, int]] = []
    found, vectors = [], []
    for path in archives:
        for rows, pictures in iter_archive(path, BATCH):
            places = np.flatnonzero(rows["candidate"] == 0)
            keys += [(Path(path).stem, prompt_id) for prompt_id in rows["prompt_id"].iloc[places]]
            chosen = [pictures[place] for place in places]
            found += [(*hashes(each), thumbs(each), each.mean(axis=2).std() < FLAT) for each in chosen]
            if embed and chosen:
                vectors.append(embed(chosen))
    if not keys:
        raise ValueError(f"{', '.join(map(str, archives))}: no picture is cut in the middle (candidate 0)")
    names, prompt_ids = zip(*keys, strict=True)
    plain, mirrored, colours, is_flat = (np.array(column) for column in zip(*found, strict=True))
    embedded = np.concatenate(vectors) if embed else None
    return Fingerprints(np.array(prompt_ids), list(names), plain, mirrored, colours, is_flat, embedded)


def nearest_by_hash(pictures: Fingerprints, others: Fingerprints) -> Neighbours:
    """The CANDIDATES others with the fewest different bits between a window of one and the other as a whole.

    The first may be mirrored.
    """
    ours = np.concatenate([pictures.hashes, pictures.mirrored], axis=1)
    wholes = ours[:, [0, pictures.hashes.shape[1]]]

    def distances(part: slice) -> UInt8[np.ndarray, "n m"]:
        least = np.full((len(ours), len(others.hashes[part])), APART, np.uint8)
        for window in ours.T:
            np.minimum(least, _bits(window, others.hashes[part, 0]), out=least)
        for window in others.hashes[part, 1:].T:
            for whole in wholes.T:
                np.minimum(least, _bits(whole, window), out=least)
        least[pictures.is_flat] = APART
        least[:, others.is_flat[part]] = APART
        return least

    return _nearest(distances, len(ours), len(others.hashes), CANDIDATES)


def _bits(first: UInt64[np.ndarray, " n"], second: UInt64[np.ndarray, " m"]) -> UInt8[np.ndarray, "n m"]:
    return np.bitwise_count(first[:, None] ^ second[None, :])


def nearest_by_vector(vectors: Float32[np.ndarray, "n dim"], others: Float32[np.ndarray, "m dim"]) -> Neighbours:
    """The other unit vector with the largest cosine, as distance 1 - cosine; on the GPU if there is one."""
    import torch

    device = best_device()
    ours = torch.from_numpy(vectors).to(device)

    def distances(part: slice) -> Float32[np.ndarray, "n m"]:
        return (1 - ours @ torch.from_numpy(others[part]).to(device).T).cpu().numpy()

    return _nearest(distances, len(vectors), len(others), 1)


def _nearest(distances: Callable[[slice], np.ndarray], num: int, num_others: int, k: int) -> Neighbours:
    """The k nearest of the others (or all of them), from chunks of the distances; ties go to the earlier one."""
    index = np.zeros((num, 0), np.int64)
    best = np.zeros((num, 0))
    step = max(1, CHUNK // num)
    for start in range(0, num_others, step):
        chunk = distances(slice(start, start + step))
        index = np.concatenate([index, np.broadcast_to(start + np.arange(chunk.shape[1]), chunk.shape)], axis=1)
        best = np.concatenate([best, chunk], axis=1)
        order = np.argsort(best, axis=1, kind="stable")[:, :k]
        index, best = np.take_along_axis(index, order, axis=1), np.take_along_axis(best, order, axis=1)
    return Neighbours(index, best)


def likeness(
    thumbs: UInt8[np.ndarray, "n windows side side 3"], others: UInt8[np.ndarray, "n windows side side 3"]
) -> Float64[np.ndarray, " n"]:
    """For each pair the largest correlation of a window of one and the whole of the other, mirrored or not."""
    ours = _centred(np.concatenate([thumbs, thumbs[:, :, :, ::-1]], axis=1))
    theirs = _centred(others)
    wholes = ours[:, [0, thumbs.shape[1]]]
    by_ours = np.einsum("nwd,nd->nw", ours, theirs[:, 0])
    by_theirs = np.einsum("nvd,nwd->nvw", wholes, theirs)
    return np.maximum(by_ours.max(axis=1), by_theirs.max(axis=(1, 2)))


def _centred(thumbs: UInt8[np.ndarray, "n windows side side 3"]) -> Float64[np.ndarray, "n windows d"]:
    """Unit vectors of what differs from the mean colour; a picture of one colour is 0."""
    colours = thumbs.astype(float)
    flat = (colours - colours.mean(axis=(2, 3), keepdims=True)).reshape(*thumbs.shape[:2], -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=2, keepdims=True), 1)


def find_duplicates(pictures: Fingerprints, training: Fingerprints, settings: "Overlap") -> pd.DataFrame:
    """For each picture: prompt_id, overlap, and its nearest training picture by either measure.

    ``likeness`` is the greatest among those whose hashes are near, else among the nearest; ``distance`` is that of the
    hashes in bits (64: one of them has none). ``cosine`` is the largest of the embedding (NaN without one). Beside each
    stand the archive and the prompt_id of that training picture.
    """
    near = nearest_by_hash(pictures, training)
    alike = np.stack([likeness(pictures.thumbs, training.thumbs[some]) for some in near.index.T], axis=1)
    best = np.argmax(alike + 2 * (near.distance <= settings.max_distance), axis=1)[:, None]
    index, distance, alike = (np.take_along_axis(of, best, axis=1)[:, 0] for of in (near.index, near.distance, alike))
    table = {"prompt_id": pictures.prompt_id, "likeness": alike, "distance": distance}
    table |= _named("likeness", index, training)
    overlap = (distance <= settings.max_distance) & (alike >= settings.min_likeness)
    cosine, neighbour = np.full(len(index), np.nan), index
    if pictures.vectors is not None and training.vectors is not None:
        neighbour, apart = (each[:, 0] for each in nearest_by_vector(pictures.vectors, training.vectors))
        cosine = 1 - apart
        overlap |= cosine >= (np.inf if settings.min_cosine is None else settings.min_cosine)
    return pd.DataFrame(table | {"cosine": cosine} | _named("cosine", neighbour, training) | {"overlap": overlap})


def _named(measure: str, index: Int64[np.ndarray, " n"], training: Fingerprints) -> dict[str, Sequence]:
    archives = [training.archive[each] for each in index]
    return {f"{measure}_archive": archives, f"{measure}_id": training.prompt_id[index]}


def write_overlap(
    suites: Mapping[str, str | Path],
    training: Sequence[str | Path],
    folder: str | Path,
    sheet: str | Path,
    settings: "Overlap",
    embed: Embed | None = None,
) -> None:
    """Writes overlap.parquet (suite, prompt_id, overlap), overlap_pairs.csv and overlap.json into ``folder``.

    ``suites`` are the reference archives by the name of their suite. The pairs have what :func:`find_duplicates` says;
    ``sheet`` (PNG) shows the closest pairs, for a person to judge; the JSON has the shares and how many training
    pictures have the very hash of another one.
    """
    from dalle.data.contact_sheet import write_contact_sheet

    folder, known = Path(folder), read_fingerprints(training, embed)
    tables = {
        suite: find_duplicates(read_fingerprints([path], embed), known, settings) for suite, path in suites.items()
    }
    pairs = pd.concat([table.assign(suite=suite) for suite, table in tables.items()], ignore_index=True)
    pairs = pairs[["suite", *pairs.columns.drop("suite")]]
    with atomic(folder / "overlap.parquet") as temporary:
        pairs[["suite", "prompt_id", "overlap"]].to_parquet(temporary, index=False)
    write_sheet(pairs.sort_values(["likeness", "cosine"], ascending=False), folder / "overlap_pairs.csv")
    write_contact_sheet(pairs, suites, training, settings.shown, sheet)
    _, times = np.unique(known.hashes[~known.is_flat, 0], return_counts=True)
    report = {
        "suites": {
            suite: {"pictures": len(table), "overlap": int(table["overlap"].sum())} for suite, table in tables.items()
        },
        "training_pictures": len(known.prompt_id),
        "training_pictures_with_the_hash_of_another": int(times[times > 1].sum()),
        "max_distance": settings.max_distance,
        "min_likeness": settings.min_likeness,
        "min_cosine": settings.min_cosine,
    }
    with atomic(folder / "overlap.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
