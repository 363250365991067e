"""The FID network of DALL·E 1's figure 9 for torch-fidelity's own commands: ``inception-dmgan-2018``."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from eval.networks.table import NETWORKS
from eval.networks.weights import find_weights
from eval.pixels import NORMALISATIONS, resize

NAME = "inception-dmgan-2018"
LAYER = "2048"


class DMGANInception(FeatureExtractorBase):
    """DM-GAN's copy of the pytorch-fid of 2018: torchvision's weights behind a normalisation that does not fit them.

    Steps 1 to 4 of its ``fid_score.py``: Pillow squeezes the picture to 299 × 299 and rounds it, and the rest follows
    in float32.
    """

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str | None = None, **_: object
    ) -> None:
        super().__init__(name, features_list)
        recipe = NETWORKS["inception-torchvision"]
        path, _digest = find_weights("inception-torchvision", recipe.source, feature_extractor_weights_path, None)
        self.network = recipe.build(path)

    def forward(self, pictures: UInt8[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, "n 2048"]]:
        squeezed = resize(list(pictures.permute(0, 2, 3, 1).cpu().numpy()), 299, "pil-bilinear")
        normalised = NORMALISATIONS[NAME](squeezed)
        return (self.network(normalised.to(pictures.device))["features"],)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return (LAYER,)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        if metric not in ("fid", "kid", "prc"):
            raise ValueError(f"{NAME} gives no numbers for {metric!r}; allowed are fid, kid, prc")
        return LAYER

    @staticmethod
    def can_be_compiled() -> bool:
        return False  # Pillow stands inside

    @staticmethod
    def get_dummy_input_for_compile() -> UInt8[Tensor, "1 3 4 4"]:
        return torch.zeros(1, 3, 4, 4, dtype=torch.uint8)


def register_dmgan() -> None:
    """From now on torch_fidelity knows the extractor ``inception-dmgan-2018``. Calling it again changes nothing."""
    if NAME not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(NAME, DMGANInception)
