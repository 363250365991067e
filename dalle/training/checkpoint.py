"""An interrupted training goes on from its last whole checkpoint, but never from one of another training.

Each process has files of its own, ``checkpoint-00000200-5f3a….pt`` (update, digest of the content; with several
processes their number between): a file whose content is not what its name says was cut short or damaged. What all
replicas of the weights have in common stands in the files of the first one alone.
"""

import logging
import operator
import os
import re
from functools import reduce
from pathlib import Path
from typing import Any

from dalle.config.training import Optimisation
from dalle.provenance import code_digest, file_digest
from dalle.training.distributed import Team

LOG = logging.getLogger(__name__)
CODE = ("dalle/training", "dalle/systems", "dalle/models")
DIGITS = 16  # of the digest, in the name


def training_key(settings: Optimisation, seed: int, name: str, losses: list[float], processes: int = 1) -> str:
    """What a checkpoint must agree on to be used: settings, seed, stage, code, processes.

    ``losses`` are those of the untrained stage at its first and last step. Through them the stage's own settings and
    its data enter the key, without a digest of gigabytes. Four digits, so that another number of threads agrees.
    """
    probe = " ".join(f"{loss:.3e}" for loss in losses)
    settled = f"seed={seed} processes={processes} losses={probe} code={code_digest(*CODE)}"
    return f"{name} {settled} {settings.model_dump_json()}"


class Checkpoints:
    """The last ``keep`` checkpoints of one process, beside ``path``, which gives them their names."""

    def __init__(self, path: Path, key: str, keep: int, team: Team) -> None:
        self.path, self.key, self.keep, self.team = path, key, keep, team
        process = f"-{team.index}of{team.count}" if team.count > 1 else ""
        self.form = re.compile(rf"{re.escape(path.stem)}-(\d+){process}-([0-9a-f]{{{DIGITS}}}){re.escape(path.suffix)}")
        self.name = f"{path.stem}-{{done:08d}}{process}-{{digest}}{path.suffix}"
        self.temporary = path.with_name(f".{path.stem}{process}-unfinished{path.suffix}")
        self.good: list[Path] = []

    def write(self, state: dict[str, Any], done: int) -> None:
        """A file has ``state`` (tensors, numbers, strings in lists and dicts), whole or not at all; old ones go."""
        import torch

        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"key": self.key, "state": state}, self.temporary)
        digest = file_digest(self.temporary)[:DIGITS]
        self.good.append(self.path.with_name(self.name.format(done=done, digest=digest)))
        os.replace(self.temporary, self.good[-1])
        self.good = self.good[-self.keep :]
        for _, file in self._files():
            if file not in self.good:
                file.unlink()

    def read(self) -> tuple[int, dict[str, Any]] | None:
        """The number of updates behind the newest checkpoint that every process has whole, and its state: what this
        process wrote of it, and what its lead in the first replica did.

        None if there is no such thing. Damaged files and those of another training are passed over with a warning.
        """
        files = {done: file for done, file in self._files() if self._is_whole(file)}
        whole = _everybodys(files, self.team)
        for done in sorted(set.intersection(*map(set, whole)), reverse=True):
            parts = [self._read(file) for file in dict.fromkeys((whole[self.team.lead][done], files[done]))]
            if all(_everybodys(None not in parts, self.team)):
                self.good = [file for number, file in files.items() if number <= done]
                return done, reduce(operator.or_, parts)
        return None

    def clear(self) -> None:
        """No file of ours is left."""
        self.temporary.unlink(missing_ok=True)
        for _, file in self._files():
            file.unlink()

    @property
    def last(self) -> str:
        """The last good checkpoint, in words."""
        return str(self.good[-1]) if self.good else "none"

    def _files(self) -> list[tuple[int, Path]]:
        """Updates and file of every checkpoint of this process, whole or not, oldest first."""
        siblings = self.path.parent.glob(f"{self.path.stem}-*")
        return sorted((int(match[1]), file) for file in siblings if (match := self.form.fullmatch(file.name)))

    def _is_whole(self, file: Path) -> bool:
        whole = self.form.fullmatch(file.name)[2] == file_digest(file)[:DIGITS]
        if not whole:
            LOG.warning("%s is damaged and is passed over: its content is not what its name says", file)
        return whole

    def _read(self, file: Path) -> dict[str, Any] | None:
        import torch

        saved = torch.load(file, map_location=self.team.device, weights_only=True)
        if saved["key"] != self.key:
            LOG.warning("%s is of another training and is not used: starting anew (it had %s)", file, saved["key"])
            return None
        return saved["state"]


def _everybodys(value: Any, team: Team) -> list[Any]:
    """``value`` of every process."""
    if team.count == 1:
        return [value]
    import torch.distributed as dist

    values = [None] * team.count
    dist.all_gather_object(values, value)
    return values
