"""A training in one process: everything that has a state, and the updates that change it."""

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from dalle.config.distributed import Distributed
from dalle.config.training import Optimisation
from dalle.training.alarm import Alarm, StopSignal
from dalle.training.average import Average, ema_decay, start_average, update_average
from dalle.training.batches import drawing
from dalle.training.checkpoint import Checkpoints, training_key
from dalle.training.distributed import Team, clip_norm, gathered, like, local
from dalle.training.optim import (
    clip_second_moments,
    load_optimizer,
    make_optimizers,
    optimizer_state,
    set_learning_rate,
)
from dalle.training.powersgd import make_powersgd
from dalle.training.precision import branch_names, make_precision
from dalle.training.probe import probe
from dalle.training.progress import Progress, say
from dalle.training.schedule import PlateauWatch, learning_rate
from dalle.training.setup import release, set_up

LOG_EVERY = 10  # updates between rows of the log
Row = dict[str, float]


class Training:
    """One process's part of a training, from its last checkpoint or its start."""

    def __init__(self, stage: nn.Module, settings: Optimisation, seed: int, checkpoint: Path, name: str) -> None:
        self.settings, self.name = settings, name
        self.team = team = Team(settings.distributed)
        self.stage = stage = copy.deepcopy(stage) if team.shards > 1 else stage  # sharding would keep the weights
        set_up(stage, settings, name)
        self.draw = drawing(settings, stage.examples, seed, name, team.index, team.count, team.device)
        branches = branch_names(stage.model)
        self.precision = make_precision(settings, team, stage.model, branches)
        self.wrapped = team.join(stage.train(), self.precision.dtype)
        cast = self.precision.cast() if team.shards > 1 else nullcontext()  # sharded weights are gathered in 16 bit
        losses, self.load = probe(stage, settings, seed, name, team, cast)
        key = training_key(settings, seed, name, losses, team.count)
        self.checkpoints = Checkpoints(checkpoint, key, settings.keep, team)

        self.optimizers = make_optimizers(stage.model, settings)
        self.powersgd = make_powersgd(settings, stage.model, branches, team, seed)
        self.plateau, self.alarm = PlateauWatch(settings.plateau), Alarm(name, settings.divergence)
        self.average: Average = start_average(stage.model)
        self.rows: list[Row] = []
        self.validations: list[Row] = []

    def run(self, stop: StopSignal) -> None:
        """All updates that are not done yet."""
        if self.team.count == 1 and self.settings.distributed != Distributed():
            self._say(f"{self.name}: distributed: there is one process, which has nothing to share")
        first = self._resume()
        progress = Progress(self.name, first, self.settings.steps, self.load)
        for step in range(first, self.settings.steps):
            loss, asked = self._update(step, stop)
            done = step + 1
            if done % self.settings.validate_every == 0 or done == self.settings.steps:
                self._validate(done)
            if self.team.is_main:
                progress.show(done, loss)
            if done < self.settings.steps and (asked or done % self.settings.checkpoint_every == 0):
                self.checkpoints.write(self._state(), done)
            if done < self.settings.steps and asked:
                word = f"stopped by {stop.asked or 'a signal'} after update {done}; the same command goes on from"
                self._say(f"{self.name}: {word} {self.checkpoints.last}")
                raise KeyboardInterrupt

    def _update(self, step: int, stop: StopSignal) -> tuple[float, bool]:
        """One update; its loss (mean over processes), and whether somebody asked for the end."""
        rate = learning_rate(self.settings, step, self.plateau.lowered)
        set_learning_rate(self.optimizers, rate)
        loss, scalars = self._backward(step)
        finite = self.precision.unscale(self.optimizers)
        if self.powersgd is not None and finite:  # of an update that is skipped nothing is an error
            self.powersgd.reduce(step)
        norm = clip_norm(self.stage.parameters(), self.settings.clip_norm)
        summed = self.team.mean(torch.stack([loss, torch.full_like(loss, stop.asked is not None)]))
        facts = {"loss": float(summed[0]), "grad_norm": float(norm)}

        used = finite and (norm.isfinite().item() or not self.precision.skips)
        self.alarm.see(step, facts if used else {"loss": facts["loss"]}, self.checkpoints.last)
        if used:
            for optimizer in self.optimizers:
                optimizer.step()
            if self.settings.clip_second_moment is not None:
                clip_second_moments(self.optimizers, self.settings.clip_second_moment)
        self.precision.after()
        self.alarm.see_update(step, used, self.checkpoints.last)
        if (step + 1) % self.settings.ema_every == 0:
            update_average(self.average, self.stage.model, ema_decay(self.settings, step // self.settings.ema_every))
        if step % LOG_EVERY == 0 or step + 1 == self.settings.steps:
            skipped = {"used": float(used)} if self.precision.skips else {}
            means = {what: float(self.team.mean(value.detach().float())) for what, value in scalars.items()}
            row = {"step": step, "loss": facts["loss"], "learning_rate": rate, "grad_norm": facts["grad_norm"]}
            self.rows.append(row | skipped | means)
        return facts["loss"], bool(summed[1] > 0)

    def _backward(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Leaves the gradients of this process's share of the batch; gives its loss and the stage's scalars."""
        self.precision.before()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        parts, generator = self.draw(step)
        losses, scalars = [], []
        for number, indices in enumerate(parts, 1):
            with self.team.part(self.wrapped, last=number == len(parts)):
                with self.precision.cast():
                    loss, said = self.wrapped(indices, step, generator)
                self.precision.scaled(loss / len(parts)).backward()
            losses.append(loss.detach().float())
            scalars.append(said)
        return torch.stack(losses).mean(), {what: sum(each[what] for each in scalars) / len(parts) for what in said}

    def _validate(self, done: int) -> None:
        """A row of what the stage says of what it does not learn from."""
        if not self.stage.validated:
            return
        self.stage.eval()
        with torch.no_grad(), self.precision.cast():
            said = self.stage.validate()
        facts = {what: float(self.team.mean(value.float())) for what, value in said.items()}  # one word for all
        self.team.rest(self.stage.train())
        self.validations.append({"step": done - 1} | facts)
        if self.settings.decay == "plateau" and self.plateau.see(facts["loss"], done):
            self._say(f"{self.name}: the validation loss stands still after update {done}: the step size is lowered")

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, beside the weights, and the same one in every replica."""
        return {"precision": self.precision, "plateau": self.plateau, "alarm": self.alarm}

    def _state(self) -> dict[str, Any]:
        """All that the next updates and the logs depend on; but for the first replica, what it alone has of it."""
        own = {"powersgd": None if self.powersgd is None else self.powersgd.state_dict()}
        if self.team.lead != self.team.index:
            return own
        return own | {
            "model": {name: local(value) for name, value in self.stage.model.state_dict().items()},
            "optimizers": [optimizer_state(each) for each in self.optimizers],
            "average": self.average,
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "rows": self.rows,
            "validations": self.validations,
        }

    def _resume(self) -> int:
        """The number of updates that are done, all as it was behind them."""
        saved = self.checkpoints.read()
        if saved is None:
            return 0
        done, state = saved
        with torch.no_grad():
            for name, value in self.stage.model.state_dict().items():
                local(value).copy_(state["model"][name])
        for optimizer, given in zip(self.optimizers, state["optimizers"], strict=True):
            load_optimizer(optimizer, given)
        for name, part in self._parts().items():
            part.load_state_dict(state["parts"][name])
        if self.powersgd is not None:
            self.powersgd.load_state_dict(state["powersgd"])
        self.average, self.rows, self.validations = state["average"], state["rows"], state["validations"]
        self._say(f"{self.name}: goes on after update {done}, from {self.checkpoints.last}")
        return done

    def result(self) -> dict[str, Shaped[Tensor, "..."]]:
        """The averaged weights, whole and on the CPU, in every process."""
        release(self.stage.model)
        weights = self.stage.model.state_dict()
        return {name: gathered(like(self.average[name], value)).cpu().contiguous() for name, value in weights.items()}

    def say_traffic(self) -> None:
        """What PowerSGD sent."""
        if self.powersgd is not None:
            say(f"{self.name}: {self.powersgd.sent:,} bytes of gradients were exchanged between replicas")

    def _say(self, words: str) -> None:
        if self.team.is_main:
            say(words)
