"""CLIP score's variants by hand; R-precision against what is known of its answers and of its draws."""

import numpy as np
import pytest

from eval.metrics.alignment import r_precision, variants


def of_length_1(n, dim=16, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_four_scores_of_one_cosine():
    found = variants(np.array([0.3, -0.1], dtype=np.float32), scale=40.0, weight=2.5)
    assert {name: values.round(4).tolist() for name, values in found.items()} == {
        "clip_cos": [0.3, -0.1],
        "clipscore": [0.75, 0],
        "clip_logit": [12, -4],
        "clip_x100": [30, -10],
    }


def test_a_picture_that_is_its_caption_is_right_and_its_opposite_is_wrong():
    texts, own = of_length_1(12), np.array([3, 3, 0, 11])
    everyone = np.arange(12)
    assert r_precision(texts[own], texts, own, 10, 0, everyone).tolist() == [1, 1, 1, 1]
    assert r_precision(-texts[own], texts, own, 10, 0, everyone).tolist() == [0, 0, 0, 0]


def test_among_all_captions_it_is_whether_the_own_is_the_nearest():
    pictures, texts, own = of_length_1(200, dim=4), of_length_1(7, dim=4, seed=1), np.arange(200) % 7
    expected = (pictures @ texts.T).argmax(axis=1) == own
    assert r_precision(pictures, texts, own, 7, 0, np.arange(7)).tolist() == expected.tolist()


def test_a_blind_model_is_right_once_in_as_many_as_there_are_ways():
    texts = of_length_1(300, seed=1)
    found = r_precision(of_length_1(3000), texts, np.arange(3000) % 300, 10, 0, np.arange(300))
    assert found.mean() == pytest.approx(0.1, abs=0.02)


def test_a_tie_is_wrong():
    texts = np.repeat(of_length_1(1), 5, axis=0)
    assert r_precision(texts, texts, np.arange(5), 2, 0, np.arange(5)).tolist() == [0] * 5


def test_captions_that_say_the_same_are_no_negatives():
    """Every caption stands twice: as its own negative it would be a tie, and wrong."""
    texts, sayings = np.repeat(of_length_1(10), 2, axis=0), np.repeat(np.arange(10), 2)
    assert r_precision(texts, texts, np.arange(20), 19, 0, sayings).tolist() == [1] * 20


def test_draws_follow_the_seed_and_not_the_embeddings():
    """Pictures are as near to any of the first half of the captions as to their own, and far from the second."""
    texts = np.repeat(np.eye(2), 10, axis=0)
    texts[:10] = np.sqrt([0.5, 0.5])
    own, sayings = np.arange(10), np.arange(20)
    pictures = np.tile(np.sqrt([0.5, 0.5]), (10, 1))
    found = r_precision(pictures, texts, own, 2, 1, sayings)
    assert 0 < found.mean() < 1
    assert np.array_equal(found, r_precision(2 * pictures, texts, own, 2, 1, sayings))
    assert np.array_equal(
        found[::-1], r_precision(pictures, texts, own[::-1], 2, 1, sayings)
    )  # of each caption its own
    assert np.array_equal(
        np.repeat(found, 2), r_precision(np.repeat(pictures, 2, 0), texts, np.repeat(own, 2), 2, 1, sayings)
    )
    assert not np.array_equal(found, r_precision(pictures, texts, own, 2, 2, sayings))


@pytest.mark.parametrize(
    ("ways", "sayings", "most"), [(7, [0, 1, 2, 3, 4, 5], 6), (1, [0, 1, 2, 3, 4, 5], 6), (6, [0, 0, 2, 3, 4, 5], 5)]
)
def test_more_ways_than_captions_that_say_something_else_are_refused(ways, sayings, most):
    texts = of_length_1(6)
    with pytest.raises(ValueError, match=f"among {ways} captions: allowed are 2 to {most}; given 6"):
        r_precision(texts, texts, np.arange(6), ways, 0, np.array(sayings))
