"""Scores of pictures under their captions: own captions, the protocol's numbers, wrong captions that stay the same."""

import numpy as np
import pandas as pd
import pytest

from dalle.images import write_archive
from eval import agreement
from eval.agreement import COLUMNS, write_agreement
from eval.metrics.alignment import r_precision
from eval.protocols.protocol import load_protocol

OWN = load_protocol("clip.own@1")
RULE = OWN.model_copy(update={"ways": 4, "seed": 7, "weight": 1.5})
CAPTIONS = ["wolf", "a bee", "yak", "a bee", "cat", "dog", "eel"]  # one stands for two prompts


class Judge:
    """Embeds a picture by its first pixel and a caption by its letters; captions of three letters are cut."""

    scale, digest = 20.0, "feed"

    def embed_pictures(self, pictures):
        return of_length_1([picture[0, 0] for picture in pictures])

    def embed_texts(self, texts):
        return of_length_1([[text.count(letter) + 1 for letter in "abe"] for text in texts])

    def truncated(self, texts):
        return np.array([len(text) == 3 for text in texts])


def of_length_1(rows):
    rows = np.array(rows, float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def judged(tmp_path, monkeypatch):
    def judged(system="ours", rule=RULE, prompts=range(7)):
        pixels = np.random.default_rng(0).integers(1, 256, (7, 2, 2, 3), dtype=np.uint8)[list(prompts)]
        rows = pd.DataFrame({"prompt_id": list(prompts), "candidate": 0, "scene": ""})
        rows["caption"] = [CAPTIONS[prompt] for prompt in prompts]
        path = tmp_path / system / "val.parquet"
        path.parent.mkdir(exist_ok=True)
        write_archive(path, rows.assign(lossy=rows["prompt_id"] == 2), pixels)
        monkeypatch.setattr(agreement, "load_protocol", lambda label: rule)
        monkeypatch.setattr(agreement, "load_judge", lambda *_, **__: Judge())
        write_agreement([path], [OWN.label], None, None, {}, tmp_path / "out.parquet")
        table = pd.read_parquet(tmp_path / "out.parquet")
        cosines = (Judge().embed_pictures(pixels) * Judge().embed_texts(rows["caption"])).sum(axis=1)
        return table, cosines

    return judged


def values(table, metric):
    return table[table["metric"] == metric].set_index("prompt_id")["value"]


def test_every_picture_is_scored_under_its_own_caption(judged):
    table, cosines = judged()
    assert list(table.columns) == COLUMNS
    assert set(table["system"]) == {"ours"} and set(table["suite"]) == {"val"}
    assert values(table, "clip_cos").tolist() == pytest.approx(cosines)
    assert values(table, "clipscore").tolist() == pytest.approx(1.5 * cosines)
    assert values(table, "clip_logit").tolist() == pytest.approx(20 * cosines)
    assert values(table, "truncated").tolist() == [0, 0, 1, 0, 1, 1, 1]
    assert values(table, "lossy").tolist() == [0, 0, 1, 0, 0, 0, 0]


def test_r_precision_is_that_of_the_protocols_seed_and_ways(judged):
    table, _ = judged()
    captions = sorted(set(CAPTIONS))
    own = np.array([captions.index(caption) for caption in CAPTIONS])
    pixels = np.random.default_rng(0).integers(1, 256, (7, 2, 2, 3), dtype=np.uint8)
    embedded = Judge().embed_pictures(pixels), Judge().embed_texts(captions)
    assert values(table, "r_precision").tolist() == r_precision(*embedded, own, 4, 7, np.arange(6)).tolist()


def test_too_few_captions_leave_r_precision_out_and_the_log_says_so(judged, caplog):
    table, _ = judged(rule=RULE.model_copy(update={"ways": 100}))
    assert "r_precision" not in set(table["metric"])
    assert "no R-precision: R-precision among 100 captions: allowed are 2 to 6" in caplog.text
