"""Features stand in the archive's order and do not depend on how the work was cut."""

import numpy as np
import pandas as pd
import pytest

from dalle.images import read_archive, to_float, write_archive
from eval.blur import blur
from eval.extractors import load_extractor
from eval.features import read_features, write_features


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Five pictures of 32 pixels whose keys are not in sorted order."""
    path = tmp_path_factory.mktemp("archive") / "pictures.parquet"
    rows = pd.DataFrame({"prompt_id": [4, 0, 2, 2, 1], "candidate": [0, 3, 1, 0, 7], "caption": "a", "scene": ""})
    write_archive(path, rows, np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))
    return path


def test_keys_shapes_and_types(archive, tmp_path):
    write_features(archive, tmp_path / "f.safetensors", 0, "imagenet-lite")
    found = read_features(tmp_path / "f.safetensors")
    assert found.prompt_id.tolist() == [4, 0, 2, 2, 1]
    assert found.candidate.tolist() == [0, 3, 1, 0, 7]
    assert (found.features.shape, found.logits.shape) == ((5, 1280), (5, 1000))
    assert (found.features.dtype, found.prompt_id.dtype) == (np.float32, np.int64)
    assert found.extractor_digest == load_extractor("imagenet-lite").digest


def test_rows_do_not_depend_on_the_batch_size(archive, tmp_path):
    for size in (1, 2, 5):
        write_features(archive, tmp_path / f"{size}.safetensors", 4, "imagenet-lite", batch_size=size)
    alone, pairs, together = (read_features(tmp_path / f"{size}.safetensors") for size in (1, 2, 5))
    for other in (pairs, together):
        np.testing.assert_allclose(other.features, alone.features, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(other.logits, alone.logits, rtol=1e-4, atol=1e-4)


def test_extracting_twice_gives_the_same_bytes_and_another_radius_others(archive, tmp_path):
    for name, radius in (("a", 8), ("b", 8), ("c", 0)):
        write_features(archive, tmp_path / name, radius, "imagenet-lite")
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_the_picture_is_blurred_before_the_network_sees_it(archive, tmp_path):
    write_features(archive, tmp_path / "f.safetensors", 8, "imagenet-lite")
    _, pixels = read_archive(archive)
    expected, _ = load_extractor("imagenet-lite")(blur(to_float(pixels), 8))
    np.testing.assert_allclose(read_features(tmp_path / "f.safetensors").features, expected, rtol=1e-4, atol=1e-4)


def test_an_unknown_extractor_leaves_nothing_behind(archive, tmp_path):
    with pytest.raises(ValueError, match="'vgg' is unknown"):
        write_features(archive, tmp_path / "f.safetensors", 0, "vgg")
    assert not list(tmp_path.iterdir())
