"""A radius is a σ in pixels of a 256-pixel picture."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from eval.blur import blur


def test_radius_0_leaves_the_pictures_untouched():
    images = torch.rand(2, 3, 16, 16)
    assert blur(images, 0) is images


@pytest.mark.parametrize(("side", "radius"), [(64, 4), (64, 8), (128, 2)])
def test_a_point_becomes_the_gaussian_of_the_scaled_radius(side, radius):
    image = torch.zeros(1, 3, side, side)
    image[..., side // 2, side // 2] = 1
    sigma = radius * side / 256
    offsets = np.arange(side) - side // 2
    line = np.exp(-0.5 * (offsets / sigma) ** 2)
    line /= line.sum()
    np.testing.assert_allclose(blur(image, radius)[0, 0].numpy(), np.outer(line, line), atol=3e-5 / sigma**2)


def test_a_256_pixel_picture_is_blurred_as_pillow_does():
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    oracle = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(4)), dtype=np.float32)
    ours = blur(torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), 4)[0].permute(1, 2, 0).numpy()
    # Pillow rounds to levels and stacks three box filters; σ wrong by a tenth would differ by more than 2.
    assert np.abs(ours - oracle)[16:-16, 16:-16].mean() < 0.5


def test_an_even_picture_stays_even_up_to_its_border():
    image = torch.full((1, 3, 32, 32), 0.7)
    torch.testing.assert_close(blur(image, 8), image)


def test_each_picture_and_each_channel_is_blurred_alone():
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(blur(images, 8)[1:2, 2:], blur(images[1:2, 2:].expand(1, 3, 32, 32), 8)[:, :1])
