"""Captions are cut at the context and no earlier; strange words are found; a picture's middle becomes a square."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dalle.config.models import Tokenizer as Settings
from dalle.images import write_archive
from dalle.prompts import encode_cut, num_tokens, read_picture, square, strange_words
from dalle.tokenizer import Tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    captions = ["a red ring", "two red rings, 2 of them"] * 3
    rows = pd.DataFrame({"prompt_id": range(6), "candidate": 0, "caption": captions, "scene": ""})
    write_archive(folder / "train.parquet", rows, np.zeros((6, 1, 1, 3), np.uint8))
    train_tokenizer(folder / "train.parquet", folder / "tokenizer.json", Settings(vocab_size=60))
    return Tokenizer(folder / "tokenizer.json")


def test_what_fits_is_encoded_as_always_and_what_does_not_loses_its_end(words):
    captions = ["a red ring", "a red ring red ring red ring"]
    assert [num_tokens(words, caption) for caption in captions] == [3, 7]
    np.testing.assert_array_equal(encode_cut(words, captions[:1], 5), words.encode(captions[:1], 5))
    np.testing.assert_array_equal(encode_cut(words, captions, 5)[1], words.encode(captions[1:], 7)[0, :5])
    assert encode_cut(words, captions, 5).shape == (2, 5)


def test_strange_words_are_those_in_pieces_or_unknown(words):
    assert strange_words(words, "A red  RING, 2 of them two") == []
    assert strange_words(words, "tworing red Grün ring tworing 3 €") == ["tworing", "Grün", "3", "€"]


@pytest.mark.parametrize(("shape", "top", "left"), [((7, 12), 0, 2), ((12, 7), 2, 0), ((9, 9), 0, 0)])
def test_a_square_is_the_resized_middle(shape, top, left):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    shorter = min(shape)
    middle = picture[top : top + shorter, left : left + shorter]
    np.testing.assert_array_equal(square(picture, shorter), middle)
    resized = np.asarray(Image.fromarray(middle).resize((4, 4), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(square(picture, 4), resized)


def test_a_picture_is_read_or_named(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), pixels)
    (tmp_path / "b.png").write_bytes(b"no picture")
    for name, reason in (("b.png", "no PNG, JPEG or WebP"), ("c.png", "No such file"), (".", "Is a directory")):
        with pytest.raises(ValueError, match=rf"the picture cannot be read \(.*{reason}"):
            read_picture(tmp_path / name)
