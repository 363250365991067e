"""What a job prints is seen and kept; what it fails with is kept whole and, if it is wrong input, said in one line."""

import subprocess
import sys
from pathlib import Path

from dalle.provenance import ROOT

SCRIPT = """
import sys
from pathlib import Path
from types import SimpleNamespace
from dalle import joblog
files = {"log": [sys.argv[1]], "input": [], "output": [sys.argv[1] + ".made"]}
with joblog.job(SimpleNamespace(rule="a", wildcards={}, params={}, threads=1, **files)):
    Path(sys.argv[1] + ".made").touch()
    exec(sys.argv[2])
"""


def job(log: Path, body: str) -> subprocess.CompletedProcess:
    asked = [sys.executable, "-c", SCRIPT, str(log), body]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)


def test_both_streams_reach_terminal_and_log(tmp_path: Path) -> None:
    ran = job(tmp_path / "logs/a.log", "print('out'); print('err', sys.stderr.isatty(), file=sys.stderr)")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "out\n", "err False\n")
    assert (tmp_path / "logs/a.log").read_text() == "out\nerr False\n"


def test_wrong_input_is_one_line_in_the_terminal_and_a_traceback_in_the_log(tmp_path: Path) -> None:
    ran = job(tmp_path / "logs/a.log", "raise ValueError('train.parquet, row 3: the picture cannot be read')")
    assert ran.returncode == 1
    assert ran.stderr.startswith("ValueError: train.parquet, row 3: the picture cannot be read")
    assert ran.stderr.count("\n") == 1
    assert "Traceback" in (tmp_path / "logs/a.log").read_text()


def test_a_fault_of_ours_shows_its_traceback_in_both(tmp_path: Path) -> None:
    ran = job(tmp_path / "logs/a.log", "from dalle import nothing_of_the_kind")
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert "ImportError" in (tmp_path / "logs/a.log").read_text()


def test_an_interrupted_job_fails_in_one_word(tmp_path: Path) -> None:
    ran = job(tmp_path / "logs/a.log", "raise KeyboardInterrupt")
    assert (ran.returncode, ran.stderr) == (1, "interrupted\n")


def test_only_a_job_that_finished_has_a_receipt(tmp_path: Path) -> None:
    job(tmp_path / "logs/a.log", "pass")
    assert (tmp_path / "logs/a.json").is_file()
    job(tmp_path / "logs/a.log", "raise KeyboardInterrupt")
    assert not (tmp_path / "logs/a.json").exists()
