"""Every setting of an experiment: its type, unit, default and meaning.

The YAML files in ``workflow/config`` are read into :class:`Experiment` and into nothing else. Unknown keys are errors
that name the nearest known key. A default that departs from the paper says so. This module never imports torch:
Snakemake reads it at every parse.
"""

import re
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
Above0 = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ComparisonName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Contender = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*(@[1-9][0-9]*)?$")]  # system, or system@N
OUR_SYSTEMS = ("dalle1", "real", "dvae", "dvae_start", "shuffled", "reference")  # names below results/…/systems


class Settings(BaseModel):
    """A group of settings: immutable, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and name in cls.model_fields and cls.model_fields[name].annotation is not bool:
                raise ValueError(f"{name}: {value} is no allowed value; a number, a word or a list is")
        return values


def _power_of_two(value: int) -> int:
    if value < 1 or value & (value - 1):
        raise ValueError(f"{value} is not a power of two; allowed are 1, 2, 4, 8, …")
    return value


class Scenes(Settings):
    """The embedded picture world: procedural, captioned, exactly gradable. No download."""

    kind: Literal["scenes"] = "scenes"
    image_size: int = Field(64, ge=32, description="side of the square pictures, pixels")
    lattice: Positive = Field(
        8, description="object centres lie on multiples of this many pixels (a concession to small code grids)"
    )
    train: Positive = Field(16_000, description="captioned training pictures")
    uncaptioned: Positive = Field(8_000, description="further pictures, of held-out pairs, without captions")
    held_out: tuple[str, ...] = Field(
        ("red triangle", "green ring", "blue square", "yellow circle"),
        description="colour×shape pairs that occur in no caption and no captioned picture of the training set",
    )
    val: int = Field(256, ge=2, description="captions of the suite 'val': unseen captions of seen pairs")
    zeroshot: int = Field(128, ge=2, description="captions of the suite 'zeroshot': each names a held-out pair")


class Tokenizer(Settings):
    """Byte-pair encoding of lower-cased captions (paper §2.2)."""

    vocab_size: Positive = Field(256, description="text tokens, specials included (paper: 16,384)")
    context: Positive = Field(
        16, description="text positions; shorter captions are filled with one learnt pad a position (paper: 256)"
    )
    dropout: Share = Field(
        0.0, description="BPE dropout in training (paper: 0.1; the scenes have some 40 words, all frequent)"
    )


class Optimisation(Settings):
    """How one stage is trained: warm-up, a cosine decay to a tenth, EMA of the weights."""

    optimiser: Literal["adamw", "muon"] = Field("adamw", description="muon: for the blocks' matrices (paper: adamw)")
    steps: Positive = Field(description="updates")
    batch_size: Positive = Field(32, description="pictures or pairs an update")
    learning_rate: float = Field(1e-3, gt=0, description="peak step size")
    warmup: int = Field(20, ge=0, description="updates of linear warm-up")
    betas: tuple[float, float] = Field((0.9, 0.96), description="AdamW's averaging constants")
    weight_decay: float = Field(1e-4, ge=0, description="decoupled, multiplied by the step size; matrices only")
    clip_norm: float = Field(4.0, gt=0, description="largest global gradient norm (paper §B.2: 4)")
    ema: Share = Field(0.99, description="decay of the averaged weights, which are the ones used; grows in from 0")
    checkpoint_every: Positive = Field(
        100, description="updates between checkpoints; an interrupted job goes on from the last"
    )


class DVAE(Settings):
    """Stage 1, the discrete VAE (paper §2.1, appendix A.2)."""

    codes: Positive = Field(512, description="vocabulary K (paper: 8192)")
    downsample: Annotated[int, AfterValidator(_power_of_two)] = Field(
        8, description="pixels a code cell is wide (paper: 8)"
    )
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
    patch: Annotated[int, AfterValidator(_power_of_two)] = Field(
        16, description="pixels between the picture tower's tokens; the stem halves so often"
    )
    stem: Positive = Field(24, description="channels after the stem's first convolution; doubled by each further one")
    embed_dim: Positive = Field(96, description="length of the shared embedding")
    optimisation: Optimisation = Optimisation(
        steps=1000, learning_rate=1.5e-3, warmup=40, betas=(0.9, 0.98), weight_decay=0
    )


def _doubling(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values or values[0] != 1 or any(b != 2 * a for a, b in pairwise(values)):
        raise ValueError(
            f"{list(values)} is not a doubling list that begins with 1; allowed are [1], [1, 2], [1, 2, 4], …"
        )
    return values


class Sampling(Settings):
    """How candidates are drawn (paper §2.6: temperature 1, nothing truncated, best of 512)."""

    n_candidates: Annotated[tuple[int, ...], AfterValidator(_doubling)] = Field(
        (1, 2, 4, 8, 16, 32), description="the N of best-of-N; the last one is how many are drawn a caption"
    )
    temperature: float = Field(1.0, gt=0, description="logits are divided by it (paper: 1)")
    top_k: int | None = Field(None, gt=0, description="only the k likeliest codes can be drawn; null keeps all")
    top_p: float | None = Field(
        None, gt=0, le=1, description="only the likeliest codes of this joint probability; null keeps all"
    )
    guidance: float = Field(
        1.0, ge=0, description="classifier-free guidance, for priors that know empty captions; 1 is none (paper: none)"
    )
    rows: Positive = Field(256, description="candidates computed together; memory depends on it, candidates do not")
    shards: Positive = Field(2, description="jobs a suite is cut into; candidates do not depend on it")
    block: Annotated[int, AfterValidator(_power_of_two)] = Field(
        32,
        description="candidates a caption that one job draws; a larger N adds blocks and keeps those drawn; "
        "a block of fewer than 8 takes as long as one of 8",
    )

    @model_validator(mode="after")
    def _whole_blocks(self) -> "Sampling":
        if self.n_candidates[-1] % self.block:
            raise ValueError(
                f"block: {self.block} does not divide the largest of n_candidates, {self.n_candidates[-1]}"
            )
        return self

    @property
    def blocks(self) -> int:
        """Blocks of candidates that make up the largest N."""
        return self.n_candidates[-1] // self.block

    @property
    def is_plain(self) -> bool:
        """Whether codes are drawn from the model's distribution as it is."""
        return self.temperature == self.guidance == 1 and self.top_k is None and self.top_p is None


