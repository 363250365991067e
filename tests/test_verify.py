"""A results folder that was touched says so: each planted change is found and named, and nothing else is."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console
from test_receipts import finish

from dalle.__main__ import main
from dalle.imports import code_of
from dalle.provenance import ROOT, values_digest
from dalle.receipts import read_receipts, receipt_beside
from dalle.verify import findings
from dalle.verify.findings import read_settings
from dalle.verify.lineage import way_back
from dalle.verify.record import NAME, Record, read_record, write_record
from dalle.verify.report import verify_one
from dalle.verify.texts import text_digest

CONFIG = ROOT / "workflow/config/smoke.yaml"
PROTOCOL = "eval/protocols/fid.imagenet-lite.yaml"
CHAIN = [  # rule, what it reads, what it makes
    ("scenes", [], ["data/train.parquet", "data/val.parquet"]),
    ("dvae", ["data/train.parquet"], ["dvae/weights.safetensors", "dvae/log.csv"]),
    ("prior", ["data/train.parquet", "dvae/weights.safetensors"], ["prior/weights.safetensors"]),
    ("metrics", ["prior/weights.safetensors", "data/val.parquet"], ["tables/metrics.parquet", "tables/metrics.csv"]),
    ("clip", ["data/train.parquet"], ["clip/weights.safetensors"]),  # leads to no target
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A finished run: every file holds its own name, every job left its receipt, the record is written."""
    folder = tmp_path / "results/smoke"
    for rule, read, made in CHAIN:
        for name in made:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        finish(folder, rule, read, made, code=code_of(rule), seed=0)
    record(folder)
    return folder


def record(folder: Path) -> None:
    texts = {PROTOCOL: text_digest(PROTOCOL)}
    write_record(folder, [folder / "tables/metrics.parquet"], read_settings(CONFIG), texts, folder / NAME)


def verified(folder: Path, config: Path = CONFIG) -> tuple[bool, str]:
    """Whether all is well, and what is printed."""
    console = Console(width=200, record=True, file=io.StringIO())
    return verify_one(folder, config, console), console.export_text()


def rows(printed: str) -> list[tuple[str, str]]:
    """Kind and place of every finding of a printed table."""
    return re.findall(r"^ ?(changed|missing|stale) +(\S+(?: \S+)?)  ", printed, flags=re.MULTILINE)


def test_an_untouched_run_is_well(results: Path) -> None:
    is_well, printed = verified(results)
    assert is_well and rows(printed) == []
    assert "4 jobs made 7 files" in printed
    assert "Files that no recorded job answers for, not looked at: clip 1" in printed


def flip(path: Path) -> None:
    found = bytearray(path.read_bytes())
    found[3] ^= 1
    path.write_bytes(found)


@pytest.mark.parametrize(
    ("name", "change", "kind", "following"),
    [
        ("prior/weights.safetensors", flip, "changed", 2),
        ("data/train.parquet", flip, "changed", 5),
        ("tables/metrics.csv", lambda path: path.write_text("fid,1.0\n"), "changed", 0),
        ("dvae/log.csv", Path.unlink, "missing", 0),
    ],
)
def test_a_touched_file_is_named_with_what_follows(
    results: Path, name: str, change: Callable, kind: str, following: int
) -> None:
    change(results / name)
    is_well, printed = verified(results)
    assert not is_well
    assert rows(printed) == [(kind, name)]
    assert re.search(rf"{following} files? follows? from it", printed) or f"{following} files follow from it" in printed


def test_recording_again_does_not_bless_a_touched_file(results: Path) -> None:
    flip(results / "prior/weights.safetensors")
    record(results)
    assert rows(verified(results)[1]) == [("changed", "prior/weights.safetensors")]


def test_a_file_made_anew_behind_its_readers_back_makes_them_stale(results: Path) -> None:
    (results / "dvae/weights.safetensors").write_text("other weights")
    finish(results, *CHAIN[1], code=code_of("dvae"), seed=0)
    record(results)
    is_well, printed = verified(results)
    assert not is_well
    assert rows(printed) == [("stale", "job prior")]
    assert "read dvae/weights.safetensors as" in printed


