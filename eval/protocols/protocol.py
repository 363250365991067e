"""The typed reading of protocol files. ``fid.tf-compat@1`` is version 1 of what ``fid.tf-compat.yaml`` says.

The four families: ``fid`` (a feature space and all that is computed in it), ``is`` (Inception Score), ``blur`` (what a
radius means), ``clip`` (agreement of a picture with its caption).
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FOLDER = Path(__file__).parent
Count = Annotated[int, Field(ge=1)]
WeightsDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
SetMetric = Literal["fid", "fid_infinity", "kid", "precision", "recall", "density", "coverage", "cmmd"]


class Part(BaseModel):
    """A group of fields that are read strictly and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Protocol(Part):
    """What every family has."""

    name: str = Field(description="family.preset; the file has the same name")
    version: Count = Field(description="grows whenever the same pictures could get another number")
    about: str = Field(description="for people: what it is, and whose number it reproduces")
    departures: tuple[str, ...] = Field((), description="for people: where it departs from what it is named after")

    @property
    def label(self) -> str:
        """What stands beside every number: name and version."""
        return f"{self.name}@{self.version}"

    @property
    def meaning(self) -> dict[str, Any]:
        """All that numbers follow from, as plain values: every field but those for people."""
        return self.model_dump(mode="json", exclude={"about", "departures"})


class Subsets(Part):
    """Kernel distance as a mean over random subsets."""

    subsets: Count
    size: Count = Field(description="pictures of either side in a subset")
    seed: int = Field(ge=0, description="draws the subsets")


class Infinity(Part):
    """FID∞: a straight line through FIDs of growing subsets against 1/N (Chong & Forsyth 2020)."""

    points: int = Field(ge=3, description="how many sizes N, evenly spaced up to all pictures")
    smallest: Annotated[int, Field(ge=2)] | None = Field(description="the first N; null: half of the pictures")


class Neighbours(Part):
    """Which nearest neighbour sets the radius of a picture's ball."""

    precision_recall: Count
    density_coverage: Count


class FidProtocol(Protocol):
    """From pictures to features, and everything computed from features."""

    name: str = Field(pattern=r"^fid\.[a-z0-9-]+$")
    network: Literal[
        "efficientnet-lite0",
        "inception-2015-12-05",
        "inception-torchvision",
        "ViT-L-14-336-quickgelu",
        "vit_large_patch14_dinov2",
    ] = Field(description="a name in eval.networks.table.NETWORKS")
    weights: WeightsDigest | None = Field(description="how the weights file's SHA-256 begins; null: only recorded")
    crop: Literal["centre", "squeeze"] = Field(description="largest centred square, or the whole picture squeezed")
    side: Count = Field(description="pixels: every picture is resized to this square")
    kernel: Literal["tf1-bilinear", "pil-bilinear", "pil-bicubic", "pil-bicubic-float", "torch-bilinear-antialias"]
    normalise: Literal["inception-tf", "inception-dmgan-2018", "efficientnet-lite", "imagenet", "openai-clip"]
    logits: Literal["logits", "logits_unbiased"] | None = Field(
        description="class scores with or without their bias, for the Inception Score; null: none are kept"
    )
    metrics: tuple[SetMetric, ...] = Field(min_length=1)
    minimal_n: Count = Field(description="with fewer pictures on either side every row carries a warning")
    drop_last: Count | None = Field(None, description="the remainder of n modulo this batch size is left out")
    kid: Subsets | None = Field(None, description="null: all pairs")
    infinity: Infinity | None = None
    neighbours: Neighbours | None = None

    @model_validator(mode="after")
    def _neither_missing_nor_idle(self) -> "FidProtocol":
        users = {
            "infinity": {"fid_infinity"},
            "neighbours": {"precision", "recall", "density", "coverage"},
            "kid": {"kid"},
        }
        for field, metrics in users.items():
            given, used = getattr(self, field) is not None, bool(metrics & set(self.metrics))
            if given and not used:
                raise ValueError(f"{field}: none of the metrics needs it")
            if used and not given and field != "kid":
                raise ValueError(f"{field}: needed by {', '.join(sorted(metrics & set(self.metrics)))}")
        return self


