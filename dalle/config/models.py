"""What is trained. A default that departs from the paper says so."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dalle.config.settings import Above0, Positive, PowerOfTwo, Settings, Share
from dalle.config.training import Optimisation


class Tokenizer(Settings):
    """Byte-pair encoding of lower-cased captions (paper §2.2)."""

    vocab_size: Positive = Field(256, description="text tokens, specials included (paper: 16,384)")
    context: Positive = Field(
        16, description="text positions; shorter captions are filled with one learnt pad a position (paper: 256)"
    )
    spaces: Literal["joined", "alone"] = Field(
        "joined",
        description="a space belongs to the word behind it, or is a token by itself (paper: alone; joined halves the "
        "positions that a caption needs)",
    )
    dropout: Share = Field(
        0.0, description="BPE dropout in training (paper: 0.1; the scenes have some 40 words, all frequent)"
    )


class DVAE(Settings):
    """Stage 1, the discrete VAE (paper §2.1, appendix A.2)."""

    architecture: Literal["patches", "published"] = Field(
        "patches", description="patches: linear interfaces and context networks (dvae.py); published: OpenAI's (paper)"
    )
    codes: Positive = Field(512, description="vocabulary K (paper: 8192)")
    downsample: PowerOfTwo = Field(8, description="pixels a code cell is wide (paper: 8)")
    width: Positive = Field(
        128,
        description="channels of patches' two context networks, which work at the code grid; of published at the full "
        "resolution, doubled by every group (paper: 256)",
    )
    blocks: Positive = Field(
        2,
        description="of patches: 3×3 convolutions of each context network, how many cells away a cell can see; of "
        "published: residual blocks of each of its four groups (paper: 2)",
    )
    code_width: Positive = Field(128, description="of published: channels of a code in the decoder (paper: 128)")
    weights: str | None = Field(
        None,
        description="folder that `python -m dalle import-dvae` wrote: OpenAI's own weights, and nothing is trained",
    )
    start: Literal["kmeans", "random"] = Field(
        "kmeans", description="interface of codes and pixels before training (paper: random)"
    )
    temperature: tuple[Above0, Above0] = Field(
        (0.5, 0.0625), description="Gumbel-softmax τ, first and last, cosine (paper: 1 → 1/16)"
    )
    temperature_updates: Positive | None = Field(
        None, description="updates until τ is at its last value; null: all (paper: 150,000 of 3,000,000)"
    )
    kl_weight: float = Field(
        1.0,
        ge=0,
        description="β at its full height, after growing from 0 (paper: 6.6, which with ln b ≥ 0 outweighs the "
        "likelihood: plain cells take codes of rare things, and their specks)",
    )
    kl_updates: Positive | None = Field(
        None, description="updates until β is at its full height; null: a tenth of all (paper: 5,000)"
    )
    min_log_scale: float | None = Field(
        0.0,
        description="lower bound of ln b; without it large errors are explained by a large b and left standing; null: "
        "none (paper)",
    )
    augmentation: Literal["none", "paper"] = Field(
        "none",
        description="paper: what listing 1 does to pictures that are square already, by chance at each update: it "
        "mirrors them. Its crops need the whole photograph and are made before, so many of each: data.dvae_views",
    )
    optimisation: Optimisation = Optimisation(steps=1200, batch_size=16, betas=(0.9, 0.999))

    @model_validator(mode="after")
    def _fits_together(self) -> "DVAE":
        if self.architecture == "published" and (self.downsample, self.start) != (8, "random"):
            raise ValueError(
                f"downsample: {self.downsample}, start: {self.start}; architecture: published has 8 and random"
            )
        if self.architecture == "patches" and (idle := changed(self, PUBLISHED)):
            raise ValueError(f"{idle[0]}: does not go with architecture: patches; published has it")
        if self.weights is not None and (idle := changed(self, (*SHAPE, *TRAINING))):
            raise ValueError(f"{idle[0]}: does not go with weights: {self.weights}; these are trained already")
        return self


def cosine_is_used(optimisation: Optimisation) -> Optimisation:
    """Of a stage in which nothing but the step size follows a cosine. (The dVAE's τ and β do, too.)"""
    if optimisation.decay != "cosine" and optimisation.cosine != "half":
        raise ValueError(f"cosine: is of no use with decay {optimisation.decay!r}; 'cosine' has it")
    return optimisation


PUBLISHED = ("code_width", "weights")
SHAPE = ("width", "blocks", "code_width")  # with weights it stands in their model.json
TRAINING = ("temperature", "temperature_updates", "kl_weight", "kl_updates", "augmentation", "optimisation")


def changed(settings: Settings, names: tuple[str, ...]) -> list[str]:
    """Which of these settings are not at their default. (What a rule passes on names every setting, so whether one was
    given cannot be asked.)"""
    fields = type(settings).model_fields
    return [name for name in names if getattr(settings, name) != fields[name].default]


class Prior(Settings):
    """Stage 2, the autoregressive transformer over text and image tokens (paper §2.2, appendix B)."""

    width: Positive = Field(96, description="d_model")
    heads: Positive = Field(4, description="attention heads")
    depth: Positive = Field(
        3, description="layers: row and column masks by the paper's rule, convolutional in the last"
    )
    conv_kernel: Positive = Field(11, description="side of the convolutional mask (paper: 11)")
    conv_wrap: Literal["raster", "clamp"] = Field(
        "raster",
        description="what the convolutional mask sees beyond the edge: the neighbouring row, or nothing (paper: 'wraps "
        "around like the row mask', which is a window of the raster; ru-dalle's last version has clamp)",
    )
    start_tokens: Literal["extra", "first_slot"] = Field(
        "extra",
        description="start of text stands before the text positions, or in the first of them, which the caption then "
        "lacks (paper: drawn, silent which; extra leaves all 256 to the caption, as 'at most 256 tokens' says)",
    )
    start_of_image_position: bool = Field(
        False,
        description="start of image has a position embedding (paper: silent; it stands in one place, so its own "
        "embedding can learn the sum)",
    )
    norm: Literal["pre", "sandwich"] = Field(
        "pre",
        description="a norm before each branch, or after it too (paper: silent; pre is Child et al. 2019, which it "
        "cites; sandwich is CogView's substitute for the scales of 16-bit branches)",
    )
    activation: Literal["gelu", "gelu_tanh", "quick_gelu"] = Field(
        "gelu_tanh",
        description="of the MLP (paper: silent; OpenAI's language models of 2019 and 2020 have the tanh form, CLIP "
        "x·σ(1.702x))",
    )
    attention: Literal["dense", "windows"] = Field(
        "dense",
        description="windows: what a mask hides from whole blocks of cells is not computed; equal up to rounding "
        "(paper: block-sparse kernels)",
    )
    uncaptioned: bool = Field(
        False, description="learns the uncaptioned pictures too, under an empty caption (paper: every picture has one)"
    )
    text_loss: Share = Field(0.125, description="weight of the text loss; the image loss has the rest (paper: 1/8)")
    optimisation: Annotated[Optimisation, AfterValidator(cosine_is_used)] = Optimisation(
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
    optimisation: Annotated[Optimisation, AfterValidator(cosine_is_used)] = Optimisation(
        steps=1000, learning_rate=1.5e-3, warmup=40, betas=(0.9, 0.98), weight_decay=0
    )
