"""One experiment: all groups of settings together.

The YAML files in ``workflow/config`` are read into :class:`Experiment` and into nothing else.
"""

from pydantic import Field, model_validator

from dalle.config.data import Scenes
from dalle.config.evaluation import Evaluation
from dalle.config.human import Human
from dalle.config.models import DVAE, Clip, Prior, Tokenizer
from dalle.config.sampling import Rerank, Sampling
from dalle.config.settings import Settings
from dalle.config.systems import Systems


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
    systems: Systems = Field({}, description="pictures of other programs to judge, by the name they have in tables")

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
