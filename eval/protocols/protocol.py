"""The typed reading of a protocol's YAML file."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Protocol(BaseModel):
    """How numbers of this protocol come about: prose for people, and the extractor's digest for the program."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]+$", description="what the protocol is called; the file has the same name")
    version: int = Field(ge=1, description="grows whenever the same pictures would get another number")
    extractor: str = Field(description="a name in eval.extractors.EXTRACTORS")
    extractor_digest: str = Field(description="digest of its weights and preprocessing; other features are refused")
    pixels: str = Field(description="which pictures are compared, and how they reach the network")
    blur: str = Field(description="what a radius means")
    fid: str = Field(description="the estimator of FID")
    inception_score: str = Field(description="the estimator of the Inception Score")
    departures: tuple[str, ...] = Field(description="where it departs from the paper")

    @property
    def label(self) -> str:
        """What stands beside every number: name and version."""
        return f"{self.name}@{self.version}"


def read_protocol(path: str | Path) -> Protocol:
    """The protocol in a YAML file. Raises ValueError naming the file and each key that is missing, unknown or wrong."""
    try:
        return Protocol.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except ValidationError as error:
        problems = (f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ValueError(f"protocol {path}: {'; '.join(problems)}") from None
