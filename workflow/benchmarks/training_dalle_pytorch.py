"""DALLE-pytorch's side of the training benchmark. Runs with the Python of an environment that has 1.6.6."""

import sys
import types
from typing import Any

from workflow.benchmarks.training_steps import Built, serve

CYCLE = ("axial_row", "axial_col", "axial_row", "axial_row")


def load() -> Any:
    """The package, without what only its VQGAN needs."""
    for name in ("taming", "taming.models", "taming.models.vqgan", "omegaconf"):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(VQModel=object, GumbelVQ=object, OmegaConf=object)
    import dalle_pytorch

    return dalle_pytorch


def build(given: dict[str, Any]) -> Built:
    """A prior, or a dVAE of as many parameters as ``given["parameters"]`` says, as nearly as its width allows."""
    import torch

    if given["model"] == "prior":
        return prior(given)
    images = torch.rand(given["batch"], 3, given["side"], given["side"])
    model = dvae(given["side"], given["shape"]["codes"], given["parameters"])
    return model.parameters(), lambda: model(images, return_loss=True)


def prior(given: dict[str, Any]) -> Built:
    """Its layers have 16·width² parameters to our 12·width², so it has fewer of them.

    Its sparse layers stand as the paper's do, and its tokens are not shifted; or, with ``given["defaults"]``, both are
    as its constructor has them. It drops nothing out either way.
    """
    import torch

    shape, batch = given["shape"], given["batch"]
    depth = shape["depth"] * 12 // 16
    kinds = [CYCLE[number % 4] for number in range(depth - 1)] + ["conv_like"]
    package = load()
    vae = package.DiscreteVAE(image_size=2 * shape["grid"], num_layers=1, num_tokens=shape["codes"], hidden_dim=8)
    model = package.DALLE(
        dim=shape["width"],
        vae=vae,
        depth=depth,
        heads=shape["heads"],
        dim_head=shape["width"] // shape["heads"],
        num_text_tokens=shape["text_vocab"],
        text_seq_len=shape["text_context"],
        **({} if given["defaults"] else {"attn_types": kinds, "shift_tokens": False}),
    )
    text = torch.randint(1, shape["text_vocab"], (batch, shape["text_context"]))
    codes = torch.randint(shape["codes"], (batch, shape["grid"] ** 2))
    return model.parameters(), lambda: model(text, codes, return_loss=True)


def dvae(side: int, codes: int, parameters: int) -> Any:
    """The model of its README, which has a cell for 8×8 pixels as ours, but for the width of its convolutions."""
    import torch

    package = load()

    def of_width(width: int) -> Any:
        given = {"image_size": side, "num_layers": 3, "num_tokens": codes, "codebook_dim": 512, "num_resnet_blocks": 1}
        return package.DiscreteVAE(**given, hidden_dim=width)

    def distance(width: int) -> int:
        with torch.device("meta"):
            return abs(sum(each.numel() for each in of_width(width).parameters()) - parameters)

    return of_width(min(range(8, 1600, 4), key=distance))


if __name__ == "__main__":
    serve(build)