class Rerank(Settings):
    """Which contrastive model chooses among the candidates (paper §2.6: CLIP)."""

    model: str = Field("own", description="own: the one trained here; else a name of open_clip's, e.g. ViT-L-14")
    pretrained: str | None = Field(
        None, description="of an open_clip model: a tag, e.g. openai, or the path of a checkpoint: it has a / or a ."
    )

    @model_validator(mode="after")
    def _own_has_no_weights_to_name(self) -> "Rerank":
        if (self.model == "own") != (self.pretrained is None):
            raise ValueError(
                f"pretrained: {self.pretrained!r} does not go with model {self.model!r}; own has none, others need it"
            )
        return self

    @property
    def checkpoint(self) -> str | None:
        """The path of the weights, if ``pretrained`` is one."""
        return self.pretrained if self.pretrained and set(self.pretrained) & set("/.") else None


class Evaluation(Settings):
    """What the pictures are judged by. The protocols are the files of eval/protocols."""

    protocols: tuple[str, ...] = Field(
        ("fid.imagenet-lite@1", "is.imagenet-lite@1", "clip.own@1"),
        min_length=1,
        description="which numbers, by which rules: FID and its kin, Inception Score, agreement with the caption",
    )
    blur: tuple[float, ...] = Field(
        (0, 1, 2, 4, 8), description="Gaussian radii in pixels of a 256-pixel picture, both sides blurred"
    )
    blur_protocol: str = Field("blur.pil@1", description="what a radius means")
    weights: dict[str, str] = Field(
        {}, description="files of networks' weights, by the network's name; without one the library's own download"
    )
    replicates: int = Field(200, ge=50, description="resamples of the prompts, from which the intervals are taken")

    @model_validator(mode="after")
    def _radii(self) -> "Evaluation":
        if (
            not self.blur
            or min(self.blur) < 0
            or len({f"{radius:g}" for radius in self.blur}) < len(self.blur)
            or 0 not in self.blur
        ):
            raise ValueError(f"blur: {list(self.blur)} must be distinct radii ≥ 0, 0 among them")
        return self


