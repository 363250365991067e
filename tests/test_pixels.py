"""Every kernel against the sum it stands for, every normalisation against the library it is named after."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import Inception3
from torchvision.transforms.functional import InterpolationMode, normalize, to_tensor
from torchvision.transforms.functional import resize as torchvision_resize

from eval.pixels import IMAGENET, KERNELS, NORMALISATIONS, OPENAI_CLIP, crop, resize


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def levels(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()


def antialiased(num_in, num_out, kernel, support):
    """The matrix of an antialiased resampling: a row of kernel weights for each pixel that comes out."""
    scale = num_in / num_out
    stretch = max(scale, 1)
    middles = (np.arange(num_out)[:, None] + 0.5) * scale - 0.5
    distances = np.abs(np.arange(num_in)[None] - middles) / stretch
    weights = np.where(distances < support, kernel(distances), 0)
    return weights / weights.sum(axis=1, keepdims=True)


def triangle(x):
    return 1 - x


def catmull_rom(x):
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)


def no_half_pixels(num_in, num_out):
    """TensorFlow 1: pixel i that comes out lies at i · num_in / num_out, between that pixel and the next."""
    matrix = np.zeros((num_out, num_in))
    for i in range(num_out):
        place = i * num_in / num_out
        low = int(place)
        matrix[i, low] += 1 - (place - low)
        matrix[i, min(low + 1, num_in - 1)] += place - low
    return matrix


MATRICES = {
    "tf1-bilinear": no_half_pixels,
    "torch-bilinear-antialias": lambda i, o: antialiased(i, o, triangle, 1),
    "pil-bilinear": lambda i, o: antialiased(i, o, triangle, 1),
    "pil-bicubic": lambda i, o: antialiased(i, o, catmull_rom, 2),
    "pil-bicubic-float": lambda i, o: antialiased(i, o, catmull_rom, 2),
}


WHOLE = {"pil-bilinear", "pil-bicubic"}  # rounded and cut to 0 … 255 after either direction


@pytest.mark.parametrize(("height", "width"), [(40, 40), (23, 61), (7, 5)])
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_is_the_sum_it_stands_for(name, height, width):
    side, pixels = 17, picture(height, width)
    rows, columns = MATRICES[name](height, side), MATRICES[name](width, side)
    cut = (lambda x: np.rint(x).clip(0, 255)) if name in WHOLE else (lambda x: x)
    across = cut(np.einsum("xw,hwc->chx", columns, pixels.astype(float)))
    expected = cut(np.einsum("yh,chx->cyx", rows, across)).clip(0, 255)
    ours = KERNELS[name](pixels[None], side)
    assert ours.shape == (1, 3, side, side)
    assert ours.dtype == torch.float32
    # Where a sum lies between two levels, Pillow's whole-number arithmetic may round it the other way.
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1 if name in WHOLE else 1e-3)


@pytest.mark.parametrize("name", KERNELS)
def test_a_picture_of_the_right_size_stays_as_it_is(name):
    pixels = picture(32, 32)
    assert torch.equal(KERNELS[name](pixels[None], 32), levels(pixels))


@pytest.mark.parametrize("name", KERNELS)
def test_levels_stay_levels(name):
    """A bicubic kernel swings beyond black and white at an edge."""
    edge = np.zeros((16, 16, 3), np.uint8)
    edge[:, 8:] = 255
    resized = KERNELS[name](edge[None], 64)
    assert resized.min() == 0
    assert resized.max() == 255


def test_whole_level_kernels_round_and_the_others_do_not():
    whole = {name: bool((KERNELS[name](picture(50, 50)[None], 17) % 1 == 0).all()) for name in KERNELS}
    assert {name for name, value in whole.items() if value} == WHOLE


@pytest.mark.parametrize(
    ("name", "mode"), [("pil-bilinear", InterpolationMode.BILINEAR), ("pil-bicubic", InterpolationMode.BICUBIC)]
)
def test_pillow_kernels_are_torchvisions_on_pillow_pictures(name, mode):
    pixels = picture(70, 50)
    theirs = torchvision_resize(Image.fromarray(pixels), [29, 29], mode)
    assert torch.equal(KERNELS[name](pixels[None], 29), levels(np.array(theirs)))


def test_clean_fids_resize_channel_by_channel():
    pixels = picture(70, 50)
    theirs = [
        np.asarray(Image.fromarray(pixels[..., c].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC))
        for c in range(3)
    ]
    np.testing.assert_array_equal(KERNELS["pil-bicubic-float"](pixels[None], 299)[0], np.stack(theirs).clip(0, 255))


@pytest.mark.parametrize("name", KERNELS)
def test_a_pictures_square_does_not_depend_on_its_company(name):
    pictures = [picture(20, 30, 1), picture(30, 20, 2), picture(16, 16, 3), picture(20, 30, 4)]
    mixed = resize(pictures, 16, name)
    alike = resize([pictures[0], pictures[3]], 16, name)
    assert torch.equal(alike, mixed[[0, 3]])
    assert torch.equal(mixed[2:3], levels(pictures[2]))


def test_the_centre_is_the_largest_square_and_squeezing_leaves_the_picture():
    pixels = picture(5, 8)
    np.testing.assert_array_equal(crop(pixels, "centre"), pixels[:, 1:6])
    np.testing.assert_array_equal(crop(pixels.transpose(1, 0, 2), "centre"), pixels.transpose(1, 0, 2)[1:6])
    assert crop(pixels, "squeeze") is pixels
    square = crop(pixels, "centre")
    assert crop(square, "centre") is square
    with pytest.raises(ValueError, match=r"crop 'middle' is unknown; allowed are centre, squeeze"):
        crop(pixels, "middle")


def test_tensorflow_networks_see_minus_one_to_one():
    black_white = torch.tensor([0.0, 128.0, 255.0])
    assert NORMALISATIONS["inception-tf"](black_white).tolist() == [-1, 0, 127 / 128]
    assert NORMALISATIONS["efficientnet-lite"](black_white).tolist() == [-127 / 128, 1 / 128, 1]


def test_dmgans_normalisation_is_the_one_torchvision_applies_to_standardised_pictures():
    pixels = levels(picture(4, 4))
    expected = Inception3._transform_input(SimpleNamespace(transform_input=True), pixels / 255)
    torch.testing.assert_close(NORMALISATIONS["inception-dmgan-2018"](pixels), expected)


def test_dmgans_range_is_far_from_minus_one_to_one():
    ends = torch.stack([torch.zeros(3, 1, 1), torch.full((3, 1, 1), 255.0)])
    black, white = NORMALISATIONS["inception-dmgan-2018"](ends).flatten(1)
    torch.testing.assert_close(black, torch.tensor([-0.03, -0.088, -0.188]))
    torch.testing.assert_close(white, torch.tensor([0.428, 0.36, 0.262]))


@pytest.mark.parametrize(("name", "statistics"), [("imagenet", IMAGENET), ("openai-clip", OPENAI_CLIP)])
def test_standardising_is_torchvisions(name, statistics):
    pixels = picture(8, 8)
    expected = normalize(to_tensor(pixels), *map(list, statistics))
    torch.testing.assert_close(NORMALISATIONS[name](levels(pixels))[0], expected)


def test_the_statistics_are_those_of_the_libraries():
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    assert IMAGENET == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    assert OPENAI_CLIP == (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
