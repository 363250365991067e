"""Scenes in pixels: antialiased shapes of even colour on textured backgrounds."""

from functools import cache

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import uniform_filter

from dalle.data.scenes import SIZES, Scene

PAINT = {"red": (214, 40, 48), "green": (36, 176, 64), "blue": (44, 72, 214), "yellow": (246, 214, 40)}
GROUND = {"grass": (112, 130, 92), "sand": (206, 188, 156), "water": (112, 158, 172), "night": (34, 34, 48)}
SUPERSAMPLING = 8  # subpixels a pixel's side, for smooth edges


@cache
def stencil(shape: str, size: str) -> Float[np.ndarray, "s s"]:
    """How much of each pixel a shape covers, in [0, 1]; the thing's centre is the middle of the (even) square."""
    half = SIZES[size] / 2
    side = 2 * int(half + 1)
    points = (np.arange(side * SUPERSAMPLING) + 0.5) / SUPERSAMPLING - side / 2
    y, x = np.meshgrid(points, points, indexing="ij")
    radius = np.hypot(x, y)
    inside = {
        "circle": radius <= half,
        "square": (abs(x) <= half - 1) & (abs(y) <= half - 1),
        "triangle": (y <= 0.8 * half) & (y >= 2 * abs(x) - half),
        "ring": (radius <= half) & (radius >= 0.5 * half),
    }[shape]
    return inside.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING).mean(axis=(1, 3))


def draw(scene: Scene, image_size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
    """A picture of the scene; ``rng`` decides the texture and nothing else."""
    picture = ground(scene.background, image_size, rng)
    for thing in scene.things:
        cover = stencil(thing.kind.shape, thing.kind.size)[..., None]
        reach = len(cover) // 2
        patch = picture[thing.y - reach : thing.y + reach, thing.x - reach : thing.x + reach]
        patch += cover * (np.array(PAINT[thing.kind.colour]) - patch)
    return (picture + rng.normal(0, 1.5, picture.shape)).clip(0, 255).round().astype(np.uint8)


def ground(background: str, image_size: int, rng: np.random.Generator) -> Float[np.ndarray, "size size 3"]:
    """An empty background: its colour with blades, grains, waves or stars, levels 0–255."""
    noise = rng.normal(0, 1, (image_size, image_size))
    texture = {"grass": _blades, "sand": _grains, "water": _waves, "night": _stars}[background](noise, rng)
    return np.array(GROUND[background], dtype=float) + texture[..., None]


def _blades(noise: Float[np.ndarray, "size size"], rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
    return 22 * uniform_filter(noise, (7, 1), mode="wrap")


def _grains(noise: Float[np.ndarray, "size size"], rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
    return 5 * noise + 12 * uniform_filter(noise, 3, mode="wrap")


def _waves(noise: Float[np.ndarray, "size size"], rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
    y = np.arange(len(noise))[:, None]
    return 9 * np.sin(2 * np.pi * (y / 8 + rng.random())) + 14 * uniform_filter(noise, (1, 9), mode="wrap")


def _stars(noise: Float[np.ndarray, "size size"], rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
    return 3 * noise + 150 * (rng.random(noise.shape) < 0.006)
