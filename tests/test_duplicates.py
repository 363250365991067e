"""Copies among training pictures: planted ones are found, others are not; and chunks change nothing."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dalle.config.data import Coco, Overlap
from dalle.data import duplicates
from dalle.data.crops import centred
from dalle.data.duplicates import (
    CANDIDATES,
    find_duplicates,
    hashes,
    likeness,
    nearest_by_hash,
    nearest_by_vector,
    read_fingerprints,
    thumbs,
    windows,
    write_overlap,
)
from dalle.data.real import write_photographs
from dalle.images import iter_archive, read_archive, write_archive
from dalle.provenance import ROOT

COCO = ROOT.parent / "shared" / "data" / "coco"
SETTINGS = Overlap()
SIDE = 64


def smooth(seed, side=SIDE):
    """A picture with as much detail as a photograph has in its coarse parts."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return np.array(image.resize((side, side), Image.Resampling.BICUBIC))


def compressed(picture, quality=75):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def cut(picture, share, corner=(0.5, 0.5)):
    height, width, _ = picture.shape
    h, w = round((1 - share) * height), round((1 - share) * width)
    top, left = int(corner[0] * (height - h)), int(corner[1] * (width - w))
    return picture[top : top + h, left : left + w]


def resized(picture, side=SIDE):
    return centred(Image.fromarray(np.ascontiguousarray(picture)), side)


def archive(path, pictures, **columns):
    rows = pd.DataFrame({"prompt_id": range(len(pictures)), "candidate": 0, "caption": "", "scene": ""})
    write_archive(path, rows.assign(**columns), np.stack(pictures))
    return path


def fingerprints(path, pictures, embed=None):
    return read_fingerprints([archive(path, pictures)], embed)


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """The small COCO at 64 pixels: its reference pictures, and its training pictures as archives."""
    if not COCO.exists():
        pytest.skip("the small COCO is not here")
    folder = tmp_path_factory.mktemp("coco")
    write_photographs(Coco(folder=str(COCO), image_size=SIDE), 0, folder)
    return folder


@pytest.mark.parametrize("corner", [(0.5, 0.5), (0, 0), (1, 0.4)])
def test_a_planted_photograph_is_found_and_nothing_else(coco, tmp_path, corner):
    rows, references = read_archive(coco / "val_reference.parquet")
    file = pd.read_parquet(coco / "captions.parquet").set_index("prompt_id").loc[rows["prompt_id"][17], "file"]
    copy = resized(compressed(cut(np.array(Image.open(COCO / file).convert("RGB")), 0.04, corner)))
    planted = archive(tmp_path / "planted.parquet", [copy])
    training = [coco / "train.parquet", coco / "uncaptioned.parquet", planted]
    write_overlap({"val": coco / "val_reference.parquet"}, training, tmp_path, tmp_path / "overlap.png", SETTINGS)
    overlap = pd.read_parquet(tmp_path / "overlap.parquet")
    assert overlap.columns.tolist() == ["suite", "prompt_id", "overlap"]
    assert overlap[overlap["overlap"]]["prompt_id"].tolist() == [rows["prompt_id"][17]]
    assert len(overlap) == len(references) == 191
    best = pd.read_csv(tmp_path / "overlap_pairs.csv").iloc[0]
    assert best[["likeness_archive", "likeness_id", "overlap"]].tolist() == ["planted", 0, True]
    report = json.loads((tmp_path / "overlap.json").read_text())
    assert report["suites"] == {"val": {"pictures": 191, "overlap": 1}}
    assert report["training_pictures"] == 81


def test_a_photograph_planted_among_the_training_files_is_found_and_nothing_else(tmp_path):
    """From files to the table: a photograph of the suite, cut by 4 % and compressed again, has got into train2017/."""
    if not COCO.exists():
        pytest.skip("the small COCO is not here")
    folder, data = tmp_path / "coco", tmp_path / "data"
    for place in ("annotations", "train2017"):
        (folder / place).mkdir(parents=True)
        for file in (COCO / place).iterdir():
            (folder / place / file.name).symlink_to(file)
    (folder / "val2017").symlink_to(COCO / "val2017")
    victim = sorted((COCO / "val2017").iterdir())[42]
    photograph = np.array(Image.open(victim).convert("RGB"))
    Image.fromarray(cut(photograph, 0.04, (0.3, 0.8))).save(folder / "train2017" / "planted.jpg", quality=60)
    path = folder / "annotations" / "captions_train2017.json"
    said = json.loads(path.read_text())
    said["images"].append({"id": 1, "file_name": "planted.jpg", "width": 123, "height": 123})
    said["annotations"].append({"id": 1, "image_id": 1, "caption": "what nobody should have planted"})
    path.unlink()
    path.write_text(json.dumps(said))
    write_photographs(Coco(folder=str(folder), image_size=SIDE), 0, data)
    training = [data / "train.parquet", data / "uncaptioned.parquet"]
    write_overlap({"val": data / "val_reference.parquet"}, training, data, tmp_path / "overlap.png", SETTINGS)
    overlap = pd.read_parquet(data / "overlap.parquet").query("overlap")["prompt_id"]
    files = pd.read_parquet(data / "captions.parquet").set_index("prompt_id")["file"]
    assert files[overlap].tolist() == [f"val2017/{victim.name}"]
    best = pd.read_csv(data / "overlap_pairs.csv").iloc[0]
    assert best[["likeness_archive", "likeness_id", "overlap"]].tolist() == ["train", 1, True]
    assert json.loads((data / "overlap.json").read_text())["training_pictures"] == 81


