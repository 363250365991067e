"""Captions as numbers: reversible, one pad a position, nothing cut off, dropout that follows from a seed."""

import numpy as np
import pandas as pd
import pytest

from dalle.config.models import Tokenizer as Settings
from dalle.images import write_archive
from dalle.tokenizer import Tokenizer, train_tokenizer

CAPTIONS = [
    "A large red circle above a small blue square on sand",
    "three green rings at night",
    "a small yellow cross left of 2 large blue rings, at night",
]


def learn(folder, **settings):
    path = folder / "train.parquet"
    rows = pd.DataFrame({"prompt_id": range(3), "candidate": 0, "caption": CAPTIONS, "scene": ""})
    write_archive(path, rows, np.zeros((3, 1, 1, 3), np.uint8))
    train_tokenizer(path, folder / "tokenizer.json", Settings(**settings))
    return Tokenizer(folder / "tokenizer.json")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return learn(tmp_path_factory.mktemp("words"))


def test_captions_come_back_lower_cased(words):
    assert words.decode(words.encode(CAPTIONS, 20)) == [caption.lower() for caption in CAPTIONS]
    assert words.decode(words.encode(["  Three  GREEN\trings "], 20)) == ["three green rings"]


def test_a_frequent_word_is_one_token_with_its_space_and_first_or_not(words):
    ids = words.encode(["red red circle"], 3)[0]
    assert ids[0] == ids[1]
    assert all(token < words.vocab_size for token in ids)


def test_digits_and_punctuation_are_never_merged(words):
    merged = [token for token in words.bpe.get_vocab() if len(token) > 1 and token != "[unk]"]
    assert merged
    assert all(token.lstrip("▁").isalpha() or token == "▁" for token in merged)


def test_a_space_alone_is_a_token_and_never_merged(tmp_path):
    """As the paper's author said: what is not a–z is split off, the space too."""
    alone = learn(tmp_path, spaces="alone")
    assert [token for token in alone.bpe.get_vocab() if "▁" in token] == ["▁"]
    assert alone.bpe.encode("A red, red circle").tokens == ["a", "▁", "red", ",", "▁", "red", "▁", "circle"]
    assert alone.decode(alone.encode(CAPTIONS, 60)) == [caption.lower() for caption in CAPTIONS]
    assert np.array_equal(alone.encode(CAPTIONS, 60, np.random.default_rng(0)), alone.encode(CAPTIONS, 60))


def test_each_empty_position_has_its_own_pad(words):
    first, second = words.encode(["red", "red red red"], 5) - words.vocab_size
    assert first[1:].tolist() == [1, 2, 3, 4]
    assert second[3:].tolist() == [3, 4]


def test_a_caption_that_is_too_long_is_an_error_that_names_it(words):
    assert words.encode(["red red red"], 3).shape == (1, 3)
    with pytest.raises(ValueError, match=r"'red red red red' has 4 tokens, tokenizer.context allows 3"):
        words.encode(["red", "red red red red"], 3)


def test_an_unseen_character_is_unknown_not_lost(words):
    assert words.decode(words.encode(["red é"], 4)) == ["red [unk]"]


def test_a_vocabulary_too_small_for_the_characters_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"vocab_size: 5 is less than the \d+ characters"):
        learn(tmp_path, vocab_size=5)


def test_training_twice_gives_the_same_file(words, tmp_path):
    assert learn(tmp_path).bpe.to_str() == words.bpe.to_str()


def test_without_dropout_our_merging_is_the_librarys(tmp_path):
    words = learn(tmp_path, vocab_size=60)
    assert words.dropout == 0
    assert np.array_equal(words.encode(CAPTIONS, 60, np.random.default_rng(0)), words.encode(CAPTIONS, 60))


def test_dropout_splits_words_but_not_the_text_and_follows_from_its_seed(tmp_path):
    words = learn(tmp_path, dropout=0.3)
    drawn = words.encode(CAPTIONS, 60, np.random.default_rng(0))
    assert words.decode(drawn) == [caption.lower() for caption in CAPTIONS]
    assert (drawn < words.vocab_size).sum() > (words.encode(CAPTIONS, 60) < words.vocab_size).sum()
    assert np.array_equal(drawn, words.encode(CAPTIONS, 60, np.random.default_rng(0)))
    assert not np.array_equal(drawn, words.encode(CAPTIONS, 60, np.random.default_rng(1)))


def test_a_drawing_that_does_not_fit_gives_way_to_the_whole_merging(tmp_path):
    words = learn(tmp_path, dropout=1.0)
    assert np.array_equal(words.encode(["red ring"], 3, np.random.default_rng(0)), words.encode(["red ring"], 3))


def test_full_dropout_gives_single_characters(tmp_path):
    words = learn(tmp_path, dropout=1.0)
    drawn = words.encode(["red ring"], 60, np.random.default_rng(0))[0]
    assert (drawn < words.vocab_size).sum() == len("▁red▁ring")
