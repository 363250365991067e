"""All sides of the benchmark of decoding read every picture, in batches of one size."""

import pytest

from workflow.benchmarks.data import BATCH, SIDES, make_pictures, pace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("bench") / "classes" / "photographs"
    make_pictures(place, BATCH + 3)
    return place


@pytest.mark.parametrize("name", SIDES)
def test_every_side_reads_every_picture(folder, name):
    assert list(SIDES[name](folder, 1)) == [BATCH, 3]


def test_the_clock_begins_with_the_second_batch(monkeypatch):
    times = iter([10.0, 12.0])
    monkeypatch.setattr("workflow.benchmarks.data.perf_counter", lambda: next(times))
    assert pace(iter([64, 64, 20])).per_second == (64 + 20) / 2