def test_every_photograph_is_found_when_cut_compressed_or_mirrored(coco, tmp_path):
    rows, references = read_archive(coco / "val_reference.parquet")
    others = read_archive(coco / "train.parquet")[1]
    rng = np.random.default_rng(0)
    files = pd.read_parquet(coco / "captions.parquet").set_index("prompt_id").loc[rows["prompt_id"], "file"][:60]
    copies = [np.array(Image.open(COCO / file).convert("RGB")) for file in files]
    copies = [cut(copy, 0.04, rng.random(2))[:, :: rng.choice([-1, 1])] for copy in copies]
    copies = [resized(compressed(copy, quality=int(rng.integers(50, 95)))) for copy in copies]
    found = find_duplicates(
        fingerprints(tmp_path / "a.parquet", list(references[:60])),
        fingerprints(tmp_path / "b.parquet", [*others, *copies]),
        SETTINGS,
    )
    assert found["overlap"].all()
    assert found["likeness_id"].tolist() == list(range(len(others), len(others) + 60))


def test_the_larger_picture_may_be_on_either_side(tmp_path):
    whole, part = smooth(1), resized(cut(smooth(1, 256), 0.08, (0, 1)))
    for first, second in ((whole, part), (part, whole)):
        found = find_duplicates(
            fingerprints(tmp_path / "a.parquet", [first]),
            fingerprints(tmp_path / "b.parquet", [smooth(2), second]),
            SETTINGS,
        )
        assert found[["overlap", "likeness_id"]].to_numpy().tolist() == [[True, 1]]


def test_the_hash_of_the_mirror_is_that_of_the_mirrored_picture():
    picture = smooth(3)
    _, mirrored = hashes(picture)
    again, _ = hashes(picture[:, ::-1])
    assert np.bitwise_count(mirrored[0] ^ again[0]) == 0
    assert np.bitwise_count(mirrored[1] ^ again[1]) <= 2  # the middle
    assert np.bitwise_count(mirrored[2] ^ again[4]) <= 2  # the corners change sides


def test_hashes_have_63_bits_half_of_them_set_and_do_not_mind_light():
    picture = smooth(4)
    plain, _ = hashes(picture)
    assert np.bitwise_count(plain).tolist() == [31] * len(windows(SIDE, SIDE))
    assert (plain < 2**63).all()
    darker, _ = hashes((picture * 0.6).astype(np.uint8))
    assert np.bitwise_count(plain[0] ^ darker[0]) <= 4


def test_flat_pictures_are_nobodys_copies(tmp_path):
    flat = [np.full((SIDE, SIDE, 3), level, np.uint8) for level in (10, 200)]
    found = find_duplicates(
        fingerprints(tmp_path / "a.parquet", flat), fingerprints(tmp_path / "b.parquet", flat), SETTINGS
    )
    assert not found["overlap"].any()
    assert (found["distance"] == 64).all()


def test_equal_shapes_of_other_colours_are_no_copies(tmp_path):
    """What hashes cannot tell, for they see grey: the colours are looked at, too."""
    first = smooth(5).astype(int)
    second = first.copy()
    second[..., 0], second[..., 2] = 255 - first[..., 2], 255 - first[..., 0]
    second = (second - second.mean(axis=2, keepdims=True) + first.mean(axis=2, keepdims=True)).clip(0, 255)
    alike = likeness(thumbs(first.astype(np.uint8))[None], thumbs(second.astype(np.uint8))[None])
    assert alike[0] < 0.9