def test_a_changed_setting_is_named_with_both_values(results: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited.yaml"
    edited.write_text(CONFIG.read_text(encoding="utf-8").replace("width: 32", "width: 64", 1))
    is_well, printed = verified(results, edited)
    assert not is_well
    assert rows(printed) == [("stale", "prior.width")]
    assert "32 when made, 64 in edited.yaml" in printed


def test_changed_code_is_named_by_its_rule(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "code_of", lambda script: "new" if script == "dvae" else code_of(script))
    is_well, printed = verified(results)
    assert not is_well
    assert rows(printed) == [("stale", "rule dvae")]
    assert f"its code was {code_of('dvae')}, no script's today; 5 files stale" in printed


def test_a_protocol_with_another_meaning_is_named_and_one_with_other_words_is_not(
    tmp_path: Path, results: Path
) -> None:
    about = text_digest(PROTOCOL)
    edited = tmp_path / "protocol.yaml"
    edited.write_text((ROOT / PROTOCOL).read_text(encoding="utf-8").replace("about: >-", "about: >-\n  In short."))
    assert text_digest(edited) == about
    edited.write_text((ROOT / PROTOCOL).read_text(encoding="utf-8").replace("side: 128", "side: 96"))
    assert text_digest(edited) != about
    told = read_record(results)
    found = list(findings.text_findings(told.model_copy(update={"texts": {PROTOCOL: "0" * 64, "gone.yaml": "0" * 64}})))
    assert [finding.what for finding in found] == [PROTOCOL, "gone.yaml"]


def test_a_record_changed_by_hand_is_refused(results: Path) -> None:
    text = (results / NAME).read_text(encoding="utf-8")
    (results / NAME).write_text(text.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"provenance\.json was changed by hand"):
        read_record(results)


def test_the_command_says_what_is_wrong_in_one_line(results: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["verify", str(results)]) == 0
    flip(results / "data/val.parquet")
    assert main(["verify", str(results)]) == 1
    assert "1 changed" in capsys.readouterr().out
    (results / NAME).unlink()
    assert main(["verify", str(results)]) == 1
    assert re.fullmatch(r"Error: .*/smoke: there is no provenance\.json; .*\n", capsys.readouterr().err)


def test_a_file_nobody_answers_for_cannot_be_recorded(results: Path) -> None:
    receipt_beside(results / "logs/dvae.log").unlink()
    with pytest.raises(ValueError, match=r"dvae/weights\.safetensors: no receipt below logs/"):
        record(results)


def test_the_record_follows_the_jobs_and_not_their_order_in_time(results: Path) -> None:
    before = (results / NAME).read_bytes()
    for rule, read, made in reversed(CHAIN):
        finish(results, rule, read, made, code=code_of(rule), seed=0)
    record(results)
    assert (results / NAME).read_bytes() == before
    assert [step.rule for step in read_record(results).jobs] == ["scenes", "dvae", "prior", "metrics"]


def test_the_way_back_leads_to_the_data_each_job_once(results: Path) -> None:
    steps = [(step.job.rule, step.distance) for step in way_back(read_record(results), "tables/metrics.parquet")]
    assert steps == [("metrics", 0), ("prior", 1), ("scenes", 1), ("dvae", 2)]
    with pytest.raises(ValueError, match=r"no job of smoke made it; for example"):
        list(way_back(read_record(results), "clip/weights.safetensors"))


def test_digests_follow_what_they_are_of(results: Path) -> None:
    before = read_record(results).digests
    (results / "data/val.parquet").write_text("other")
    finish(results, *CHAIN[0], code=code_of("scenes"), seed=0)
    record(results)
    after = read_record(results).digests
    assert after.data != before.data
    assert (after.code, after.weights, after.experiment) == (before.code, before.weights, before.experiment)
    assert after.weights.keys() == {"dvae", "prior"}
    assert after.experiment == values_digest(read_settings(CONFIG))


def test_the_schema_is_the_records_and_holds(results: Path) -> None:
    schema = json.loads((ROOT / "workflow/schemas/provenance.schema.json").read_text(encoding="utf-8"))
    assert schema == Record.model_json_schema(), "write it anew: python -m dalle.verify.record > workflow/schemas/…"
    values = json.loads((results / NAME).read_text(encoding="utf-8"))
    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "machine": "mine"}, schema)


def test_receipts_cover_every_file(results: Path) -> None:
    assert read_receipts(results).keys() == {name for _, _, made in CHAIN for name in made}
