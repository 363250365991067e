"""A comparison shows what it should, hides who made it, mixes in its checks, and is written whole or not at all."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dalle.config.human import Human
from dalle.images import read_archive, write_archive
from eval.human import study as study_module
from eval.human.pictures import Contestant, Shown, rendered
from eval.human.questionnaire import Questionnaire, load_questionnaire
from eval.human.study import TASK_COLUMNS, Study, write_study

PROMPTS = 21
IDENTICAL = [2, 5, 11]  # prompts whose first candidate is also their best of four
DALLE1 = load_questionnaire("dalle1")
Contestants = tuple[Contestant, Contestant]


def pixels(prompt: int, candidate: int) -> np.ndarray:
    return np.random.default_rng([prompt, candidate]).integers(0, 256, (8, 8, 3), np.uint8)


def settings(**values) -> Human:
    return Human(**{"pairs": 10, "gold": 0, "repeats": 0, "side": 64} | values)


def archived(folder: Path, system: str, keys: list[tuple[int, int]], n: int = 1) -> Contestant:
    """A system with these pictures, all of which its selection chose for N = ``n``."""
    rows = pd.DataFrame(keys, columns=["prompt_id", "candidate"]).assign(scene="")
    rows["caption"] = [f'caption "{prompt}", with a comma' for prompt in rows["prompt_id"]]
    write_archive(folder / f"{system}.parquet", rows, np.stack([pixels(*key) for key in keys]))
    rows[["prompt_id", "candidate"]].assign(n_candidates=n).to_parquet(folder / f"{system}.selection.parquet")
    return Contestant(system, folder / f"{system}.parquet", folder / f"{system}.selection.parquet", n)


@pytest.fixture
def contestants(tmp_path: Path) -> Contestants:
    """N = 1 against best of four of one system; candidate 7 wins wherever it is not candidate 0."""
    ours = archived(tmp_path, "ours", [(prompt, candidate) for prompt in range(PROMPTS) for candidate in (0, 7)])
    chosen = [(p, n, 7 if n == 4 and p not in IDENTICAL else 0) for p in range(PROMPTS) for n in (1, 4)]
    columns = ["prompt_id", "n_candidates", "candidate"]
    pd.DataFrame(chosen, columns=columns).to_parquet(ours.selection)
    return ours._replace(n_candidates=1), ours._replace(n_candidates=4)


@pytest.fixture
def gold(tmp_path: Path) -> Contestants:
    """Real pictures, and pictures that were made for other captions."""
    return tuple(
        archived(tmp_path, name, [(p, c) for p in range(PROMPTS)]) for name, c in (("real", 20), ("wrong", 30))
    )


def written(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return tuple(pd.read_csv(folder / name, keep_default_na=False) for name in ("public/tasks.csv", "key.csv"))


def test_the_key_tells_which_picture_of_the_archive_each_image_is(contestants, gold, tmp_path):
    write_study(contestants, gold, tmp_path / "pair", settings(gold=3, repeats=2), DALLE1, seed=0)
    shown, key = written(tmp_path / "pair")
    assert len(shown) == 15
    for (_, task), (_, row) in zip(shown.iterrows(), key.iterrows(), strict=False):
        assert task["task_id"] == row["task_id"]
        assert task["caption"] == f'caption "{row["prompt_id"]}", with a comma'
        for side in ("left", "right"):
            image = np.asarray(Image.open(tmp_path / "pair" / "public" / task[f"{side}_image"]))
            assert image.shape == (64, 64, 3)
            assert (image[1::8, 1::8] == pixels(row["prompt_id"], row[f"{side}_candidate"])).all()
            assert (image[::8, ::8] == image[7::8, 7::8]).all()  # enlarged without smoothing


def test_the_key_tells_on_which_side_the_first_contestant_stands(contestants, gold, tmp_path):
    write_study(contestants, gold, tmp_path / "pair", settings(gold=4), DALLE1, seed=0)
    key = written(tmp_path / "pair")[1]
    for _, row in key.query("kind == 'pair'").iterrows():
        assert row[f"{row['first']}_n_candidates"] == 1
    for _, row in key.query("kind == 'gold'").iterrows():
        assert row[f"{row['first']}_system"] == "real"
    assert set(key.query("kind == 'gold'")["left_system"]) == {"real", "wrong"}


def test_sides_are_balanced_and_the_order_is_not_that_of_the_suite(contestants, gold, tmp_path):
    write_study(contestants, gold, tmp_path / "pair", settings(pairs=16), DALLE1, seed=0)
    key = written(tmp_path / "pair")[1].query("kind == 'pair'")
    assert (key["left_n_candidates"] == 1).sum() == 8
    prompts, lefts = key["prompt_id"].tolist(), key["left_n_candidates"].tolist()
    assert prompts != sorted(prompts)
    assert lefts not in ([1, 4] * 8, [4, 1] * 8)


def test_what_raters_get_names_no_system_and_does_not_tell_checks_from_pairs(contestants, gold, tmp_path):
    write_study(contestants, gold, tmp_path / "pair", settings(pairs=6, gold=2, repeats=1), DALLE1, seed=0)
    public = tmp_path / "pair" / "public"
    assert list(written(tmp_path / "pair")[0].columns) == TASK_COLUMNS
    texts = (public / "tasks.csv").read_text() + (public / "index.html").read_text()
    assert not any(word in texts for word in ("ours", "wrong.", "shuffled", "gold", "repeat_", "n_candidates"))
    names = {path.name for path in (public / "images").iterdir()}
    assert names == {f"task{number:04}-{side}.png" for number in range(9) for side in ("left", "right")}
    assert not any(Image.open(path).info for path in (public / "images").iterdir())
    assert {path.name for path in public.iterdir()} == {"index.html", "tasks.csv", "images"}


def test_repeats_are_earlier_pairs_with_their_sides_swapped(contestants, gold, tmp_path):
    write_study(contestants, gold, tmp_path / "pair", settings(pairs=12, gold=4, repeats=5), DALLE1, seed=0)
    key = written(tmp_path / "pair")[1].query("task_id != ''").set_index("task_id")
    again = key.query("kind == 'repeat'")
    assert len(again) == 5
    for task_id, row in again.iterrows():
        original = key.loc[row["repeats"]]
        assert (original["kind"], original["prompt_id"]) == ("pair", row["prompt_id"])
        assert original["first"] != row["first"]
        assert row["repeats"] < task_id
    assert min(again.index) >= "task0008"  # in the second half


def test_checks_take_captions_that_no_pair_shows_while_there_are_any(contestants, gold, tmp_path):
    write_study(contestants, gold, tmp_path / "pair", settings(pairs=10, gold=8), DALLE1, seed=0)
    key = written(tmp_path / "pair")[1].groupby("kind")["prompt_id"].agg(set)
    assert len(key["gold"]) == 8
    assert key["gold"].isdisjoint(key["pair"])


def test_a_questionnaire_that_cannot_tell_checks_has_none(contestants, gold, tmp_path):
    looks = Questionnaire(questions=DALLE1.questions[:1])
    write_study(contestants, gold, tmp_path / "pair", settings(gold=4), looks, seed=0)
    assert set(written(tmp_path / "pair")[1]["kind"]) <= {"pair", "identical"}


def test_identical_pictures_are_no_task_but_stand_in_the_key(contestants, gold, tmp_path, caplog):
    write_study(contestants, gold, tmp_path / "pair", settings(pairs=PROMPTS), DALLE1, seed=0)
    shown, key = written(tmp_path / "pair")
    assert len(shown) == PROMPTS - len(IDENTICAL)
    assert sorted(key.query("kind == 'identical'")["prompt_id"]) == IDENTICAL
    assert set(key.query("kind == 'identical'")["task_id"]) == {""}
    assert Study.read(tmp_path / "pair").identical == 3
    assert "18 pairs, not 21" in caplog.text


def test_a_grid_shows_the_first_candidates_whatever_was_selected(contestants, gold, tmp_path):
    four = Questionnaire(pictures=4, questions=[{"id": "diversity", "text": "More diverse?", "tie": "Not sure"}])
    several = [archived(tmp_path, name, [(0, c) for c in range(s, s + 5)]) for name, s in (("a", 0), ("b", 50))]
    write_study(tuple(several), gold, tmp_path / "pair", settings(pairs=1), four, seed=0)
    row = written(tmp_path / "pair")[1].iloc[0]
    image = np.asarray(Image.open(tmp_path / "pair/public/images/task0000-left.png"))[::4, ::4]
    start = 0 if row["left_system"] == "a" else 50
    cells = [pixels(0, start + number) for number in range(4)]
    assert (image == np.block([[[cells[0]], [cells[1]]], [[cells[2]], [cells[3]]]])).all()
    with pytest.raises(ValueError, match="a caption has 2 pictures; the questionnaire shows 4"):
        write_study(contestants, gold, tmp_path / "pair", settings(), four, seed=0)


@pytest.mark.parametrize(("height", "width"), [(10, 20), (20, 10), (100, 50), (64, 64), (1, 200)])
def test_every_picture_is_shown_whole_in_the_same_square(height, width):
    red = np.zeros((height, width, 3), np.uint8)
    red[..., 0] = 255
    square = rendered(Shown("any", 1, 0, 0, "", (red,)), 64)
    is_red = square[..., 0] > 200
    assert square.shape == (64, 64, 3)
    assert max(is_red.any(1).sum(), is_red.any(0).sum()) == 64
    assert is_red.any(1).sum() == max(1, round(64 * height / max(height, width)))
    assert (square[~is_red] == 128).all()


def test_equal_seeds_equal_files_and_another_seed_other_tasks(contestants, gold, tmp_path):
    for name, seed in (("once", 0), ("again", 0), ("other", 1)):
        write_study(contestants, gold, tmp_path / name, settings(gold=2, repeats=2), DALLE1, seed=seed)
    once, again, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("once", "again", "other")
    )
    assert once == again
    assert once[Path("key.csv")] != other[Path("key.csv")]


def test_the_digest_is_of_all_that_people_see_and_are_asked(contestants, gold, tmp_path):
    def digest(asked: Questionnaire = DALLE1, seed: int = 0, **values) -> str:
        write_study(contestants, gold, tmp_path / "pair", settings(**values), asked, seed)
        facts = json.loads((tmp_path / "pair/study.json").read_text())
        assert facts["digest"] in (tmp_path / "pair/public/index.html").read_text()
        return facts["digest"]

    first = digest()
    others = [digest(side=128), digest(pairs=9), digest(seed=1)]
    others.append(digest(asked=load_questionnaire("glide")))
    assert digest(votes_per_pair=3, image_url="https://example.org") == first
    repainted = contestants[1].archive
    rows, images = read_archive(repainted)
    write_archive(repainted, rows, 255 - images)
    others.append(digest())
    assert len({first, *others}) == 6


def test_a_failure_leaves_the_former_folder_and_nothing_else(contestants, gold, tmp_path, monkeypatch):
    write_study(contestants, gold, tmp_path / "out" / "pair", settings(pairs=4), DALLE1, seed=0)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(study_module, "_key_row", fail)
    with pytest.raises(OSError, match="disk full"):
        write_study(contestants, gold, tmp_path / "out" / "pair", settings(pairs=5), DALLE1, seed=0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pair"]
    assert len(written(tmp_path / "out" / "pair")[0]) == 4


def test_without_an_n_a_system_shows_its_largest(contestants, gold, tmp_path):
    first, second = contestants
    write_study((first, second._replace(n_candidates=None)), gold, tmp_path / "pair", settings(), DALLE1, seed=0)
    read = Study.read(tmp_path / "pair")
    assert (read.first, read.second) == ("ours", "ours, best of 4")


def test_an_unknown_n_and_other_prompts_are_refused(contestants, gold, tmp_path):
    first, second = contestants
    with pytest.raises(ValueError, match=r"n_candidates = 8 is not in it; allowed: \[1, 4\]"):
        write_study((first, second._replace(n_candidates=8)), gold, tmp_path / "pair", settings(), DALLE1, seed=0)
    pd.read_parquet(first.selection).query("prompt_id > 0").to_parquet(tmp_path / "fewer.parquet")
    fewer = second._replace(selection=tmp_path / "fewer.parquet")
    with pytest.raises(ValueError, match="different prompts"):
        write_study((first, fewer), gold, tmp_path / "pair", settings(), DALLE1, seed=0)
    with pytest.raises(ValueError, match="no caption shows two different pictures"):
        write_study((first, first), gold, tmp_path / "pair", settings(gold=2), DALLE1, seed=0)
    assert not (tmp_path / "pair").exists()
