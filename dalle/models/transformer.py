"""The prior: a decoder-only transformer over the tokens of a caption and the codes of its picture (paper §2.2, §B.1).

What stands where, for a text context of T and C cells:

    input   start of text   t₀ … t_T-2   t_T-1   start of image   c₀ … c_C-2
    learns       t₀         t₁ … t_T-1     –          c₀          c₁ … c_C-1

A text token is embedded as itself plus its position; an empty position has a pad embedding of its own. A code is
embedded as itself plus its row plus its column. Text and image have an output head each, so no logit is ever spent on
a token that cannot stand there. The first code is learnt where start of image stands, by the image head.

Where the paper is silent, a field of :class:`Shape` has the choice; what speaks for each value stands with the setting
of the same name in dalle/config/models.py.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dalle.config.models import Prior
from dalle.models.attention import Kind, Wrap, context_mask, layer_kinds
from dalle.models.branches import add_scaled
from dalle.models.precision import without_autocast
from dalle.models.sparse_attention import attend
from dalle.provenance import atomic

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def quick_gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """CLIP's rough GELU, x·σ(1.702x)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
}


@dataclass(frozen=True)
class Shape:
    """Everything that decides which tensors a transformer has and what it makes of them."""

    width: int
    heads: int
    depth: int
    conv_kernel: int
    text_context: int  # positions of the caption
    text_vocab: int  # without the pads
    grid: int
    codes: int
    conv_wrap: Wrap = "raster"
    start_tokens: Literal["extra", "first_slot"] = "extra"
    start_of_image_position: bool = False
    norm: Literal["pre", "sandwich"] = "pre"
    activation: str = "gelu_tanh"

    @property
    def cells(self) -> int:
        return self.grid * self.grid

    @property
    def prefix(self) -> int:
        """Positions before the first cell: the text between start of text and start of image."""
        return self.text_context + 2


def prior_shape(settings: Prior, context: int, text_vocab: int, grid: int, codes: int) -> Shape:
    """The transformer's shape: the settings, and what the tokenizer and the codes impose.

    Of ``context`` text positions start of text may take the first. Raises ValueError if none is left.
    """
    taken = 1 if settings.start_tokens == "first_slot" else 0
    if context <= taken:
        raise ValueError(f"tokenizer.context: {context}; with prior.start_tokens: first_slot 2 and more are allowed")
    own = settings.model_dump(exclude={"attention", "uncaptioned", "text_loss", "optimisation"})
    return Shape(**own, text_context=context - taken, text_vocab=text_vocab, grid=grid, codes=codes)


class Block(nn.Module):
    """Attention and MLP, each a branch that begins with a norm and is added to the residual stream.

    What attends to what is left to the caller: ``project``, attend, ``merge``. In a sandwich each branch ends with a
    norm, too.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        width, self.heads = shape.width, shape.heads
        self.activation = ACTIVATIONS[shape.activation]
        after = nn.Identity if shape.norm == "pre" else partial(nn.LayerNorm, width)
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm1_after = after()
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm2_after = after()

    @property
    def branches(self) -> list[list[nn.Parameter]]:
        """The weights of the attention, and those of the MLP."""
        attention, mlp = (self.norm1, self.qkv, self.out, self.norm1_after), (self.norm2, self.up, self.down)
        parts = attention, (*mlp, self.norm2_after)
        return [[parameter for module in part for parameter in module.parameters()] for part in parts]

    def project(self, x: Float[Tensor, "batch n width"]) -> tuple[Float[Tensor, "batch heads n dim"], ...]:
        """Queries, keys and values."""
        batch, n, _ = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, n, 3, self.heads, -1)
        return qkv.permute(2, 0, 3, 1, 4).unbind()

    def attended(self, heads: Float[Tensor, "batch heads n dim"]) -> Float[Tensor, "batch n width"]:
        """The end of the attention branch, from what each head attended to."""
        return self.norm1_after(self.out(heads.transpose(1, 2).flatten(2)))

    def mlp(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n width"]:
        return self.norm2_after(self.down(self.activation(self.up(self.norm2(x)))))

    def merge(
        self, x: Float[Tensor, "batch n width"], heads: Float[Tensor, "batch heads n dim"]
    ) -> Float[Tensor, "batch n width"]:
        """The block's output: what was attended to and the MLP, each added to the residual stream."""
        x = x + self.attended(heads)
        return x + self.mlp(x)

    def forward(
        self, x: Float[Tensor, "batch n width"], attend: Attend, scales: Float32[Tensor, "2"] | None = None
    ) -> Float[Tensor, "batch n width"]:
        """With ``scales`` each branch is computed in 16 bit and its gradients are scaled (branches.py)."""
        if scales is None:
            return self.merge(x, attend(*self.project(x)))
        x = add_scaled(x, lambda x: self.attended(attend(*self.project(x))), scales[0])
        return add_scaled(x, self.mlp, scales[1])


