"""Pictures of other programs."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dalle.config.settings import Settings

# names below results/…/systems
OUR_SYSTEMS = ("dalle1", "real", "dvae", "dvae_start", "shuffled", "original", "reference")


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


Systems = Annotated[dict[str, External], AfterValidator(_free_names)]
