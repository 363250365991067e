"""Extractors: a protocol's whole way from uint8 pictures to the numbers FID and the Inception Score are made of."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from dalle.device import best_device
from dalle.models.precision import full_precision
from eval.networks.network import Network
from eval.networks.table import NETWORKS
from eval.networks.weights import find_weights
from eval.pixels import NORMALISATIONS, Picture, crop, resize
from eval.protocols.protocol import FidProtocol


@dataclass(frozen=True)
class Extractor:
    """A network with its preprocessing. Called with pictures, it gives their features, and class logits if it has any.

    Pictures are cropped, resized, normalised as ``protocol`` says; they may differ in size.
    """

    protocol: FidProtocol
    network: Network
    weights_digest: str

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits for weights, network, pixel path and layer: equal ones give equal features."""
        rule = self.protocol
        path = (rule.crop, f"{rule.side}", rule.kernel, rule.normalise)
        parts = (self.weights_digest, rule.network, *path, f"{rule.logits}")
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def __call__(
        self, pictures: Sequence[Picture]
    ) -> tuple[Float32[np.ndarray, "n dim"], Float32[np.ndarray, "n classes"] | None]:
        """Features and logits. A picture's row does not depend on the other pictures, up to float32's rounding."""
        rule = self.protocol
        levels = resize([crop(picture, rule.crop) for picture in pictures], rule.side, rule.kernel)
        device = next(self.network.parameters()).device
        inputs = NORMALISATIONS[rule.normalise](levels).to(device, memory_format=torch.channels_last)
        with full_precision():
            layers = {name: layer.cpu().numpy() for name, layer in self.network(inputs).items()}
        return layers["features"], layers.get(rule.logits)


def load_extractor(protocol: FidProtocol, weights: str | Path | None = None) -> Extractor:
    """The extractor of a protocol, ready to be called, on the GPU if there is one.

    ``weights`` is the file of the network's weights; without one the library's own download is used. Raises ValueError
    for a file that is not the protocol's, for weights that can neither be found nor downloaded, and for logits that the
    network has not.
    """
    recipe = NETWORKS[protocol.network]
    path, digest = find_weights(protocol.network, recipe.source, weights, protocol.weights)
    try:
        network = recipe.build(path)
    except Exception as error:  # as many kinds as there are ways for a file to hold something else
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ValueError(f"weights of {protocol.network}: {path} does not hold them ({reason})") from error
    if protocol.logits is not None and protocol.logits not in network.heads:
        known = ", ".join(network.heads) or "none: it classifies nothing"
        raise ValueError(
            f"{protocol.label}: network {protocol.network} has no layer {protocol.logits!r}; it has {known}"
        )
    return Extractor(protocol, network.to(best_device(), memory_format=torch.channels_last), digest)