class IsProtocol(Protocol):
    """Inception Score: exp of the mean KL divergence of p(class | picture) from p(class), averaged over splits."""

    name: str = Field(pattern=r"^is\.[a-z0-9-]+$")
    features_of: str = Field(pattern=r"^fid\.[a-z0-9-]+@[0-9]+$", description="whose pixels, network and logits")
    splits: Count
    shuffle_seed: Annotated[int, Field(ge=0)] | None = Field(description="null: split in the order given")
    minimal_n: Count = Field(description="with fewer pictures every row carries a warning")


class BlurProtocol(Protocol):
    """What "Gaussian filter of radius r" means."""

    name: str = Field(pattern=r"^blur\.[a-z0-9-]+$")
    sigma: Literal["radius", "box-equivalent"] = Field(description="σ = r, or that of a box of 2r + 1 pixels")
    unit_side: Count = Field(description="pixels: the radius counts in a picture whose shorter side has so many")


class ClipProtocol(Protocol):
    """Agreement of a picture with its caption, as a contrastive model sees it."""

    name: str = Field(pattern=r"^clip\.[a-z0-9-]+$")
    model: str = Field(description="own: the experiment's reranker; else a name of open_clip's, with its preprocessing")
    pretrained: str | None = Field(description="open_clip's tag of the weights; null for own")
    weights: WeightsDigest | None = Field(description="how the weights file's SHA-256 begins; null: only recorded")
    prefix: str = Field(description="stands before every caption")
    weight: float = Field(gt=0, description="w of CLIPScore = w · max(cos, 0)")
    ways: int = Field(ge=2, description="captions among which R-precision looks for the right one")
    seed: int = Field(ge=0, description="draws the wrong captions")

    @model_validator(mode="after")
    def _own_has_no_tag(self) -> "ClipProtocol":
        if (self.model == "own") != (self.pretrained is None):
            raise ValueError(f"pretrained: {self.pretrained!r} does not go with model {self.model!r}")
        return self


FAMILIES: dict[str, type[Protocol]] = {
    "fid": FidProtocol,
    "is": IsProtocol,
    "blur": BlurProtocol,
    "clip": ClipProtocol,
}
P = TypeVar("P", bound=Protocol)


def protocol_labels() -> list[str]:
    """Every protocol there is, as name@version, sorted."""
    return [read_protocol(path).label for path in sorted(FOLDER.glob("*.yaml"))]


def load_protocol(label: str, family: type[P] = Protocol) -> P:
    """The protocol of that label; a name without ``@version`` is the current version.

    Raises ValueError, with what is allowed, for an unknown name, another version and another family than ``family``.
    """
    name, at, version = label.partition("@")
    path = FOLDER / f"{name}.yaml"
    if path.parent != FOLDER or not path.is_file():
        raise ValueError(_unknown(label))
    protocol = read_protocol(path)
    if at and version != str(protocol.version):
        raise ValueError(f"protocol {label!r}: the version there is {protocol.label}")
    if not isinstance(protocol, family):
        allowed = [found for found in protocol_labels() if isinstance(load_protocol(found), family)]
        raise ValueError(f"protocol {label!r} is of another family; allowed here are {', '.join(allowed)}")
    return protocol


def _unknown(label: str) -> str:
    labels = protocol_labels()
    nearest = get_close_matches(label, labels, n=1, cutoff=0.4)
    hint = f"; did you mean {nearest[0]}?" if nearest else ";"
    return f"protocol {label!r} is unknown{hint} allowed are {', '.join(labels)}"


def read_protocol(path: Path) -> Protocol:
    """The protocol in a YAML file. Raises ValueError naming the file and each key that is missing, unknown or wrong."""
    name = path.name.removesuffix(".yaml")
    try:
        protocol = FAMILIES[name.split(".")[0]].model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        problems = (f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ValueError(f"protocol {path}: {'; '.join(problems)}") from None
    if protocol.name != name:
        raise ValueError(f"protocol {path}: name: {protocol.name!r} is not the file's")
    return protocol
