"""When a training should not go on: a loss that is not finite or climbs, and a signal that asks for the end."""

import signal
import threading
from collections.abc import Callable
from math import inf, isfinite
from time import monotonic
from types import FrameType, TracebackType

ECHO = 2.0  # seconds in which a signal may come a second time and means the same
SMOOTHING = 0.99  # of the average loss: of some 100 updates
SKIPPED = 2_500  # updates in a row: each branch's scale can then have come from its start to its lowest value


class Alarm:
    """Watches the losses of a training that is called ``name``.

    ``most`` is how far above its lowest value the average loss may be, nats; None: any. The average does not count
    before it has 100 updates.
    """

    def __init__(self, name: str, most: float | None) -> None:
        self.name, self.most = name, most
        self.average, self.weight, self.lowest, self.skipped = 0.0, 0.0, inf, 0

    def see(self, step: int, facts: dict[str, float], last: str) -> None:
        """Raises FloatingPointError if one of ``facts`` is not finite or the loss is too high.

        The message has stage, step and ``last``, the last good checkpoint.
        """
        for what, value in facts.items():
            if not isfinite(value):
                self._stop(step, f"{what} is {value}; nothing was updated", last)
        self.average = SMOOTHING * self.average + (1 - SMOOTHING) * facts["loss"]
        self.weight = SMOOTHING * self.weight + (1 - SMOOTHING)
        if self.most is None or self.weight < 1 - SMOOTHING**100:
            return
        mean = self.average / self.weight
        self.lowest = min(self.lowest, mean)
        if mean > self.lowest + self.most:
            risen = f"{mean:.4g} on average after {self.lowest:.4g}, allowed is a rise of {self.most}"
            self._stop(step, f"the loss diverges: {risen}", last)

    def see_update(self, step: int, used: bool, last: str) -> None:
        """Raises FloatingPointError if too many updates in a row had gradients that could not be used."""
        self.skipped = 0 if used else self.skipped + 1
        if self.skipped >= SKIPPED:
            self._stop(step, f"gradients were not finite {SKIPPED} times in a row", last)

    def _stop(self, step: int, why: str, last: str) -> None:
        raise FloatingPointError(f"stage {self.name}, step {step}: {why}. Last good checkpoint: {last}")

    def state_dict(self) -> dict[str, float | int]:
        return {name: getattr(self, name) for name in ("average", "weight", "lowest", "skipped")}

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        vars(self).update(state)


class StopSignal:
    """Within the block the first SIGTERM or SIGINT is noted in ``asked``, and ``then`` is called.

    A second one does what it always did, unless it is the same wish once more: a scheduler tells every process, and
    Snakemake hands on what it is told.
    """

    def __init__(self) -> None:
        self.asked: str | None = None
        self.since = 0.0
        self.then: Callable[[], None] | None = None
        self.before: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():  # others may not
            for number in (signal.SIGTERM, signal.SIGINT):
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.asked is None:
            self.asked, self.since = signal.Signals(number).name, monotonic()
            if self.then is not None:
                self.then()
        elif monotonic() - self.since > ECHO:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}