class Panel(Settings):
    """Whose votes count, and how sure the numbers are. Shares are of a rater's own answers."""

    hasty_seconds: Above0 = Field(4.0, description="an answer given in less time, seconds, is a hasty one (paper: 4)")
    max_hasty: Share = Field(0.5, description="with more hasty answers and too little agreement a rater is left out")
    min_agreement: Share = Field(0.6, description="agreement with the majority of the others that hasty raters need")
    min_gold: Share = Field(0.8, description="with fewer checks passed a rater is left out")
    max_one_side: Share = Field(0.9, description="with more answers for one side a rater is left out; sides are random")
    least_answers: Positive = Field(12, description="raters with fewer answers are not left out for hurry or one side")
    replicates: int = Field(1000, ge=50, description="resamples of the prompts, from which the intervals are taken")


class Human(Settings):
    """Comparisons by people (paper appendix F): what is shown and asked, and where the votes lie."""

    comparisons: dict[ComparisonName, tuple[Contender, Contender]] = Field(
        {"dalle1-dvae": ("dalle1", "dvae"), "best-first": ("dalle1", "dalle1@1")},
        min_length=1,
        description="two systems each, of suite 'val': SYSTEM@N shows the best of the first N, SYSTEM its largest N",
    )
    questionnaire: str = Field("dalle1", description="what is asked: a name in eval/human/questionnaires, or a .yaml")
    pairs: Positive = Field(64, description="captions a comparison shows, taken from suite 'val' (paper: 1,000)")
    votes_per_pair: Positive = Field(5, description="people who are asked about each pair (paper: 5)")
    gold: int = Field(6, ge=0, description="checks among the pairs: real pictures against pictures of other captions")
    repeats: int = Field(6, ge=0, description="pairs shown again with sides swapped: do people agree with themselves?")
    side: int = Field(512, ge=64, description="side of the square all pictures are shown in, pixels")
    image_url: str = Field(
        "", description="address of the folder images/ for Mechanical Turk and Label Studio; empty: relative names"
    )
    votes: str = Field("votes", description="votes on a comparison are {this folder}/{experiment}/{comparison}/*.csv")
    panel: Panel = Panel()

    @model_validator(mode="after")
    def _fits_together(self) -> "Human":
        if self.repeats > self.pairs:
            raise ValueError(f"repeats: {self.repeats} is more than pairs = {self.pairs}")
        for name, (first, second) in self.comparisons.items():
            if first == second:
                raise ValueError(f"comparisons: {name} compares {first} with itself")
        return self

    @property
    def sides(self) -> dict[str, list[tuple[str, int | None]]]:
        """The two systems of each comparison, each with the N that its pictures were chosen from; None: the largest."""
        return {name: [_contender(text) for text in two] for name, two in self.comparisons.items()}


def _contender(text: str) -> tuple[str, int | None]:
    system, _, number = text.partition("@")
    return system, int(number) if number else None