class Transformer(nn.Module):
    """Logits of every next token, from the tokens before it.

    The training loop may set ``scales``, one for each of the ``branches`` (dalle/training/scaling.py), and
    ``checkpointing``: blocks then keep nothing for the backward pass but their input.
    """

    def __init__(self, shape: Shape, attention: Literal["dense", "windows"] = "dense"):
        super().__init__()
        self.shape = shape
        self.scales: Float32[Tensor, " branches"] | None = None
        self.checkpointing = False
        width, starts = shape.width, (shape.start_tokens == "first_slot") + shape.start_of_image_position
        self.start_of_text = nn.Parameter(torch.empty(1, 1, width))
        self.start_of_image = nn.Parameter(torch.empty(1, 1, width))
        self.text = nn.Embedding(shape.text_vocab + shape.text_context, width)
        self.position = nn.Embedding(shape.text_context + starts, width)  # of the prefix, as far as it has positions
        self.code = nn.Embedding(shape.codes, width)
        self.row = nn.Embedding(shape.grid, width)
        self.column = nn.Embedding(shape.grid, width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(width)
        self.text_head = nn.Linear(width, shape.text_vocab + 1)  # the last class: this position is empty
        self.image_head = nn.Linear(width, shape.codes)
        self.kinds = layer_kinds(shape.depth)
        self.attention = attention
        for kind in dict.fromkeys(self.kinds) if attention == "dense" else ():
            self.register_buffer(f"{kind}_mask", context_mask(kind, *self._layout), persistent=False)
        self._initialise()

    @property
    def branches(self) -> list[list[nn.Parameter]]:
        """The weights of each residual branch: attention and MLP of the first block, of the second, …"""
        return [branch for block in self.blocks for branch in block.branches]

    def _initialise(self) -> None:
        """Matrices and embeddings small (GPT-2's 0.02; larger ones learn the scenes more slowly), those that write
        into the residual stream, of which there are 2·depth, so much smaller that it does not grow with depth."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 * (2 * self.shape.depth) ** -0.5)
            elif "norm" not in name:
                nn.init.normal_(parameter, std=0.02)

    @property
    def _layout(self) -> tuple[int, int, int, Wrap]:
        """What decides masks, beside the kind of a layer."""
        return self.shape.prefix, self.shape.grid, self.shape.conv_kernel, self.shape.conv_wrap

    def attend(self, kind: Kind) -> Attend:
        """The attention of a training sequence, in which the last cell is not."""
        if self.attention == "dense":
            return partial(F.scaled_dot_product_attention, attn_mask=self.get_buffer(f"{kind}_mask")[:-1, :-1])
        prefix, grid, conv_kernel, conv_wrap = self._layout
        return partial(attend, kind, prefix=prefix, grid=grid, conv_kernel=conv_kernel, conv_wrap=conv_wrap)

    def embed_prefix(self, text: Int64[Tensor, "batch text"]) -> Float[Tensor, "batch prefix width"]:
        """Start of text, the caption, start of image."""
        start, end, positions = self.start_of_text, self.start_of_image, self.position.weight
        if self.shape.start_tokens == "first_slot":
            start, positions = start + positions[0], positions[1:]
        if self.shape.start_of_image_position:
            end, positions = end + positions[-1], positions[:-1]
        start, end = (token.expand(len(text), -1, -1) for token in (start, end))
        return torch.cat([start, self.text(text) + positions, end], dim=1)

    def embed_codes(
        self, codes: Int64[Tensor, "batch n"], cells: Int64[Tensor, " n"]
    ) -> Float[Tensor, "batch n width"]:
        """The codes that stand in ``cells``."""
        grid = self.shape.grid
        return self.code(codes) + self.row(cells // grid) + self.column(cells % grid)

    def image_logits(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n codes"]:
        return self._logits(self.image_head, x)

    def _logits(self, head: nn.Linear, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n classes"]:
        """In float32, whatever is cast outside: in 16 bit the paper's learning curves shifted (§D)."""
        with without_autocast(x.device.type):
            return head(self.norm(x))  # the residual stream is float32 anyway

    def forward(
        self, text: Int64[Tensor, "batch text"], codes: Int64[Tensor, "batch cells"]
    ) -> tuple[Float[Tensor, "batch text text_classes"], Float[Tensor, "batch cells codes"]]:
        """Logits of each text token and of each code given all that comes before it.

        Text ids are those of ``Tokenizer.encode``; in the logits all pads are one class, ``text_vocab``: at each
        position only one of them could stand.
        """
        prefix = self.embed_prefix(text)
        cells = torch.arange(self.shape.cells - 1, device=codes.device)  # nothing is learnt from the last code
        x = torch.cat([prefix, self.embed_codes(codes[:, :-1], cells)], dim=1)
        scales = [None] * len(self.blocks) if self.scales is None else self.scales.view(-1, 2)
        for block, kind, own in zip(self.blocks, self.kinds, scales, strict=True):
            run = partial(checkpoint, block, use_reentrant=False) if self.checkpointing else block
            x = run(x, self.attend(kind), own)
        text_logits = self._logits(self.text_head, x[:, : self.shape.text_context])
        return text_logits, self.image_logits(x[:, self.shape.prefix - 1 :])


def write_shape(path: str | Path, shape: Shape, **facts: object) -> None:
    """``model.json``: the shape, and whatever else is known about the trained model."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({"shape": asdict(shape), **facts}, indent=2) + "\n", encoding="utf-8")


def load_transformer(folder: str | Path) -> Transformer:
    """The trained model of ``folder`` (``model.json``, ``weights.safetensors``), in evaluation mode."""
    from safetensors.torch import load_file

    facts = json.loads((Path(folder) / "model.json").read_text(encoding="utf-8"))
    model = Transformer(Shape(**facts["shape"]))
    model.load_state_dict(load_file(Path(folder) / "weights.safetensors"))
    return model.eval()
