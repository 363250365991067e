"""Pictures: shapes have the areas of geometry, things their paints, and chance decides the texture alone."""

from math import pi

import numpy as np
import pytest

from dalle.data.drawing import GROUND, PAINT, draw, ground, stencil
from dalle.data.scenes import SHAPES, SIZES, Kind, Scene, Thing

RED, BLUE = Kind("large", "red", "circle"), Kind("small", "blue", "square")
ABOVE = Scene((Thing(RED, 32, 16), Thing(BLUE, 32, 48)), "sand")


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", lambda r: pi * r**2),
        ("square", lambda r: (2 * r - 2) ** 2),
        ("triangle", lambda r: (1.8 * r) ** 2 / 2),  # as wide as it is high
        ("ring", lambda r: 0.75 * pi * r**2),
    ],
)
def test_a_stencil_has_the_area_of_its_shape(shape, size, area):
    assert stencil(shape, size).sum() == pytest.approx(area(SIZES[size] / 2), rel=0.01)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_stencil_is_smooth_whole_and_symmetric(shape, size):
    cover = stencil(shape, size)
    assert cover.min() == 0
    assert cover.max() == 1
    assert np.array_equal(cover, cover[:, ::-1])
    edge = np.concatenate([cover[0], cover[-1], cover[:, 0], cover[:, -1]])
    assert edge.max() == 0
    assert (shape == "square") == (set(np.unique(cover)) == {0, 1})  # its sides lie between pixels


@pytest.mark.parametrize("background", GROUND)
@pytest.mark.parametrize("colour", PAINT)
def test_a_thing_shows_its_paint_on_its_ground(colour, background):
    picture = draw(Scene((Thing(Kind("large", colour, "square"), 24, 40),), background), 64, rng())
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    inside = picture[31:49, 15:33].astype(float)
    assert inside.mean((0, 1)) == pytest.approx(PAINT[colour], abs=0.35)  # four standard errors
    assert inside.std((0, 1)).max() < 2.5
    assert picture[:24].mean((0, 1)) == pytest.approx(GROUND[background], abs=4)


def test_a_stencil_ends_where_its_thing_ends():
    scene = Scene((Thing(BLUE, 16, 40),), "sand")
    with_thing, without = draw(scene, 64, rng()), draw(Scene((), "sand"), 64, rng())
    rows, columns = np.nonzero((with_thing != without).any(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (34, 45, 10, 21)  # 12 pixels around (40, 16)


def test_chance_decides_the_ground_and_the_noise_alone():
    night = Scene(ABOVE.things, "night")
    first, again, other = draw(night, 64, rng(0)), draw(night, 64, rng(0)), draw(night, 64, rng(1))
    assert np.array_equal(first, again)
    assert abs(first.astype(int) - other).max() > 100  # stars
    inside = np.s_[10:22, 26:38]
    assert 0 < abs(first[inside].astype(int) - other[inside]).max() < 20  # noise of about two levels on either


def test_the_order_of_things_does_not_count():
    assert np.array_equal(draw(ABOVE, 64, rng()), draw(Scene(ABOVE.things[::-1], "sand"), 64, rng()))


@pytest.mark.parametrize("background", GROUND)
def test_a_ground_is_textured_around_its_colour(background):
    levels = np.stack([ground(background, 64, rng(seed)) for seed in range(20)])
    assert levels.mean((0, 1, 2)) == pytest.approx(GROUND[background], abs=2)
    assert 3 < levels.std((1, 2)).mean() < 25
    assert np.allclose(np.diff(levels - GROUND[background], axis=-1), 0)  # all channels alike: its hue stays
