"""How large a step is: warm-up, then a cosine, halvings on plateaus of the validation loss, or nothing."""

from math import inf

from dalle.config.training import Optimisation, Plateau
from dalle.systems.schedule import remaining


def learning_rate(settings: Optimisation, step: int, lowered: float = 1.0) -> float:
    """The step size of update ``step`` (0-based): linear warm-up to the peak, then what ``settings.decay`` says.

    A cosine falls to ``last_share`` of the peak and stays there. ``lowered`` is what plateaus have left of the peak.
    """
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    if settings.decay != "cosine":
        return settings.learning_rate * lowered
    last = (settings.decay_updates or settings.steps) - 1
    share = min(1.0, (step - settings.warmup) / max(1, last - settings.warmup))
    low = settings.last_share
    return settings.learning_rate * (low + (1 - low) * remaining(share, settings.cosine))


class PlateauWatch:
    """Whether the validation loss still falls; what is left of the step size is ``lowered``.

    The loss has to fall by ``gain`` of itself within ``window`` updates, or the step size is multiplied by ``factor``
    and has ``window`` updates more, ``most`` times.
    """

    def __init__(self, settings: Plateau) -> None:
        self.settings = settings
        self.best, self.since, self.times = inf, 0, 0

    @property
    def lowered(self) -> float:
        return self.settings.factor**self.times

    def see(self, loss: float, done: int) -> bool:
        """Takes note of the validation ``loss`` after ``done`` updates; True if the step size is now lowered."""
        if self.best == inf or loss < self.best - self.settings.gain * abs(self.best):
            self.best, self.since = loss, done
            return False
        if done - self.since < self.settings.window or self.times == self.settings.most:
            return False
        self.times, self.since = self.times + 1, done
        return True

    def state_dict(self) -> dict[str, float | int]:
        return {"best": self.best, "since": self.since, "times": self.times}

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        self.best, self.since, self.times = state["best"], state["since"], state["times"]
