"""Are pictures what they should be on their way into a network, and features behind it?"""

import numpy as np
import torch

from dalle.images import decode_picture, to_float, to_uint8
from eval.blur import blur
from eval.golden import fixtures
from eval.golden.check import committed, compare
from eval.protocols.protocol import BlurProtocol, load_protocol

LEVELS = 1e-3  # of 256: kernels in floats round differently on other processors; kernels of whole levels do not
LOSSY_LEVELS = 3  # other releases of libjpeg and libwebp round differently; a wrong conversion is far beyond
FEATURES = 1e-3  # of the largest feature: sums of float32 come in another order on other processors
SIGMA = 0.02
SIGMAS = {  # pixels, of the filter of radius 1, 2, 4, 8 in a picture of 256
    "blur.pil": {1: 0.99, 2: 2.00, 4: 3.98, 8: 8.01},
    "blur.lafite": {1: 0.70, 2: 1.17, 4: 2.11, 8: 4.00},
}


def check_levels() -> str:
    """All 256 levels come back from a network's floats; what lies between is rounded, what lies outside clamped."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    compare("levels after a round trip", to_uint8(to_float(levels)), levels, 0)
    values = (np.arange(-64, 320 * 4, dtype=np.float32) / 4 / 255).reshape(1, 1, 1, -1).repeat(3, axis=1)
    expected = np.rint(values.clip(0, 1) * np.float32(255)).transpose(0, 2, 3, 1)  # the even one of two neighbours
    compare("values between the levels", to_uint8(torch.from_numpy(values)), expected, 0)
    return "256 levels come back; halves to the even level; clamped outside"


def check_decoding() -> str:
    """Strangers' files are the pixels that they should be: turned, scaled, converted, laid over white."""
    gaps = []
    for name, is_lossy in fixtures.FILES.items():
        pixels, found_lossy = decode_picture(fixtures.fixture(name), name)
        if found_lossy != is_lossy:
            raise ValueError(f"{name}: taken for a {'lossy' if found_lossy else 'lossless'} file")
        expected = committed("decoded", {name})[name]
        gaps.append(compare(name, pixels, expected, LOSSY_LEVELS if is_lossy else 0))
    return f"{len(gaps)} kinds of files; at most {max(gaps):g} levels off (lossy ones may be {LOSSY_LEVELS})"


def check_kernel(name: str) -> str:
    """A resize kernel gives the committed levels, smaller and larger."""
    found = fixtures.resized(name)
    expected = committed("kernels", found.keys())
    gap = max(compare(key, levels, expected[key], LEVELS) for key, levels in found.items())
    return f"at most {gap:.1g} levels off (allowed {LEVELS:g})"


def check_blur(name: str) -> str:
    """A radius has the σ that the protocol says."""
    protocol = load_protocol(name, BlurProtocol)
    found = np.array([measured_sigma(protocol, float(radius)) for radius in SIGMAS[name]])
    compare("σ in pixels", found, np.array(list(SIGMAS[name].values())), SIGMA)
    return f"σ {', '.join(f'{sigma:.2f}' for sigma in found)} at radius {', '.join(map(str, SIGMAS[name]))}"


def measured_sigma(protocol: BlurProtocol, radius: float) -> float:
    """σ, in pixels, of what the filter makes of an edge in a picture of 256: a point would drown in the rounding."""
    edge = np.zeros((256, 256, 3), np.uint8)
    edge[:, 128:] = 255
    spread = np.diff(blur(edge, radius, protocol)[128, :, 0].astype(float)) / 255
    places = np.arange(255)
    return float(np.sqrt(spread @ places**2 - (spread @ places) ** 2))


def check_features(weights: str | None) -> str:
    """The network that needs no download sees in two pictures what was committed."""
    found = fixtures.seen(weights)
    expected = committed("features", found.keys())
    gap = max(
        compare(f"{layer} in units of the largest", array / scale, expected[layer] / scale, FEATURES)
        for layer, array in found.items()
        if (scale := np.abs(expected[layer]).max())
    )
    return f"at most {gap:.1g} of the largest off (allowed {FEATURES:g})"
