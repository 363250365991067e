"""An extractor of ours as torch-fidelity's own commands take it."""

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from eval.extractors import Extractor

LAYER_OF = {"fid": "features", "kid": "features", "prc": "features", "isc": "logits"}


def register(extractor: Extractor) -> str:
    """The name by which torch_fidelity knows the extractor from now on.

    It gives float64: torch-fidelity takes means in the type of the features, and float32 would cost five digits.
    """

    class Ours(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **_: object) -> None:
            super().__init__(name, features_list)

        def forward(self, pictures: UInt8[Tensor, "n 3 h w"]) -> tuple[Float64[Tensor, "n _"], ...]:
            layers = dict(
                zip(("features", "logits"), extractor(list(pictures.permute(0, 2, 3, 1).numpy())), strict=True)
            )
            return tuple(torch.from_numpy(layers[name]).double() for name in self.features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("features", "logits")

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return LAYER_OF[metric]

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        @staticmethod
        def get_dummy_input_for_compile() -> UInt8[Tensor, "1 3 4 4"]:
            return torch.zeros(1, 3, 4, 4, dtype=torch.uint8)

    name = f"dalle-bench-{extractor.digest}"
    if name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(name, Ours)
    return name
