"""Features stand in the archive's order, and a known picture is not looked at again, whatever its file."""

import numpy as np
import pandas as pd
import pytest

from dalle import images
from dalle.images import read_archive, write_archive
from eval import features
from eval.blur import blur
from eval.extractors import Extractor, load_extractor
from eval.features import read_features, save_features, write_features
from eval.protocols.protocol import load_protocol

BLUR = load_protocol("blur.pil@1")


@pytest.fixture(scope="module")
def extractor():
    return load_extractor(load_protocol("fid.imagenet-lite@1"))


def made(path, pixels, **columns):
    """An archive whose keys are not in sorted order."""
    keys = {"prompt_id": [4, 0, 2, 2, 1], "candidate": [0, 3, 1, 0, 7]}
    rows = pd.DataFrame({name: values[: len(pixels)] for name, values in keys.items()} | {"caption": "a", "scene": ""})
    write_archive(path, rows.assign(**columns), pixels)
    return path


def noise(seed=0, num=5, size=32):
    return np.random.default_rng(seed).integers(0, 256, (num, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return made(
        tmp_path_factory.mktemp("archive") / "pictures.parquet", noise(), lossy=[True, False, False, True, False]
    )


@pytest.fixture
def write(extractor, tmp_path):
    def write(archive, out="f.safetensors", radius=0, store="store"):
        write_features(archive, tmp_path / out, extractor, BLUR, radius, tmp_path / store)
        return read_features(tmp_path / out)

    return write


def test_keys_shapes_and_types(archive, write, extractor):
    found = write(archive)
    assert found.prompt_id.tolist() == [4, 0, 2, 2, 1]
    assert found.candidate.tolist() == [0, 3, 1, 0, 7]
    assert found.lossy.tolist() == [True, False, False, True, False]
    assert (found.features.shape, found.logits.shape) == ((5, 1280), (5, 1000))
    assert (found.features.dtype, found.prompt_id.dtype) == (np.float32, np.int64)
    assert found.extractor_digest == extractor.digest


def test_a_row_has_the_same_bits_whoever_its_neighbours_are(tmp_path, write):
    pixels = noise()
    together = write(made(tmp_path / "all.parquet", pixels), store="a")
    for row in range(5):
        alone = write(made(tmp_path / f"{row}.parquet", pixels[row : row + 1]), store=f"b{row}")
        np.testing.assert_array_equal(alone.features[0], together.features[row])
        np.testing.assert_array_equal(alone.logits[0], together.logits[row])


def test_extracting_twice_gives_the_same_bytes_and_another_radius_others(archive, tmp_path, write):
    for name, radius in (("a", 64), ("b", 64), ("c", 0)):
        write(archive, name, radius, store=f"store-{name}")
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_the_picture_is_blurred_before_the_network_sees_it(archive, write, extractor):
    _, pixels = read_archive(archive)
    expected, _ = extractor([blur(picture, 64, BLUR) for picture in pixels])
    np.testing.assert_allclose(write(archive, radius=64).features, expected, rtol=1e-4, atol=1e-4)


def test_the_protocol_crops_before_it_blurs(tmp_path, write):
    wide = np.random.default_rng(1).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    cropped = write(made(tmp_path / "wide.parquet", wide), radius=64)
    square = write(made(tmp_path / "square.parquet", wide[:, :, 8:40]), "g.safetensors", radius=64, store="other")
    np.testing.assert_array_equal(cropped.features, square.features)


@pytest.fixture
def looked_at(monkeypatch):
    """The number of different pictures of each batch that reached the network."""
    batches, call = [], Extractor.__call__

    def counted(self, pictures):
        batches.append(len({picture.tobytes() for picture in pictures}))
        return call(self, pictures)

    monkeypatch.setattr(Extractor, "__call__", counted)
    return batches


def test_a_known_picture_is_not_looked_at_again_whatever_the_file(tmp_path, write, looked_at):
    first = write(made(tmp_path / "a.parquet", noise()))
    again = write(made(tmp_path / "b.parquet", noise()[::-1]), "g.safetensors")
    np.testing.assert_array_equal(again.features, first.features[::-1])
    assert looked_at == [5]


def test_the_same_path_with_changed_bytes_misses_the_store(tmp_path, write, looked_at):
    pixels = noise()
    before = write(made(tmp_path / "a.parquet", pixels))
    pixels[3, 0, 0] ^= 128
    after = write(made(tmp_path / "a.parquet", pixels))
    assert looked_at == [5, 1]
    np.testing.assert_array_equal((before.features != after.features).any(axis=1), [False, False, False, True, False])


def test_another_radius_or_network_misses_the_store(archive, write, looked_at, tmp_path):
    write(archive)
    write(archive, radius=64)
    assert looked_at == [5, 5]
    other = load_extractor(load_protocol("fid.imagenet-lite@1").model_copy(update={"side": 64}))
    write_features(archive, tmp_path / "g", other, BLUR, 0, tmp_path / "store")
    assert looked_at == [5, 5, 5]


def test_an_archive_is_decoded_again_only_as_far_as_something_is_unknown(tmp_path, write, monkeypatch):
    pixels = noise(num=5)
    decoded, decode = [], images.decode_picture
    monkeypatch.setattr(features, "BATCH", 1)
    write(made(tmp_path / "some.parquet", pixels[:2]), "f.safetensors")
    monkeypatch.setattr(images, "decode_picture", lambda *given: decoded.append(given) or decode(*given))
    for last, times in ((2, 2), (4, 4 + 4), (3, 3)):
        decoded.clear()
        write(made(tmp_path / f"{last}.parquet", pixels[:last]), f"{last}.safetensors")
        assert len(decoded) == times


def test_equal_pictures_are_extracted_once(tmp_path, write, looked_at):
    found = write(made(tmp_path / "a.parquet", np.repeat(noise(num=1), 5, axis=0)))
    assert looked_at == [1] and len(found.features) == 5


def test_some_rows_can_be_taken(archive, write, tmp_path):
    found = write(archive)
    some = found.take(np.array([3, 1]))
    assert some.prompt_id.tolist() == [2, 0] and some.extractor_digest == found.extractor_digest
    np.testing.assert_array_equal(some.features, found.features[[3, 1]])
    save_features(some, tmp_path / "some.safetensors")
    np.testing.assert_array_equal(read_features(tmp_path / "some.safetensors").logits, some.logits)
