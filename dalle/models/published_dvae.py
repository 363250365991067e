"""OpenAI's dVAE, layer for layer (paper §2.1, appendix A.1; the code that was published with the paper).

    encoder   7×7 ─ 2 blocks ─ pool ─ 2 blocks ─ pool ─ 2 blocks ─ pool ─ 2 blocks ─ ReLU, 1×1 → logits over the codes
    decoder   1×1 ─ 2 blocks ─ up ─── 2 blocks ─ up ─── 2 blocks ─ up ─── 2 blocks ─ ReLU, 1×1 → μ and ln b of RGB

There is no table of codes: the 1×1 convolutions at the code grid play it. There are no norms either; what keeps the
residual stream in bounds is that each of the n blocks adds only 1/n² of its branch. Modules are named as in the
published files, so that a name there and a name here differ in ``w`` → ``weight`` and ``b`` → ``bias`` only.
"""

import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from dalle.models.likelihood import squeeze, unsqueeze
from dalle.models.precision import without_autocast

GROUPS = 4  # of blocks, in each half; between them the grid is halved or doubled
DOWNSAMPLE = 2 ** (GROUPS - 1)  # pixels a code cell is wide
CHANNELS = 3


@dataclass(frozen=True)
class PublishedShape:
    """Everything that decides which tensors the two halves have; the defaults are the paper's."""

    codes: int = 8192
    width: int = 256  # channels at the full resolution; doubled by each group towards the codes
    code_width: int = 128  # channels of a code in the decoder, before its first block
    blocks: int = 2  # of each group


class CodeConv(nn.Conv2d):
    """The 1×1 convolution between codes and channels: as published, in float32 also where others are autocast."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=1)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h w"]:
        with without_autocast(x.device.type):
            return super().forward(x.float())


class Block(nn.Module):
    """x + gain · branch(x): a pre-activation bottleneck of four convolutions, with a quarter of the channels inside."""

    def __init__(self, inputs: int, outputs: int, kernels: tuple[int, ...], gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.id_path = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        widths = [inputs, *[outputs // 4] * (len(kernels) - 1), outputs]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, kernel in enumerate(kernels, 1):
            layers[f"relu_{number}"] = nn.ReLU()
            layers[f"conv_{number}"] = nn.Conv2d(widths[number - 1], widths[number], kernel, padding=kernel // 2)
        self.res_path = nn.Sequential(layers)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h w"]:
        return self.id_path(x) + self.gain * self.res_path(x)


def _groups(widths: list[int], kernels: tuple[int, ...], blocks: int, between: nn.Module) -> dict[str, nn.Module]:
    """``group_1`` … : each takes the stream from a width to the next; all but the last end with ``between``."""
    gain = 1 / ((len(widths) - 1) * blocks) ** 2
    groups = {}
    for number, outputs in enumerate(widths[1:], 1):
        inputs = widths[number - 1]
        layers = {
            f"block_{i}": Block(inputs if i == 1 else outputs, outputs, kernels, gain) for i in range(1, blocks + 1)
        }
        last = {} if number == len(widths) - 1 else {"between": between}
        groups[f"group_{number}"] = nn.Sequential(OrderedDict(layers | last))
    return groups


class Encoder(nn.Module):
    """Logits over the codes for every cell, from squeezed pixels (not from their logits)."""

    def __init__(self, shape: PublishedShape) -> None:
        super().__init__()
        widths = [shape.width, *(shape.width * 2**number for number in range(GROUPS))]
        stem = nn.Conv2d(CHANNELS, shape.width, 7, padding=3)
        head = nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=CodeConv(widths[-1], shape.codes)))
        groups = _groups(widths, (3, 3, 3, 1), shape.blocks, nn.MaxPool2d(2))
        self.blocks = nn.Sequential(OrderedDict(input=stem, **groups, output=head))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k gh gw"]:
        return self.blocks(x)


class Decoder(nn.Module):
    """Location and ln scale of the logit-Laplace distribution of every subpixel, from (relaxed) one-hot codes."""

    def __init__(self, shape: PublishedShape, min_log_scale: float | None = None) -> None:
        super().__init__()
        self.min_log_scale = min_log_scale
        widths = [shape.code_width, *(shape.width * 2**number for number in reversed(range(GROUPS)))]
        head = nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=nn.Conv2d(shape.width, 2 * CHANNELS, 1)))
        groups = _groups(widths, (1, 3, 3, 3), shape.blocks, nn.Upsample(scale_factor=2, mode="nearest"))
        self.blocks = nn.Sequential(OrderedDict(input=CodeConv(shape.codes, shape.code_width), **groups, output=head))

    def forward(self, codes: Float[Tensor, "b k gh gw"]) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]:
        mu, log_scale = self.blocks(codes).chunk(2, dim=1)
        return mu, log_scale if self.min_log_scale is None else log_scale.clamp(min=self.min_log_scale)

    def locations(self, codes: Int[Tensor, "b gh gw"]) -> Float[Tensor, "b 3 h w"]:
        """μ for hard codes. Their rows are looked up: one-hot, 64 pictures' codes would fill 2 GiB."""
        first = self.blocks.input
        embedded = F.embedding(codes.long(), first.weight[:, :, 0, 0].T) + first.bias
        return self.blocks[1:](embedded.permute(0, 3, 1, 2)).chunk(2, dim=1)[0]


class PublishedDVAE(nn.Module):
    """Encoder and decoder, and the two roads through them; as in :class:`dalle.models.dvae.DiscreteVAE`."""

    downsample = DOWNSAMPLE

    def __init__(self, shape: PublishedShape = PublishedShape(), min_log_scale: float | None = None) -> None:
        super().__init__()
        self.shape, self.num_codes = shape, shape.codes
        self.encoder, self.decoder = Encoder(shape), Decoder(shape, min_log_scale)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Weights N(0, 1/fan-in), biases 0: what the published code does; the paper is silent."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
                nn.init.zeros_(module.bias)

    def logits(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k gh gw"]:
        """Unnormalised log posterior over the codes of every cell. Raises ValueError for sides not divisible by 8."""
        height, width = images.shape[-2:]
        if height % DOWNSAMPLE or width % DOWNSAMPLE:
            raise ValueError(
                f"pictures of {height}×{width} pixels; allowed are sides that are multiples of {DOWNSAMPLE}"
            )
        return self.encoder(squeeze(images))

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Int[Tensor, "b gh gw"]:
        """The likeliest code of every cell: what the prior learns (paper §2.2: no noise)."""
        return self.logits(images).argmax(1)

    def decode(self, codes: Int[Tensor, "b gh gw"]) -> Float[Tensor, "b 3 h w"]:
        """Pictures in [0, 1]: the locations' pixels, without noise (paper §A.3)."""
        return unsqueeze(self.decoder.locations(codes))


def read_shape(folder: str | Path) -> PublishedShape:
    """The shape of the model that was imported into ``folder``. Raises ValueError if there is none."""
    path = Path(folder) / "model.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no dVAE was imported here; `python -m dalle import-dvae` writes such a folder")
    facts = json.loads(path.read_text(encoding="utf-8"))
    if facts.get("kind") != "published":
        raise ValueError(f"{path}: this is no imported dVAE; allowed is what `python -m dalle import-dvae` writes")
    return PublishedShape(**facts["shape"])
