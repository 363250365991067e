"""What is trained. A default that departs from the paper says so."""

from typing import Literal

from pydantic import Field

from dalle.config.settings import Above0, Positive, PowerOfTwo, Settings, Share
from dalle.config.training import Optimisation


class Tokenizer(Settings):
    """Byte-pair encoding of lower-cased captions (paper §2.2)."""

    vocab_size: Positive = Field(256, description="text tokens, specials included (paper: 16,384)")
    context: Positive = Field(
        16, description="text positions; shorter captions are filled with one learnt pad a position (paper: 256)"
    )
    dropout: Share = Field(
        0.0, description="BPE dropout in training (paper: 0.1; the scenes have some 40 words, all frequent)"
    )


class DVAE(Settings):
    """Stage 1, the discrete VAE (paper §2.1, appendix A.2)."""

    codes: Positive = Field(512, description="vocabulary K (paper: 8192)")
    downsample: PowerOfTwo = Field(8, description="pixels a code cell is wide (paper: 8)")
    width: Positive = Field(128, description="channels of the two context networks, which work at the code grid")
    blocks: Positive = Field(2, description="3×3 convolutions of each: how many cells away a cell can see")
    start: Literal["kmeans", "random"] = Field(
        "kmeans", description="interface of codes and pixels before training (paper: random)"
    )
    temperature: tuple[Above0, Above0] = Field(
        (0.5, 0.0625), description="Gumbel-softmax τ, first and last, cosine (paper: 1 → 1/16)"
    )
    kl_weight: float = Field(
        1.0,
        ge=0,
        description="β at its full height, after growing from 0 over the first tenth (paper: 6.6, which with ln b ≥ 0 "
        "outweighs the likelihood: plain cells take codes of rare things, and their specks)",
    )
    min_log_scale: float = Field(
        0.0, description="lower bound of ln b; without it large errors are explained by a large b and left standing"
    )
    optimisation: Optimisation = Optimisation(steps=1200, batch_size=16, betas=(0.9, 0.999))


class Prior(Settings):
    """Stage 2, the autoregressive transformer over text and image tokens (paper §2.2, appendix B)."""

    width: Positive = Field(96, description="d_model")
    heads: Positive = Field(4, description="attention heads")
    depth: Positive = Field(
        3, description="layers: row and column masks by the paper's rule, convolutional in the last"
    )
    conv_kernel: Positive = Field(11, description="side of the convolutional mask (paper: 11)")
    uncaptioned: bool = Field(
        False, description="learns the uncaptioned pictures too, under an empty caption (paper: every picture has one)"
    )
    text_loss: Share = Field(0.125, description="weight of the text loss; the image loss has the rest (paper: 1/8)")
    optimisation: Optimisation = Optimisation(
        optimiser="muon", steps=2600, learning_rate=6e-3, warmup=50, weight_decay=0.045
    )


class Clip(Settings):
    """The contrastive model that reranks, trained here (open_clip architecture, a convolutional stem before it)."""

    width: Positive = Field(96, description="width of both towers")
    heads: Positive = Field(4, description="attention heads of both towers")
    depth: Positive = Field(3, description="layers of the picture tower")
    text_depth: Positive = Field(2, description="layers of the text tower")
    patch: PowerOfTwo = Field(16, description="pixels between the picture tower's tokens; the stem halves so often")
    stem: Positive = Field(24, description="channels after the stem's first convolution; doubled by each further one")
    embed_dim: Positive = Field(96, description="length of the shared embedding")
    optimisation: Optimisation = Optimisation(
        steps=1000, learning_rate=1.5e-3, warmup=40, betas=(0.9, 0.98), weight_decay=0
    )
