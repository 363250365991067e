"""The record of an experiment, ``provenance.json``: every job that led to its tables and figures, and what it made.

It is put together from the jobs' receipts, so its digests are of what the jobs wrote, whatever lies there now.
``workflow/schemas/provenance.schema.json`` is its JSON schema.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dalle.provenance import atomic, values_digest
from dalle.receipts import BENCHMARKS, read_receipts

NAME = "provenance.json"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A part of a record: immutable, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Job(Part):
    """One job. Paths are relative to the results folder; what is not below it stays as the job was given it."""

    rule: str
    wildcards: dict[str, str]
    params: dict[str, Any] = Field(description="its settings, and as `code` the digest of all the code it runs")
    threads: int
    environment: int = Field(ge=0, description="its place in the record's environments")
    read: dict[str, Sha256] = Field(description="its inputs, as they were then")
    given: dict[str, Sha256] = Field(description="inputs that no job answers for, from outside or measured")
    made: dict[str, Sha256] = Field(description="its outputs")


class Digests(Part):
    """The few digests that tell two experiments apart."""

    experiment: Sha256 = Field(description="of the settings")
    code: Sha256 = Field(description="of the code of every job")
    data: Sha256 = Field(description="of everything below data/")
    given: Sha256 = Field(description="of everything from outside, such as photographs and votes")
    weights: dict[str, Sha256] = Field(description="of each trained model's weights")


class Record(Part):
    """What led to the tables and figures of an experiment."""

    format: Literal[1]
    experiment: str
    seed: int
    settings: dict[str, Any]
    texts: dict[str, Sha256] = Field(description="protocols, questionnaires, templates: their meaning, by path")
    digests: Digests
    environments: list[dict[str, str | int | None]] = Field(description="versions and machines that jobs ran on")
    jobs: list[Job] = Field(description="each after those whose files it reads")
    digest: Sha256 = Field(description="of all else in the record")

    @property
    def makers(self) -> dict[str, Job]:
        """The job of every file that was made."""
        return {path: job for job in self.jobs for path in job.made}

    def following(self, path: str) -> list[str]:
        """The files that were made from that one, directly or through others."""
        reached = {path}
        for job in self.jobs:
            if reached & job.read.keys():
                reached |= set(job.made)
        return sorted(reached - {path})


def write_record(
    results: str | Path, targets: Sequence[str | Path], settings: Mapping, texts: Mapping[str, str], out: str | Path
) -> None:
    """Write the record of all jobs that led to ``targets``, files of the folder ``results``.

    The same jobs in the same environments give the same bytes. Raises ValueError for a file without a receipt.
    """
    folder = Path(results)
    receipts = _jobs_behind([Path(target).relative_to(folder).as_posix() for target in targets], read_receipts(folder))
    environments = []
    for receipt in receipts:
        if receipt["environment"] not in environments:
            environments.append(receipt["environment"])
    jobs = [_job(receipt, environments.index(receipt["environment"])) for receipt in receipts]
    values = {
        "format": 1,
        "experiment": settings["experiment"],
        "seed": settings["seed"],
        "settings": settings,
        "texts": texts,
        "digests": _digests(jobs, settings),
        "environments": environments,
        "jobs": jobs,
    }
    record = Record.model_validate({**values, "digest": values_digest(values)})
    with atomic(out) as temporary:
        temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_record(results: str | Path) -> Record:
    """The record of a results folder.

    Raises ValueError if there is none, it does not fit the schema, or it was changed by hand.
    """
    path = Path(results) / NAME
    if not path.is_file():
        raise ValueError(f"{results}: there is no {NAME}; a finished run writes it last: snakemake --cores all")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        record = Record.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if values_digest({key: value for key, value in values.items() if key != "digest"}) != record.digest:
        raise ValueError(f"{path} was changed by hand: its own digest does not fit; remove it and run again")
    return record


def leaves(values: Mapping, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested settings, named by their path: ``prior.optimisation.steps``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _jobs_behind(targets: Sequence[str], makers: Mapping[str, Mapping]) -> list[Mapping]:
    """The receipts of the jobs that made ``targets`` and all that those jobs read, makers before readers."""
    graph, waiting, receipts = {}, list(targets), {}
    while waiting:
        path = waiting.pop()
        if path not in makers:
            raise ValueError(f"{path}: no receipt below logs/ says which job made it; run again with --forceall")
        receipt = makers[path]
        if _name(receipt) not in receipts:
            receipts[_name(receipt)], waiting = receipt, [*waiting, *receipt["read"]]
            graph[_name(receipt)] = sorted({_name(makers[read]) for read in receipt["read"] if read in makers})
    order = TopologicalSorter(dict(sorted(graph.items()))).static_order()
    return [_still_of(receipts[name], makers) for name in order]


def _name(receipt: Mapping) -> tuple[str, ...]:
    """What tells the jobs of an experiment apart."""
    return receipt["rule"], *sorted(receipt["wildcards"].values())


def _still_of(receipt: Mapping, makers: Mapping[str, Mapping]) -> Mapping:
    """The receipt without files that a later job has made anew, under another rule's name."""
    return {**receipt, "made": {path: digest for path, digest in receipt["made"].items() if makers[path] is receipt}}


def _job(receipt: Mapping, environment: int) -> dict[str, Any]:
    kept = {name: receipt[name] for name in ("rule", "wildcards", "params", "threads", "read", "given", "made")}
    return {**kept, "environment": environment}


def _digests(jobs: Sequence[Mapping], settings: Mapping) -> dict[str, Any]:
    made = {path: digest for job in jobs for path, digest in job["made"].items()}
    return {
        "experiment": values_digest(settings),
        "code": values_digest({job["rule"]: job["params"].get("code") for job in jobs}),
        "data": values_digest({path: digest for path, digest in made.items() if path.startswith("data/")}),
        "given": values_digest(
            {path: digest for job in jobs for path, digest in job["given"].items() if not path.startswith(BENCHMARKS)}
        ),
        "weights": {
            path.removesuffix("/weights.safetensors"): digest
            for path, digest in made.items()
            if path.endswith("/weights.safetensors")
        },
    }


if __name__ == "__main__":
    print(json.dumps(Record.model_json_schema(), indent=2))