class External(Settings):
    """Pictures that another program made for the captions of a suite: a folder, a parquet file or a data set."""

    kind: Literal["external"] = "external"
    path: str | None = Field(
        None, description="folder of PNG, JPEG or WebP files, or a .parquet file with a column of pictures"
    )
    manifest: str | None = Field(
        None, description="of a folder: a CSV file with columns file, prompt_id or caption, perhaps candidate and score"
    )
    hub: str | None = Field(None, description="instead of path: a data set that datasets.load_dataset finds")
    split: str | None = Field(None, description="for a data set: which part of it")
    suite: Literal["val", "zeroshot"] = Field("val", description="whose captions the pictures answer, all of them")

    @model_validator(mode="after")
    def _says_where(self) -> "External":
        if (self.path is None) == (self.hub is None):
            raise ValueError(f"path and hub: given are {self.path!r} and {self.hub!r}; needed is one of them")
        if (self.manifest is not None) != bool(self.folders):
            raise ValueError(f"manifest: given is {self.manifest!r}; a folder needs one, nothing else can have one")
        if (self.split is not None) != (self.hub is not None):
            raise ValueError(f"split: given is {self.split!r}; a hub data set needs one, nothing else can have one")
        return self

    @property
    def folders(self) -> list[str]:
        """The folder it is read from, if it is one: what does not end in .parquet."""
        return [self.path] if self.path is not None and not self.path.endswith(".parquet") else []

    @property
    def files(self) -> list[str]:
        """The single files it is read from: a folder's manifest, or the parquet file. A data set has none."""
        file = self.manifest or self.path
        return [file] if file else []


def _free_names(systems: dict[str, External]) -> dict[str, External]:
    for name in systems:
        if name in OUR_SYSTEMS or not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
            raise ValueError(f"{name!r} is no free name; allowed are a-z, 0-9 and _, and none of {list(OUR_SYSTEMS)}")
    return systems


class Experiment(Settings):
    """One experiment: what ``snakemake`` builds below ``results/<experiment>``."""

    experiment: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$", description="name of the results folder and of the MLflow experiment"
    )
    seed: int = Field(0, ge=0, description="everything random follows from it")
    data: Scenes = Scenes()
    tokenizer: Tokenizer = Tokenizer()
    dvae: DVAE = DVAE()
    prior: Prior = Prior()
    clip: Clip = Clip()
    sampling: Sampling = Sampling()
    rerank: Rerank = Rerank()
    evaluation: Evaluation = Evaluation()
    human: Human = Human()
    systems: Annotated[dict[str, External], AfterValidator(_free_names)] = Field(
        {}, description="pictures of other programs to judge, by the name they have in tables"
    )

    @property
    def grid(self) -> int:
        """Side of the code grid, cells."""
        return self.data.image_size // self.dvae.downsample

    @model_validator(mode="after")
    def _fits_together(self) -> "Experiment":
        size = self.data.image_size
        for name, value in (
            ("dvae.downsample", self.dvae.downsample),
            ("clip.patch", self.clip.patch),
            ("data.lattice", self.data.lattice),
        ):
            if size % value:
                raise ValueError(f"{name}: {value} does not divide data.image_size = {size}")
        for name, part in (("prior", self.prior), ("clip", self.clip)):
            if part.width % part.heads:
                raise ValueError(f"{name}.width: {part.width} is not a multiple of {name}.heads = {part.heads}")
        data = self.data
        examples = {"dvae": data.train + data.uncaptioned, "prior": data.train * 19 // 20, "clip": data.train}
        for stage, num in examples.items():
            batch_size = getattr(self, stage).optimisation.batch_size
            if batch_size > num:
                raise ValueError(f"{stage}.optimisation.batch_size: {batch_size} is more than the {num} examples")
        for stage in ("dvae", "clip"):
            if getattr(self, stage).optimisation.optimiser == "muon":
                raise ValueError(f"{stage}.optimisation.optimiser: muon is for the prior's blocks; allowed is adamw")
        if self.human.pairs > self.data.val:
            raise ValueError(f"human.pairs: {self.human.pairs} is more than data.val = {self.data.val} captions")
        return self
