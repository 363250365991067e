"""What is wrong with a results folder: files changed by hand or missing; what is stale by today's code and config."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from dalle.config.reading import load_config
from dalle.imports import code_of
from dalle.provenance import ROOT, digest_of
from dalle.receipts import BENCHMARKS
from dalle.verify.record import NAME, Record, leaves
from dalle.verify.texts import text_digest

NOT_MADE_FOR_TABLES = ("logs/", "seals/", BENCHMARKS, NAME, "mlflow.json")  # what a run writes about itself


@dataclass(frozen=True)
class Finding:
    """One thing that is not as the record says."""

    kind: Literal["changed", "missing", "stale"]
    what: str  # a file, a rule, or a key of the config
    detail: str


def file_findings(results: str | Path, record: Record) -> Iterator[Finding]:
    """Files that are not what the jobs wrote, or no longer what they read from outside, and files that are gone."""
    for job in record.jobs:
        for path, digest in job.made.items():
            yield from _file_finding(Path(results, path), path, digest, f"made by {job.rule}", record)
    given = {path: (digest, job.rule) for job in record.jobs for path, digest in job.given.items()}
    for path, (digest, rule) in given.items():
        place = inner if (inner := Path(results, path)).exists() else ROOT / path
        yield from _file_finding(place, path, digest, f"read by {rule}", record)


def _file_finding(place: Path, path: str, digest: str, about: str, record: Record) -> Iterator[Finding]:
    following = _count(len(record.following(path)), "file follows", "files follow")
    if not place.exists():
        yield Finding("missing", path, f"{about}; {following} from it")
    elif (found := digest_of(place)) != digest:
        yield Finding("changed", path, f"{about}: {digest[:12]}, now {found[:12]}; {following} from it")


def chain_findings(record: Record) -> Iterator[Finding]:
    """Jobs that read a file as it was before its maker made it anew, with other bytes."""
    makers = record.makers
    for job in record.jobs:
        for path, digest in job.read.items():
            if (now := makers[path].made[path]) != digest:
                name = " ".join([job.rule, *job.wildcards.values()])
                yield Finding("stale", f"job {name}", f"read {path} as {digest[:12]}, made anew as {now[:12]}")


def code_findings(record: Record) -> Iterator[Finding]:
    """Rules whose code does something else today than when their jobs ran: no script of today has its digest."""
    made = defaultdict(set)
    for job in record.jobs:
        made[job.rule, job.params.get("code")] |= set(job.made)
    today = {code_of(script.stem) for script in (ROOT / "workflow/scripts").glob("*.py")}
    for (rule, then), paths in sorted(made.items()):
        if then not in today:
            stale = paths.union(*map(record.following, paths))
            yield Finding(
                "stale", f"rule {rule}", f"its code was {then}, no script's today; {_count(len(stale), 'file')} stale"
            )


def settings_findings(record: Record, settings: Mapping[str, Any], place: str) -> Iterator[Finding]:
    """Keys of the config that have another value today, ``settings``, read from ``place``."""
    then, now = dict(leaves(record.settings)), dict(leaves(settings))
    for key in sorted(then.keys() | now.keys()):
        before, after = (values.get(key, "not there") for values in (then, now))
        if before != after:
            yield Finding("stale", key, f"{before} when made, {after} in {place}")


def text_findings(record: Record) -> Iterator[Finding]:
    """Protocols, questionnaires and templates that mean something else today."""
    for name, digest in record.texts.items():
        if not (ROOT / name).is_file():
            yield Finding("stale", name, "was read when made, is not there")
        elif text_digest(name) != digest:
            yield Finding("stale", name, f"{digest[:12]} when made, {text_digest(name)[:12]} now")


def config_of(experiment: str) -> Path:
    """The file in workflow/config of an experiment. Raises ValueError if there is none."""
    files = sorted((ROOT / "workflow/config").glob("*.yaml"))
    found = {yaml.safe_load(file.read_text(encoding="utf-8"))["experiment"]: file for file in files}
    if experiment not in found:
        raise ValueError(f"experiment {experiment}: workflow/config has {', '.join(found)}; name its --configfile")
    return found[experiment]


def read_settings(path: str | Path) -> dict[str, Any]:
    """All settings, defaults included, that a config file gives today. Raises ValueError for a file that gives none."""
    values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected settings by name, given {type(values).__name__}")
    return load_config(values).model_dump(mode="json")


def unrecorded(results: str | Path, record: Record) -> Counter[str]:
    """How many files lie in each part of a results folder that no job of the record made: nothing is said of them."""
    known = record.makers
    names = (file.relative_to(results).as_posix() for file in Path(results).rglob("*") if file.is_file())
    return Counter(
        name.split("/")[0] for name in names if name not in known and not name.startswith(NOT_MADE_FOR_TABLES)
    )


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"
