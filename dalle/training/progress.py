"""One line that says where a training is: redrawn in a terminal, written now and then in a log file."""

import sys
from time import monotonic

EVERY_SECONDS = 10.0
EVERY_SHARE = 0.05


def progress_line(name: str, step: int, steps: int, loss: float, rate: float) -> str:
    """``dvae   120/300  loss 0.1234  4.1 steps/s  0:44 left``; ``rate`` in steps a second, 0 if not known yet."""
    left = "?" if rate == 0 else f"{int((steps - step) / rate) // 60}:{int((steps - step) / rate) % 60:02d}"
    return f"{name} {step:>{len(str(steps))}}/{steps}  loss {loss:.4f}  {rate:.1f} steps/s  {left} left"


class Progress:
    """Shows the progress of ``steps`` updates of which ``first`` were done before, on standard error."""

    def __init__(self, name: str, first: int, steps: int) -> None:
        self.name, self.steps = name, steps
        self.timed_from: tuple[float, int] | None = None
        self.shown_at, self.shown_step = monotonic(), first

    def show(self, step: int, loss: float) -> None:
        """Says that ``step`` updates are done, if it is time to say so."""
        now, last = monotonic(), step == self.steps
        started, first = self.timed_from = self.timed_from or (now, step)  # the first update warms up: it is not timed
        if not (last or sys.stderr.isatty() or self._due(now, step)):
            return
        rate = (step - first) / (now - started) if step > first else 0.0
        line = progress_line(self.name, step, self.steps, loss, rate)
        ends = ("\r\x1b[K", "\n" if last else "") if sys.stderr.isatty() else ("", "\n")
        print(f"{ends[0]}{line}{ends[1]}", end="", file=sys.stderr, flush=True)
        self.shown_at, self.shown_step = now, step

    def _due(self, now: float, step: int) -> bool:
        return now - self.shown_at >= EVERY_SECONDS or step - self.shown_step >= EVERY_SHARE * self.steps
