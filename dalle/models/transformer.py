"""The prior: a decoder-only transformer over the tokens of a caption and the codes of its picture (paper §2.2, §B.1).

What stands where, for a text context of T and C cells:

    input   start of text   t₀ … t_T-2   t_T-1   start of image   c₀ … c_C-2
    learns       t₀         t₁ … t_T-1     –          c₀          c₁ … c_C-1

A text token is embedded as itself plus its position; an empty position has a pad embedding of its own. A code is
embedded as itself plus its row plus its column. Text and image have an output head each, so no logit is ever spent on
a token that cannot stand there.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from dalle.models.attention import context_mask, layer_kinds
from dalle.provenance import atomic


@dataclass(frozen=True)
class Shape:
    """Everything that decides which tensors a transformer has."""

    width: int
    heads: int
    depth: int
    conv_kernel: int
    text_context: int
    text_vocab: int  # without the pads
    grid: int
    codes: int

    @property
    def cells(self) -> int:
        return self.grid * self.grid

    @property
    def prefix(self) -> int:
        """Positions before the first cell: the text between start of text and start of image."""
        return self.text_context + 2


class Block(nn.Module):
    """Pre-norm attention and MLP. What attends to what is left to the caller: ``project``, attend, ``merge``."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def project(self, x: Float[Tensor, "batch n width"]) -> tuple[Float[Tensor, "batch heads n dim"], ...]:
        """Queries, keys and values."""
        batch, n, _ = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, n, 3, self.heads, -1)
        return qkv.permute(2, 0, 3, 1, 4).unbind()

    def merge(
        self, x: Float[Tensor, "batch n width"], attended: Float[Tensor, "batch heads n dim"]
    ) -> Float[Tensor, "batch n width"]:
        """The block's output: what was attended to and the MLP, each added to the residual stream."""
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    def forward(self, x: Float[Tensor, "batch n width"], mask: Bool[Tensor, "n n"]) -> Float[Tensor, "batch n width"]:
        queries, keys, values = self.project(x)
        return self.merge(x, F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask))


class Transformer(nn.Module):
    """Logits of every next token, from the tokens before it."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        width = shape.width
        self.start_of_text = nn.Parameter(torch.empty(1, 1, width))
        self.start_of_image = nn.Parameter(torch.empty(1, 1, width))
        self.text = nn.Embedding(shape.text_vocab + shape.text_context, width)
        self.position = nn.Embedding(shape.text_context, width)
        self.code = nn.Embedding(shape.codes, width)
        self.row = nn.Embedding(shape.grid, width)
        self.column = nn.Embedding(shape.grid, width)
        self.blocks = nn.ModuleList(Block(width, shape.heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(width)
        self.text_head = nn.Linear(width, shape.text_vocab + 1)  # the last class: this position is empty
        self.image_head = nn.Linear(width, shape.codes)
        self.kinds = layer_kinds(shape.depth)
        for kind in dict.fromkeys(self.kinds):
            mask = context_mask(kind, shape.prefix, shape.grid, shape.conv_kernel)
            self.register_buffer(f"{kind}_mask", mask, persistent=False)
        self._initialise()

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

    def embed_prefix(self, text: Int64[Tensor, "batch text"]) -> Float[Tensor, "batch prefix width"]:
        """Start of text, the caption, start of image."""
        start, end = (token.expand(len(text), -1, -1) for token in (self.start_of_text, self.start_of_image))
        return torch.cat([start, self.text(text) + self.position.weight, end], dim=1)

    def embed_codes(
        self, codes: Int64[Tensor, "batch n"], cells: Int64[Tensor, " n"]
    ) -> Float[Tensor, "batch n width"]:
        """The codes that stand in ``cells``."""
        grid = self.shape.grid
        return self.code(codes) + self.row(cells // grid) + self.column(cells % grid)

    def image_logits(self, x: Float[Tensor, "batch n width"]) -> Float[Tensor, "batch n codes"]:
        return self.image_head(self.norm(x))

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
        for block, kind in zip(self.blocks, self.kinds, strict=True):
            x = block(x, self.get_buffer(f"{kind}_mask")[:-1, :-1])
        text_logits = self.text_head(self.norm(x[:, : self.shape.text_context]))
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