def test_likeness_is_the_largest_correlation_of_coarse_colours():
    first, second = thumbs(smooth(6)), thumbs(smooth(7))

    def correlation(one, other):
        one, other = (each.astype(float) - each.mean(axis=(0, 1)) for each in (one, other))
        return (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())

    pairs = [(window, second[0]) for window in first] + [(first[0], window) for window in second]
    oracle = max(correlation(mine[:, ::step], other) for mine, other in pairs for step in (1, -1))
    assert likeness(first[None], second[None])[0] == pytest.approx(oracle)
    assert likeness(first[None], first[None])[0] == pytest.approx(1)


def test_the_nearest_by_hash_are_those_of_all_pairs_whatever_the_chunk(tmp_path, monkeypatch):
    first = fingerprints(tmp_path / "a.parquet", [smooth(n) for n in range(5)])
    second = fingerprints(tmp_path / "b.parquet", [smooth(n) for n in range(20, 50)])

    def distance(one, other):
        ours = np.concatenate([first.hashes[one], first.mirrored[one]])
        wholes = ours[[0, len(first.hashes[one])]]
        pairs = [(window, second.hashes[other, 0]) for window in ours]
        pairs += [(whole, window) for whole in wholes for window in second.hashes[other]]
        return min(int(a ^ b).bit_count() for a, b in pairs)

    table = np.array([[distance(one, other) for other in range(30)] for one in range(5)])
    for chunk in (10**6, 40, 5):
        monkeypatch.setattr(duplicates, "CHUNK", chunk)
        index, nearest = nearest_by_hash(first, second)
        assert (index == np.argsort(table, axis=1, kind="stable")[:, :CANDIDATES]).all()
        assert (nearest == np.sort(table, axis=1)[:, :CANDIDATES]).all()


def test_the_nearest_by_vector_is_that_of_all_pairs_whatever_the_chunk(monkeypatch):
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(num, 6)).astype(np.float32) for num in (7, 50))
    first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (first, second))
    cosines = first @ second.T
    for chunk in (10**6, 100, 7):
        monkeypatch.setattr(duplicates, "CHUNK", chunk)
        index, distance = nearest_by_vector(first, second)
        assert (index[:, 0] == cosines.argmax(axis=1)).all()
        assert 1 - distance[:, 0] == pytest.approx(cosines.max(axis=1), abs=1e-6)


def mean_colour(pictures):
    """A stand-in for a contrastive model: unit vectors that only know the mean colour."""
    means = np.stack([picture.mean(axis=(0, 1)) - 127 for picture in pictures]).astype(np.float32)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def test_an_embedding_finds_what_pixels_cannot_if_a_threshold_is_set(tmp_path):
    def tinted(seed, colour):
        return (0.2 * smooth(seed) + 0.8 * np.array(colour)).astype(np.uint8)

    reference = archive(tmp_path / "val.parquet", [tinted(1, (250, 20, 20)), tinted(2, (20, 20, 250))])
    training = archive(tmp_path / "train.parquet", [tinted(n, (250, 20, 20)) for n in range(3, 6)])
    for threshold, found in ((None, [False, False]), (0.95, [True, False])):
        settings = Overlap(min_cosine=threshold)
        write_overlap({"val": reference}, [training], tmp_path, tmp_path / "overlap.png", settings, mean_colour)
        assert pd.read_parquet(tmp_path / "overlap.parquet")["overlap"].tolist() == found
    pairs = pd.read_csv(tmp_path / "overlap_pairs.csv")
    assert pairs["cosine"].between(-1, 1.0001).all()
    assert Image.open(tmp_path / "overlap.png").size[0] > 4 * 256  # four pairs across


def test_only_pictures_cut_in_the_middle_are_compared(tmp_path):
    pictures = [smooth(n) for n in range(4)]
    path = archive(tmp_path / "a.parquet", pictures, candidate=[0, 1, 0, 2], prompt_id=[5, 5, 6, 6])
    assert read_fingerprints([path]).prompt_id.tolist() == [5, 6]
    empty = archive(tmp_path / "b.parquet", pictures[:1], candidate=[1])
    with pytest.raises(ValueError, match="no picture is cut in the middle"):
        read_fingerprints([empty])


def test_training_pictures_that_are_there_twice_are_counted(tmp_path):
    training = archive(tmp_path / "train.parquet", [smooth(1), smooth(2), smooth(1), smooth(3)])
    reference = archive(tmp_path / "val.parquet", [smooth(9)])
    write_overlap({"val": reference}, [training], tmp_path, tmp_path / "overlap.png", SETTINGS)
    report = json.loads((tmp_path / "overlap.json").read_text())
    assert report["training_pictures_with_the_hash_of_another"] == 2
    assert sum(len(rows) for rows, _ in iter_archive(training, 2)) == report["training_pictures"] == 4
