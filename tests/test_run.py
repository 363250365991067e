"""The calm view of a run: a line a job, the end of a failed job's log, Snakemake's exit status, colour where wanted."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dalle.joblog import QUIET, job_log
from dalle.provenance import ROOT
from workflow.run import PLUGINS, command, main, missing_configfiles

SNAKEFILE = """
rule all:
    input: "good.txt", "bad.txt"

rule good:
    output: "good.txt"
    log: "good.log"
    shell: "echo 'prior 20/20  loss 0.1488  8.0 steps/s  0:00 left' > {log}; touch {output}"

rule bad:
    input: "good.txt"
    output: "bad.txt"
    log: "bad.log"
    shell: "echo 'the reason' > {log}; test -e mended && touch {output}"
"""
SLOW = """
rule all:
    input: "a.txt", "b.txt"

rule slow:
    output: "{name}.txt"
    log: "results/tiny/logs/{name}.log"
    shell: "sleep 1; touch {output} {log}"
"""


@pytest.fixture(scope="module")
def calm():
    """The plugin's module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGINS))
        import snakemake_logger_plugin_calm

        yield snakemake_logger_plugin_calm


def surroundings(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "SNAKEMAKE")}
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | more


def run(folder: Path) -> subprocess.CompletedProcess:
    asked = [sys.executable, "-m", "workflow.run", "--cores", "1"]
    return subprocess.run(asked, cwd=folder, env=surroundings(), capture_output=True, text=True, check=False)


def run_in_terminal(folder: Path, status: int = 1, **more: str) -> str:
    """What a terminal gets, escape sequences and all."""
    ours, theirs = pty.openpty()
    asked = [sys.executable, "-m", "workflow.run", "--cores", "1"]
    with subprocess.Popen(asked, cwd=folder, env=surroundings(**more), stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        said = b""
        while True:
            try:
                said += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    assert running.returncode == status
    return said.decode()


def test_a_run_says_a_line_a_job_and_the_end_of_the_log_of_what_failed(tmp_path: Path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    failed = run(tmp_path)
    lines = failed.stderr.splitlines()
    assert failed.returncode == 1
    assert lines[0].split()[:2] == ["1/3", "good"] and lines[0].endswith("loss 0.1488, 8.0 steps/s")
    start = next(number for number, line in enumerate(lines) if line.startswith("bad failed after"))
    assert lines[start + 1 : start + 3] == ["    the reason", "Its log: bad.log"]
    assert "\x1b" not in failed.stderr and sum("failed after" in line for line in lines) == 1

    (tmp_path / "mended").touch()
    mended = run(tmp_path)
    assert mended.returncode == 0
    assert [line.split()[:2] for line in mended.stderr.splitlines()] == [["1/2", "bad"]]
    again = run(tmp_path)
    assert again.returncode == 0 and again.stderr.startswith("Nothing to be done")


def test_a_terminal_gets_colours_unless_it_wants_none(tmp_path: Path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    assert "\x1b[1;31mbad failed" in run_in_terminal(tmp_path)
    (tmp_path / "good.txt").unlink()
    plain = run_in_terminal(tmp_path, NO_COLOR="1")
    assert "bad failed" in plain and "\x1b[1;31m" not in plain and ";31m" not in plain


def test_a_live_view_says_how_long_the_whole_still_takes_once_its_rules_are_known(tmp_path: Path):
    (tmp_path / "Snakefile").write_text(SLOW)
    first = run_in_terminal(tmp_path, status=0)
    assert re.search(r"0/3  done in [\d:]+, running:", first) and not re.search(r"0/3 [^\n]+ left, running", first)
    assert re.search(r"1/3  done in [\d:]+, about [\d:]+ left, running:", first)  # it takes the second for the first
    (tmp_path / "a.txt").unlink()
    (tmp_path / "b.txt").unlink()
    assert re.search(r"0/3  done in [\d:]+, about [\d:]+ left, running:", run_in_terminal(tmp_path, status=0))


def test_a_missing_configfile_is_one_line_that_names_those_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=r"--configfile no\.yaml: there is no such file; there are .*scenes\.yaml"):
        main(["--cores", "1", "--configfile", "no.yaml"])
    given = ["--configfile=a.yaml", "--configfiles", "b.yaml", "c.yaml", "--cores", "1", "target"]
    assert missing_configfiles(given) == ["a.yaml", "b.yaml", "c.yaml"]
    assert missing_configfiles(["--configfile", "workflow/config/smoke.yaml", "-n"]) == []


def test_a_dry_run_is_left_to_snakemake():
    assert command(["-n"])[0][-3:] == ["-m", "snakemake", "-n"]
    assert command(["--cores", "1"])[0][-2:] == ["--logger", "calm"]


def test_quiet_jobs_speak_to_their_logs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    for number in range(2):
        with job_log(tmp_path / f"{number}.log"):
            print("word")
        assert (tmp_path / f"{number}.log").read_text() == "word\n"
        assert capsys.readouterr().out == ("" if number else "word\n")
        monkeypatch.setenv(QUIET, "1")


@pytest.mark.parametrize(
    ("line", "news", "share", "left"),
    [
        (
            *("prior 2571/2600  loss 0.1535  8.0 steps/s  42.5 k tokens/s  0:03 left", "loss 0.1535, 8.0 steps/s"),
            *("98 %", "0:03 left"),
        ),
        ("val 0 on cpu:  67%|███▎  | 87.6k/131k [00:02<00:01, 43.8k tokens/s]", "43.8k tokens/s", "67 %", "00:01 left"),
        ("2026/11/21 13:58:25 INFO mlflow: Updating", "", "", ""),
        ("", "", "", ""),
    ],
)
def test_lines_of_progress_are_read(calm, line: str, news: str, share: str, left: str):
    assert calm.news(line).startswith(news) and bool(calm.news(line)) == bool(news)
    assert (calm.share(line), calm.left(line)) == (share, left)


def test_a_last_line_in_words_is_the_outcome(calm):
    assert calm.outcome("dvae: 60 of 64 codes are in use", "dvae") == "60 of 64 codes are in use"
    assert calm.outcome("grade: 100%|██| 4/4 [01:01<00:00, 15.31s/ files]", "grade") == ""


def test_of_a_progress_bar_the_last_state_counts(calm, tmp_path: Path):
    (tmp_path / "log").write_text("first\nbar 1%\rbar 50%\rbar 100%\n", newline="")
    assert calm.last_lines(tmp_path / "log", 2) == ["first", "bar 100%"]
    assert calm.last_lines(tmp_path / "none") == [] and calm.last_lines(None) == []


def test_time_is_read_at_a_glance(calm):
    assert [calm.clock(seconds) for seconds in (7.2, 654, 7380)] == ["0:07", "10:54", "2:03:00"]
