"""How much longer a run takes, in closed form: all that is left, so many jobs at once, no less than one takes."""

import json
from pathlib import Path

import pytest

from workflow.run import PLUGINS


@pytest.fixture(scope="module")
def pace():
    """The plugin's module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGINS))
        from snakemake_logger_plugin_calm import pace

        yield pace


@pytest.fixture
def run(pace):
    """A run of two short jobs and a long one, two at once, of which nothing is done."""
    run = pace.Pace({"short": 10.0, "long": 20.0}, at_once=2.0)
    run.left.update({"short": 2, "long": 1})
    return run


def test_work_that_is_left_is_shared_among_jobs_at_once(run):
    assert run.time_left([]) == (2 * 10 + 20) / 2
    assert run.time_left([("short", 4.0), ("short", 4.0)]) == (2 * 6 + 20) / 2


def test_no_run_ends_before_its_longest_job(run):
    run.finish("short", 10.0)
    run.finish("short", 10.0)
    assert run.time_left([("long", 5.0)]) == 15.0
    assert run.time_left([("long", 50.0)]) == 0.0  # longer than ever: nothing is known


def test_a_slower_machine_takes_longer_by_as_much(run):
    run.finish("short", 30.0)
    assert run.seconds("short") == 30.0 and run.seconds("long") == 60.0
    assert run.time_left([]) == (30 + 60) / 2


def test_nothing_is_said_while_a_rule_is_unknown(run):
    run.left["all"] = 1  # gathers
    assert run.time_left([]) is not None
    run.left["new"] = 2
    assert run.time_left([]) is None
    run.finish("new", 8.0)
    assert run.time_left([]) == pytest.approx((2 * 10 + 20 + 8) / 2)


def test_what_was_learnt_is_read_again(pace, run, tmp_path: Path):
    for rule, seconds in (("short", 12.0), ("short", 8.0), ("long", 30.0)):
        run.finish(rule, seconds)
    run.save(tmp_path / "pace/a.json", wall=40.0)
    again = pace.read_pace([tmp_path / "none.json", tmp_path / "pace/a.json"])
    assert again.before == {"short": 10.0, "long": 30.0} and again.at_once == 50 / 40
    again.finish("short", 20.0)
    again.save(tmp_path / "pace/a.json", wall=1.0)  # a part of a run says nothing of jobs at once
    assert json.loads((tmp_path / "pace/a.json").read_text()) == {
        "at_once": 1.25,
        "seconds": {"long": 30.0, "short": 20.0},
    }


@pytest.mark.parametrize("text", ["", "[]", "{", '{"at_once": 1, "seconds": {"a": null}}', '{"seconds": []}'])
def test_a_damaged_memory_is_none(pace, tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    assert pace.read_pace([tmp_path / "a.json"]).before == {}


def test_an_unstarted_run_leaves_nothing(pace, tmp_path: Path):
    pace.Pace({}).save(tmp_path / "a.json", wall=1.0)
    assert list(tmp_path.iterdir()) == []
