"""A radius means what its protocol says, at every size of picture."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from eval.blur import blur
from eval.protocols.protocol import load_protocol

PIL, LAFITE = load_protocol("blur.pil"), load_protocol("blur.lafite")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def measured_sigma(radius, protocol, side=256):
    """σ of the filter, from what it makes of an edge: a point would drown in the rounding to 256 levels."""
    edge = np.zeros((side, side, 3), np.uint8)
    edge[:, side // 2 :] = 255
    spread = np.diff(blur(edge, radius, protocol)[side // 2, :, 0].astype(float)) / 255
    places = np.arange(side - 1)
    return np.sqrt(spread @ places**2 - (spread @ places) ** 2)


@pytest.mark.parametrize(
    ("protocol", "radius", "sigma"),
    [
        (PIL, 1, 0.99),
        (PIL, 2, 2.00),
        (PIL, 4, 3.98),
        (PIL, 8, 8.01),
        (LAFITE, 1, 0.70),
        (LAFITE, 2, 1.17),
        (LAFITE, 4, 2.11),
        (LAFITE, 8, 4.00),
    ],
)
def test_the_filter_has_the_sigma_of_its_definition(protocol, radius, sigma):
    assert measured_sigma(radius, protocol) == pytest.approx(sigma, abs=0.02)


@pytest.mark.parametrize("protocol", [PIL, LAFITE])
def test_a_radius_counts_in_a_picture_of_256_pixels(protocol):
    assert measured_sigma(4, protocol, side=512) == pytest.approx(measured_sigma(8, protocol), abs=0.02)
    assert measured_sigma(8, protocol, side=128) == pytest.approx(measured_sigma(4, protocol), abs=0.02)


def test_the_shorter_side_counts():
    for pixels in noise(64, 200), noise(200, 64):
        oracle = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)))
        np.testing.assert_array_equal(blur(pixels, 8, PIL), oracle)


def test_lafites_filter_is_the_sum_it_stands_for():
    """Five pixels a direction with σ = √2, mirrored at the border, rounded once."""
    pixels = noise(256, 256)
    weights = np.exp(-0.5 * np.arange(-2, 3) ** 2 / 2)
    weights /= weights.sum()
    padded = np.pad(pixels.astype(float), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    rows = sum(weight * padded[i : i + 256] for i, weight in enumerate(weights))
    both = sum(weight * rows[:, i : i + 256] for i, weight in enumerate(weights))
    np.testing.assert_allclose(blur(pixels, 2, LAFITE), both, atol=0.501)


@pytest.mark.parametrize("protocol", [PIL, LAFITE])
def test_pictures_come_out_as_they_went_in(protocol):
    pixels = noise(64, 96)
    blurred = blur(pixels, 8, protocol)
    assert (blurred.dtype, blurred.shape) == (np.uint8, pixels.shape)
    even = np.full((64, 64, 3), 77, np.uint8)
    np.testing.assert_array_equal(blur(even, 8, protocol), even)


@pytest.mark.parametrize("protocol", [PIL, LAFITE])
def test_radius_0_leaves_the_picture_untouched(protocol):
    pixels = noise(8, 8)
    assert blur(pixels, 0, protocol) is pixels


def test_lafites_radius_must_be_whole_in_the_pictures_own_pixels():
    with pytest.raises(ValueError, match=r"blur\.lafite@1: the blur radius is 0\.25 pixels .* has 64; .* whole"):
        blur(noise(64, 80), 1, LAFITE)


def test_a_negative_radius_is_refused():
    with pytest.raises(ValueError, match=r"blur radius -1: allowed are radii from 0 on"):
        blur(noise(8, 8), -1, PIL)
