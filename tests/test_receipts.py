"""A receipt says what a job read and made, and every script of the workflow leaves one."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

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


def finish(asked: SimpleNamespace) -> None:
    """What a job does last."""
    write_receipt(asked, seal(asked.output, Path(asked.log[0]).parent.parent))


def test_a_receipt_has_the_digests_of_what_was_made_and_of_what_nobody_here_made(tmp_path: Path) -> None:
    results, votes = tmp_path / "results/tiny", tmp_path / "votes.csv"
    for path in (results / "a", results / "b", results / "benchmarks/a/all.tsv", votes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    asked = job(results, "copy", ["a", "benchmarks/a/all.tsv", str(votes), "a"], ["b"], code="c0", radii=(0, 1))
    finish(asked)
    receipt = json.loads(receipt_beside(asked.log[0]).read_text())
    assert receipt["read"] == ["a", "benchmarks/a/all.tsv", votes.as_posix()]
    assert receipt["made"] == {"b": file_digest(results / "b")}
    assert receipt["given"] == {
        "benchmarks/a/all.tsv": file_digest(results / "benchmarks/a/all.tsv"),
        votes.as_posix(): file_digest(votes),
    }
    assert (receipt["rule"], receipt["params"]) == ("copy", {"code": "c0", "radii": [0, 1]})
    assert receipt["environment"]["cores"] >= 1
    assert receipt["environment"].keys() == environment().keys()


def test_of_two_rules_that_made_a_file_the_last_one_answers_for_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    finish(job(tmp_path, "first", [], ["a"]))
    (tmp_path / "a").write_text("new")
    finish(job(tmp_path, "second", [], ["a"]))
    receipt = read_receipts(tmp_path)["a"]
    assert (receipt["rule"], receipt["made"]["a"]) == ("second", file_digest(tmp_path / "a"))


def test_a_log_outside_a_results_folder_is_refused(tmp_path: Path) -> None:
    asked = job(tmp_path, "a", [], [])
    asked.log = [str(tmp_path / "a.log")]
    with pytest.raises(ValueError, match=r"a\.log: expected RESULTS/logs/….log"):
        finish(asked)


def test_the_digest_of_a_folder_follows_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    digests = set()
    for name, text in (("in/a", "1"), ("in/a", "2"), ("in/deep/b", "2")):
        (tmp_path / name).write_text(text)
        digests.add(digest_of(tmp_path / "in"))
    (tmp_path / "in/a").rename(tmp_path / "in/c")
    assert len(digests | {digest_of(tmp_path / "in")}) == 4


@pytest.mark.parametrize("script", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=lambda path: path.stem)
def test_every_script_hands_its_job_to_the_log_and_so_leaves_a_receipt(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert "with job(snakemake):" in text or script.stem == "conda_twin"
