"""Squares of photographs, against the paper's listings written out: resize whole pictures, then cut."""

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from dalle.data.crops import around_box, centred, for_dvae, for_prior, is_inside, shrink


def picture(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def where(width, height):
    """A picture whose red is the column and whose green is the row."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, 0 * x], axis=2).astype(np.uint8))


@pytest.mark.parametrize("size", [(90, 64), (64, 91), (64, 64)])
def test_the_middle_of_a_picture_of_the_right_height_stays_as_it_is(size):
    square = centred(where(*size), 64)
    left, top = (size[0] - 64) // 2, (size[1] - 64) // 2
    assert (square[..., 0] == np.arange(left, left + 64)).all()
    assert (square[..., 1] == np.arange(top, top + 64)[:, None]).all()


def test_the_middle_is_cut_before_it_is_resized():
    image = picture(100, 80)
    middle = Image.fromarray(np.array(image)[:, 10:90])
    assert (centred(image, 32) == np.array(middle.resize((32, 32), Resampling.BICUBIC))).all()


def test_what_is_too_small_is_enlarged():
    assert centred(picture(20, 30), 64).shape == (64, 64, 3)
    for crop in (for_prior, for_dvae):
        assert crop(picture(20, 30), 64, np.random.default_rng(0)).shape == (64, 64, 3)


@pytest.mark.parametrize("crop", [for_prior, for_dvae])
@pytest.mark.parametrize("side", [(200, 200), (250, 250), (130, 130), (240, 150)])
def test_random_crops_are_parts_of_the_resized_square(crop, side):
    """Every crop occurs among all that the listing allows: any size between its bounds, any place."""
    image, rng = where(*side), np.random.default_rng(1)
    for _ in range(20):
        square = crop(image, 64, rng).astype(float)
        if square[0, 0, 0] > square[0, -1, 0]:
            assert crop is for_dvae
            square = square[:, ::-1]
        scale = (square[0, -1, 0] - square[0, 0, 0]) / 63
        resized = min(side) / scale
        low, high = (64, 72) if crop is for_prior else (72, 96)
        assert low - 1 <= resized <= high + 1
        assert square[..., 0].max() < side[0]
        assert np.ptp(square[:, 0, 1]) == pytest.approx(np.ptp(square[0, :, 0]), abs=1)  # as high as wide


def test_the_priors_square_is_near_the_middle_and_never_mirrored():
    rng = np.random.default_rng(2)
    found = [for_prior(where(250, 64), 64, rng)[0, :, 0].astype(int) for _ in range(200)]
    starts = np.array([row[0] for row in found])
    assert all(row[0] < row[-1] for row in found)
    assert 3 / 8 * 186 - 1 <= starts.min() < starts.max() <= 5 / 8 * 186 + 1
    assert starts.max() - starts.min() > 0.2 * 186


def test_the_dvaes_square_is_anywhere_and_mirrored_half_the_time():
    rng = np.random.default_rng(3)
    found = [for_dvae(where(250, 100), 64, rng)[0, :, 0].astype(int) for _ in range(200)]
    starts = np.array([min(row[0], row[-1]) for row in found])
    assert starts.min() < 15
    assert starts.max() > 150
    assert 0.4 < np.mean([row[0] > row[-1] for row in found]) < 0.6


def test_crops_follow_from_the_generator_alone():
    image = picture(300, 200)
    for crop in (for_prior, for_dvae):
        first, again, other = (crop(image, 64, np.random.default_rng(seed)) for seed in (5, 5, 6))
        assert (first == again).all()
        assert (first != other).any()


def test_averages_are_by_area():
    """A picture of blocks, brought to the size of its blocks, has each block's mean."""
    blocks = np.random.default_rng(0).integers(0, 256, (64, 2, 64, 2, 3), dtype=np.uint8)
    image = Image.fromarray(blocks.reshape(128, 128, 3))
    means = blocks.mean(axis=(1, 3))

    class Lowest:  # resized to exactly ``side``, at the corner
        uniform = staticmethod(lambda low, high: low)
        integers = staticmethod(lambda low, high: low)

    assert np.abs(for_prior(image, 64, Lowest()) - means).max() <= 1  # Pillow rounds after each direction


def test_pictures_are_made_smaller_and_never_larger():
    assert shrink(picture(100, 60), 30).size == (50, 30)
    assert shrink(picture(7, 1000), 5).size == (5, 714)
    image = picture(20, 30)
    assert shrink(image, 30) is image


def test_around_a_box_is_what_attngan_cuts_out():
    """Its loader: r = int(max(w, h) · 0.75), the middle ± r, inside the picture."""
    image = where(200, 150)
    part = np.array(around_box(image, (60, 30, 40, 20)))
    assert part[0, 0].tolist() == [80 - 30, 40 - 30, 0]
    assert part[-1, -1].tolist() == [80 + 29, 40 + 29, 0]
    part = np.array(around_box(image, (150, 100, 60, 40)))
    assert part[-1, -1].tolist() == [199, 149, 0]
    assert around_box(image, (500, 500, 10, 10)) is image


def test_a_box_may_be_a_pixel_off():
    image = picture(100, 80)
    assert is_inside(image, (0, 0, 101, 81))
    assert not is_inside(image, (0, 0, 102, 80))
    assert not is_inside(image, (-2, 0, 50, 50))
