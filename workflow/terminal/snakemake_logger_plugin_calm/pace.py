"""How much longer a whole run takes, by what its rules took before; nothing is said while one of them is unknown."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean

TARGET = "all"  # gathers, and has no work


class Pace:
    """The rules' seconds a job in an earlier run, ``before``, and in this one, and the jobs that are ``left``.

    ``at_once`` is how many jobs stood side by side in the earlier run, on average.
    """

    def __init__(self, before: Mapping[str, float], at_once: float = 1.0) -> None:
        self.before, self.at_once = dict(before), at_once
        self.left: Counter[str] = Counter()
        self.took: defaultdict[str, list[float]] = defaultdict(list)

    def finish(self, rule: str, seconds: float) -> None:
        """A job is done."""
        self.left[rule] -= 1
        self.took[rule].append(seconds)

    def seconds(self, rule: str) -> float | None:
        """Of a job: the mean of this run; else that of the earlier one, times how much slower this one goes."""
        if rule == TARGET:
            return 0.0
        if rule in self.took:
            return fmean(self.took[rule])
        return self.before[rule] * self._slowness() if rule in self.before else None

    def _slowness(self) -> float:
        took = {rule: seconds for rule, seconds in list(self.took.items()) if rule in self.before}
        expected = sum(self.before[rule] * len(seconds) for rule, seconds in took.items())
        return sum(map(sum, took.values())) / expected if expected else 1.0

    def time_left(self, running: Iterable[tuple[str, float]]) -> float | None:
        """Seconds until the last job is done; None if a rule is not known. ``running``: rules, and seconds since then.

        All work that is left, so many jobs at once as before, but no less than what the longest job still takes.
        """
        left = {rule: number for rule, number in list(self.left.items()) if number > 0}  # others may finish jobs now
        jobs = {rule: self.seconds(rule) for rule in left}
        if None in jobs.values():
            return None
        rests = [(jobs[rule], max(0.0, jobs[rule] - elapsed)) for rule, elapsed in running if rule in jobs]
        work = sum(seconds * left[rule] for rule, seconds in jobs.items())
        work -= sum(seconds - rest for seconds, rest in rests)
        return max([work / self.at_once, *(rest for _, rest in rests)])

    def save(self, path: Path, wall: float) -> None:
        """Keeps what was learnt; ``wall`` are the seconds of this run, told if it had all rules that are known."""
        if not self.took:
            return
        whole = self.took.keys() >= self.before.keys() and wall > 0
        at_once = max(1.0, sum(map(sum, self.took.values())) / wall) if whole else self.at_once
        seconds = self.before | {rule: fmean(took) for rule, took in self.took.items()}
        told = {"at_once": round(at_once, 2), "seconds": {rule: round(seconds[rule], 1) for rule in sorted(seconds)}}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def read_pace(places: Iterable[Path]) -> Pace:
    """What :meth:`Pace.save` wrote to the first of the places where it is; an empty one if it is at none."""
    for path in places:
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return Pace({rule: float(seconds) for rule, seconds in told["seconds"].items()}, float(told["at_once"]))
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, LookupError, AttributeError):
            continue  # somebody's edit: a guess is not worth a run
    return Pace({})
