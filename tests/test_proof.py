"""The smoke experiment proves itself: its record is whole, and every planted change is found by the command."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dalle.verify.record import read_record
from workflow.torture.copies import environment

RESULTS = "results/smoke"
AFTERWARDS = {"provenance", "report", "mirror"}  # rules that run when all is recorded


def verify(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The command in a copy of the project."""
    asked = [sys.executable, "-m", "dalle", "verify", *arguments]
    return subprocess.run(asked, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


@pytest.fixture
def touched(smoke: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the project and its results, to be touched."""
    return shutil.copytree(smoke[0], tmp_path / "touched", symlinks=True)


def test_the_record_has_every_job_and_every_file_it_made(smoke: tuple[Path, str]) -> None:
    results = smoke[0] / RESULTS
    record = read_record(results)
    receipts = [json.loads(file.read_text(encoding="utf-8")) for file in results.glob("logs/**/*.json")]
    expected = {path for receipt in receipts for path in receipt["made"] if receipt["rule"] not in AFTERWARDS}
    assert record.makers.keys() == expected
    assert {job.rule for job in record.jobs} == {receipt["rule"] for receipt in receipts} - AFTERWARDS
    assert record.digests.weights.keys() == {"dvae", "prior", "clip"}
    assert all(job.params["code"] for job in record.jobs)
    assert {Path(name).suffix for name in record.texts} == {".yaml", ".j2"}


def test_an_untouched_run_is_well_and_agrees_with_itself(smoke: tuple[Path, str]) -> None:
    alone, beside = verify(smoke[0], RESULTS), verify(smoke[0], RESULTS, RESULTS)
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert "nothing is stale" in alone.stdout
    assert beside.returncode == 0, beside.stdout + beside.stderr
    assert "to the last bit" in beside.stdout


def test_every_planted_change_is_caught_and_named(touched: Path) -> None:
    weights, table = touched / RESULTS / "prior/weights.safetensors", touched / RESULTS / "tables/metrics.csv"
    found = bytearray(weights.read_bytes())
    found[len(found) // 2] ^= 1
    weights.write_bytes(found)
    table.write_text(table.read_text(encoding="utf-8").replace("dalle1", "dalle2", 1), encoding="utf-8")
    (touched / RESULTS / "figures/figure9.png").unlink()
    config, code = touched / "workflow/config/smoke.yaml", touched / "dalle/models/contrastive.py"
    config.write_text(config.read_text(encoding="utf-8").replace("replicates: 50", "replicates: 60"), encoding="utf-8")
    code.write_text(code.read_text(encoding="utf-8") + "DEPTH = 7\n", encoding="utf-8")
    ran = verify(touched, RESULTS)
    assert ran.returncode == 1
    lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
    for start in (
        "changed prior/weights.safetensors made by prior:",
        "changed tables/metrics.csv made by metrics:",
        "missing figures/figure9.png made by plot_figure9;",
        "stale rule score its code was",
        "stale evaluation.replicates 50 when made, 60 in smoke.yaml",
    ):
        assert any(line.startswith(start) for line in lines), f"{start!r} is not in\n{ran.stdout}"
    assert "stale rule prior" not in " ".join(lines)
    assert ran.stdout.splitlines()[-1].startswith("2 changed, 1 missing, ")
