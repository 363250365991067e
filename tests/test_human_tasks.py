"""A comparison shows what it should, hides who made it, and is written whole or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dalle.config import Human
from dalle.images import write_archive
from eval.human import tasks
from eval.human.tasks import Contestant, write_tasks

PROMPTS = 21
IDENTICAL = [2, 5, 11]  # prompts whose first candidate is also their best of four


def pixels(prompt: int, candidate: int) -> np.ndarray:
    return np.random.default_rng([prompt, candidate]).integers(0, 256, (8, 8, 3), np.uint8)


@pytest.fixture
def contestants(tmp_path: Path) -> tuple[Contestant, Contestant]:
    """N = 1 against best of four of one system; candidate 7 wins wherever it is not candidate 0."""
    keys = [(prompt, candidate) for prompt in range(PROMPTS) for candidate in (0, 7)]
    rows = pd.DataFrame(keys, columns=["prompt_id", "candidate"]).assign(scene="")
    rows["caption"] = [f'caption "{prompt}", with a comma' for prompt in rows["prompt_id"]]
    write_archive(tmp_path / "ours.parquet", rows, np.stack([pixels(*key) for key in keys]))
    chosen = [(p, n, 7 if n == 4 and p not in IDENTICAL else 0) for p in range(PROMPTS) for n in (1, 4)]
    columns = ["prompt_id", "n_candidates", "candidate"]
    pd.DataFrame(chosen, columns=columns).to_parquet(tmp_path / "selection.parquet")
    first, second = (Contestant("ours", tmp_path / "ours.parquet", tmp_path / "selection.parquet", n) for n in (1, 4))
    return first, second


def written(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return tuple(pd.read_csv(folder / name, keep_default_na=False) for name in ("tasks.csv", "key.csv"))


def test_the_key_tells_which_picture_of_the_archive_each_image_is(contestants, tmp_path):
    write_tasks(*contestants, tmp_path / "pair", Human(pairs=10, scale=3), seed=0)
    shown, key = written(tmp_path / "pair")
    assert len(shown) == 10
    for (_, task), (_, row) in zip(shown.iterrows(), key.iterrows(), strict=False):
        assert task["task_id"] == row["task_id"]
        assert task["caption"] == f'caption "{row["prompt_id"]}", with a comma'
        assert {row["left_n_candidates"], row["right_n_candidates"]} == {1, 4}
        for side in ("left", "right"):
            image = np.asarray(Image.open(tmp_path / "pair" / task[f"{side}_image"]))
            assert image.shape == (24, 24, 3)
            assert (image[1::3, 1::3] == pixels(row["prompt_id"], row[f"{side}_candidate"])).all()
            assert (image[::3, ::3] == image[2::3, 2::3]).all()  # enlarged without smoothing


def test_sides_are_balanced_and_the_order_is_not_that_of_the_suite(contestants, tmp_path):
    write_tasks(*contestants, tmp_path / "pair", Human(pairs=16), seed=0)
    key = written(tmp_path / "pair")[1].query("not identical")
    assert (key["left_n_candidates"] == 1).sum() == 8
    prompts, lefts = key["prompt_id"].tolist(), key["left_n_candidates"].tolist()
    assert prompts != sorted(prompts)
    assert lefts not in ([1, 4] * 8, [4, 1] * 8)


def test_what_workers_see_names_no_system(contestants, tmp_path):
    write_tasks(*contestants, tmp_path / "pair", Human(pairs=6), seed=0)
    shown = written(tmp_path / "pair")[0]
    assert list(shown.columns) == tasks.TASK_COLUMNS
    assert "ours" not in (tmp_path / "pair" / "tasks.csv").read_text()
    names = {path.name for path in (tmp_path / "pair" / "images").iterdir()}
    assert names == {f"task{number:04}-{side}.png" for number in range(6) for side in ("left", "right")}
    assert not any(Image.open(path).info for path in (tmp_path / "pair" / "images").iterdir())


def test_only_the_caption_question_lets_one_say_neither(contestants, tmp_path):
    write_tasks(*contestants, tmp_path / "pair", Human(pairs=2), seed=0)
    shown = written(tmp_path / "pair")[0]
    assert set(shown["realism_answers"]) == {"left|right"}
    assert set(shown["caption_answers"]) == {"left|right|neither"}


def test_identical_pictures_are_no_task_but_stand_in_the_key(contestants, tmp_path, caplog):
    write_tasks(*contestants, tmp_path / "pair", Human(pairs=PROMPTS), seed=0)
    shown, key = written(tmp_path / "pair")
    assert len(shown) == PROMPTS - len(IDENTICAL)
    assert sorted(key.query("identical")["prompt_id"]) == IDENTICAL
    assert set(key.query("identical")["task_id"]) == {""}
    assert "18 tasks, not 21" in caplog.text


def test_equal_seeds_equal_files_and_another_seed_other_tasks(contestants, tmp_path):
    for name, seed in (("once", 0), ("again", 0), ("other", 1)):
        write_tasks(*contestants, tmp_path / name, Human(pairs=10), seed=seed)
    once, again, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("once", "again", "other")
    )
    assert once == again
    assert once[Path("key.csv")] != other[Path("key.csv")]


def test_a_failure_leaves_the_former_folder_and_nothing_else(contestants, tmp_path, monkeypatch):
    write_tasks(*contestants, tmp_path / "out" / "pair", Human(pairs=4), seed=0)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(tasks, "_key_row", fail)
    with pytest.raises(OSError, match="disk full"):
        write_tasks(*contestants, tmp_path / "out" / "pair", Human(pairs=5), seed=0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pair"]
    assert len(written(tmp_path / "out" / "pair")[0]) == 4


def test_an_unknown_n_and_other_prompts_are_refused(contestants, tmp_path):
    first, second = contestants
    with pytest.raises(ValueError, match=r"n_candidates = 8 is not in it; allowed: \[1, 4\]"):
        write_tasks(first, second._replace(n_candidates=8), tmp_path / "pair", Human(), seed=0)
    pd.read_parquet(first.selection).query("prompt_id > 0").to_parquet(tmp_path / "fewer.parquet")
    with pytest.raises(ValueError, match="different prompts"):
        write_tasks(first, second._replace(selection=tmp_path / "fewer.parquet"), tmp_path / "pair", Human(), seed=0)
    assert not (tmp_path / "pair").exists()
