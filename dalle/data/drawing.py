"""Scenes in pixels: antialiased shapes of even colour on textured backgrounds."""

from functools import cache

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import uniform_filter

from dalle.data.scenes import SIZES, Scene

PAINT = {"red": (214, 40, 48), "green": (36, 176, 64), "blue": (44, 72, 214), "yellow": (246, 214, 40)}
GROUND = {"grass": (112, 130, 92), "sand": (206, 188, 156), "water": (112, 158, 172), "night": (34, 34, 48)}
TILE = 8  # pixels: textures repeat so that a code can hold one (a concession, like the lattice)
STARRY = 0.2  # share of the night's tiles that have a star
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
    return (picture + rng.normal(0, 2, picture.shape)).clip(0, 255).round().astype(np.uint8)


def ground(background: str, image_size: int, rng: np.random.Generator) -> Float[np.ndarray, "size size 3"]:
    """An empty background: its colour with blades, grains, waves or stars, levels 0–255."""
    repeats = -(-image_size // TILE)
    texture = np.tile(tile(background), (repeats, repeats))
    if background == "night":
        shining = rng.random((repeats, repeats)) < STARRY
        texture = texture * np.kron(shining, np.ones((TILE, TILE)))
    return np.array(GROUND[background], dtype=float) + texture[:image_size, :image_size, None]


@cache
def tile(background: str) -> Float[np.ndarray, "tile tile"]:
    """The piece of texture that repeats over a background, levels around 0; the same for ever."""
    noise = np.random.default_rng(1).normal(0, 1, (TILE, TILE))
    if background == "grass":
        return 24 * uniform_filter(noise, (5, 1), mode="wrap")
    if background == "sand":
        return 16 * uniform_filter(noise, 2, mode="wrap")
    if background == "water":
        return 6 * noise + 12 * np.sin(2 * np.pi * np.arange(TILE) / TILE)[:, None]
    star = np.zeros((TILE, TILE))
    star[2, 5] = 150
    return star
