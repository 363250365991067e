"""A receipt says what a job read and made, and every script of the workflow leaves one."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from dalle.joblog import job as job_of
from dalle.provenance import ROOT, digest_of, file_digest
from dalle.receipts import environment, read_receipts, receipt_beside, write_receipt
from dalle.seals import seal


def job(results: Path, rule: str, read: list[str], made: list[str], **params) -> SimpleNamespace:
    """A job as its script knows it. Names of files are those below ``results``."""
    return SimpleNamespace(
        rule=rule,
        log=[str(results / f"logs/{rule}.log")],
        input=[str(results / name) for name in read],
        output=[str(results / name) for name in made],
        wildcards={},
        params=params,
        threads=1,
    )


def finish(results: Path, *about, **params) -> SimpleNamespace:
    """A job that has made its files, sealed them and left its receipt."""
    done = job(results, *about, **params)
    write_receipt(done, results, seal(done.output, results))
    return done


def test_a_receipt_has_the_digests_of_what_was_read_made_and_given(tmp_path: Path) -> None:
    results, votes = tmp_path / "results/tiny", tmp_path / "votes.csv"
    for path in (results / "a", results / "b", results / "benchmarks/a/all.tsv", votes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    finish(results, "first", [], ["a"])
    done = finish(results, "copy", ["a", "benchmarks/a/all.tsv", str(votes), "a"], ["b"], code="c0", radii=(0, 1))
    receipt = json.loads(receipt_beside(done.log[0]).read_text())
    assert receipt["read"] == {"a": file_digest(results / "a")}
    assert receipt["made"] == {"b": file_digest(results / "b")}
    assert receipt["given"] == {
        "benchmarks/a/all.tsv": file_digest(results / "benchmarks/a/all.tsv"),
        votes.as_posix(): file_digest(votes),
    }
    assert (receipt["rule"], receipt["params"]) == ("copy", {"code": "c0", "radii": [0, 1]})
    assert receipt["environment"]["cores"] >= 1
    assert receipt["environment"].keys() == environment().keys()


def test_of_two_rules_that_made_a_file_the_last_one_answers_for_it(tmp_path: Path) -> None:
    for rule in ("first", "second"):
        (tmp_path / "a").write_text(rule)
        finish(tmp_path, rule, [], ["a"])
    receipt = read_receipts(tmp_path)["a"]
    assert (receipt["rule"], receipt["made"]["a"]) == ("second", file_digest(tmp_path / "a"))


def test_only_a_job_that_finished_has_a_receipt(tmp_path: Path) -> None:
    asked = job(tmp_path, "a", [], ["a"])
    with job_of(asked):
        (tmp_path / "a").touch()
    assert receipt_beside(asked.log[0]).is_file()
    with pytest.raises(SystemExit), job_of(asked):
        raise KeyboardInterrupt
    assert not receipt_beside(asked.log[0]).exists()


def test_the_digest_of_a_folder_follows_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    digests = set()
    for name, text in (("in/a", "1"), ("in/a", "2"), ("in/deep/b", "2")):
        (tmp_path / name).write_text(text)
        digests.add(digest_of(tmp_path / "in"))
    (tmp_path / "in/a").rename(tmp_path / "in/c")
    assert len(digests | {digest_of(tmp_path / "in")}) == 4


SCRIPTS = [path for path in sorted((ROOT / "workflow/scripts").glob("*.py")) if path.stem != "conda_twin"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_works_inside_its_job_and_so_leaves_a_receipt(script: Path) -> None:
    assert "\nwith job(snakemake):\n" in script.read_text(encoding="utf-8")
