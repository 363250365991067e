"""One experiment: all groups of settings together.

The YAML files in ``workflow/config`` are read into :class:`Experiment` and into nothing else.
"""

from pydantic import Field, model_validator

from dalle.config.data import Data, Scenes
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
    data: Data = Scenes()
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

    @property
    def is_of_scenes(self) -> bool:
        """Whether the data are the embedded scenes, whose truth is known; else they are photographs."""
        return isinstance(self.data, Scenes)

    @model_validator(mode="after")
    def _fits_together(self) -> "Experiment":
        self._check_sizes()
        self._check_batches()
        for stage in ("dvae", "clip"):
            if getattr(self, stage).optimisation.optimiser == "muon":
                raise ValueError(f"{stage}.optimisation.optimiser: muon is for the prior's blocks; allowed is adamw")
        most = self.data.most_prompts
        if most is not None and self.human.pairs > most:
            name = "data.val" if self.is_of_scenes else "data.prompts"
            raise ValueError(f"human.pairs: {self.human.pairs} is more than {name} = {most} captions")
        for name, system in self.systems.items():
            if system.suite not in self.data.suites:
                raise ValueError(
                    f"systems.{name}.suite: {system.suite!r} is no suite of these data; allowed: {self.data.suites}"
                )
        return self

    def _check_sizes(self) -> None:
        size = self.data.image_size
        divisors = {"dvae.downsample": self.dvae.downsample, "clip.patch": self.clip.patch}
        divisors |= {"data.lattice": self.data.lattice} if self.is_of_scenes else {}
        for name, value in divisors.items():
            if size % value:
                raise ValueError(f"{name}: {value} does not divide data.image_size = {size}")
        for name, part in (("prior", self.prior), ("clip", self.clip)):
            if part.width % part.heads:
                raise ValueError(f"{name}.width: {part.width} is not a multiple of {name}.heads = {part.heads}")

    def _check_batches(self) -> None:
        """Of scenes. How many photographs there are, only the source knows; training refuses too large a batch."""
        if not self.is_of_scenes:
            return
        data = self.data
        examples = {"dvae": data.train + data.uncaptioned, "prior": data.train * 19 // 20, "clip": data.train}
        for stage, num in examples.items():
            batch_size = getattr(self, stage).optimisation.batch_size
            if batch_size > num:
                raise ValueError(f"{stage}.optimisation.batch_size: {batch_size} is more than the {num} examples")
