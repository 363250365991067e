"""One line that says where a training is: redrawn in a terminal, written now and then in a log file."""

import sys
from dataclasses import dataclass
from time import monotonic

EVERY_SECONDS = 10.0
EVERY_SHARE = 0.05
UNITS = ("", "k", "M", "G", "T", "P")


@dataclass(frozen=True)
class Load:
    """What an update is, over all processes.

    ``flops`` are the model's: three times those of the forward pass, recomputation not counted. ``peak`` is what the
    chips could do in a second in 16 bit. None: not known, or no such thing.
    """

    samples: int
    tokens: int | None = None
    flops: float | None = None
    peak: float | None = None

    def speed(self, rate: float) -> str:
        """Samples, tokens and FLOPs a second at ``rate`` updates a second; MFU: the share of the peak."""
        words = [f"{short(rate * self.samples)} samples/s"]
        words += [f"{short(rate * self.tokens)} tokens/s"] if self.tokens else []
        if self.flops:
            known = self.peak is not None
            words += [f"MFU {rate * self.flops / self.peak:.1%}" if known else f"{short(rate * self.flops)}FLOP/s"]
        return "  ".join(words)


def short(number: float) -> str:
    """Three digits and a unit: ``12.3 k``."""
    power = 0
    while abs(number) >= 999.5 and power < len(UNITS) - 1:
        number, power = number / 1000, power + 1
    digits = 0 if number >= 99.5 else 1
    return f"{number:.{digits}f} {UNITS[power]}".rstrip()


def progress_line(name: str, step: int, steps: int, loss: float, rate: float, load: Load) -> str:
    """``dvae  120/300  loss 0.1234  4.1 steps/s  65.6 samples/s  0:44 left``; ``rate`` 0: not known yet."""
    left = "?" if rate == 0 else clock((steps - step) / rate)
    speed = f"{rate:.{1 if rate >= 0.1 else 3}f} steps/s  {load.speed(rate)}  " if rate else ""
    return f"{name} {step:>{len(str(steps))}}/{steps}  loss {loss:.4f}  {speed}{left} left"


def clock(seconds: float) -> str:
    """``0:07``, ``10:54``, and hours where there are some: ``2:03:00``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def say(words: str) -> None:
    """A line on standard error, which is where progress goes."""
    print(words, file=sys.stderr, flush=True)


class Progress:
    """Shows the progress of ``steps`` updates of which ``first`` were done before, on standard error."""

    def __init__(self, name: str, first: int, steps: int, load: Load) -> None:
        self.name, self.steps, self.load = name, steps, load
        self.timed_from: tuple[float, int] | None = None
        self.shown_at, self.shown_step = monotonic(), first

    def show(self, step: int, loss: float) -> None:
        """Says that ``step`` updates are done, if it is time to say so."""
        now, last = monotonic(), step == self.steps
        started, first = self.timed_from = self.timed_from or (now, step)  # the first update warms up: it is not timed
        if not (last or sys.stderr.isatty() or self._due(now, step)):
            return
        rate = (step - first) / (now - started) if step > first else 0.0
        line = progress_line(self.name, step, self.steps, loss, rate, self.load)
        ends = ("\r\x1b[K", "\n" if last else "") if sys.stderr.isatty() else ("", "\n")
        print(f"{ends[0]}{line}{ends[1]}", end="", file=sys.stderr, flush=True)
        self.shown_at, self.shown_step = now, step

    def _due(self, now: float, step: int) -> bool:
        return now - self.shown_at >= EVERY_SECONDS or step - self.shown_step >= EVERY_SHARE * self.steps
