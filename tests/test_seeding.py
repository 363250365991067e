"""Seeds follow from names and from nothing else; the uniforms of a seed are one endless row."""

import numpy as np
import pytest

from dalle.seeding import seed_for, uniforms


def test_seeds_are_the_same_on_every_machine_and_for_ever():
    assert seed_for(0, "dvae", 17) == 1_414_907_062_727_208_814
    assert seed_for() >= 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "dvae", 17), (0, "dvae", 18)),
        ((0, 1), (1, 0)),
        ((1,), ("1",)),
        (("ab", "c"), ("a", "bc")),
        (("a",), ("a", "")),
    ],
    ids=["number", "order", "type", "borders", "length"],
)
def test_every_part_counts(one, other):
    assert seed_for(*one) != seed_for(*other)


def test_seeds_use_all_of_their_63_bits():
    seeds = [seed_for(number) for number in range(2000)]
    assert 0 <= min(seeds) < max(seeds) < 2**63
    shares = [np.mean([seed >> bit & 1 for seed in seeds]) for bit in range(63)]
    assert min(shares) > 0.45
    assert max(shares) < 0.55


def test_a_longer_row_begins_with_the_shorter_one():
    assert np.array_equal(uniforms(3, 1000)[:7], uniforms(3, 7))


def test_uniforms_are_uniform_and_those_of_neighbouring_seeds_unrelated():
    rows = np.stack([uniforms(seed, 4000) for seed in range(5)])
    assert 0 <= rows.min() < rows.max() < 1
    for row in rows:
        assert np.histogram(row, bins=10, range=(0, 1))[0] == pytest.approx(400, abs=90)  # 4.5 standard deviations
    correlations = np.corrcoef(rows)[np.triu_indices(5, 1)]
    assert abs(correlations).max() < 0.07
