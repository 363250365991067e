"""The reranker of photographs: who is held out, what it learns, and that views of one picture are no negatives."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from dalle.config.models import Clip
from dalle.config.models import Tokenizer as TokenizerSettings
from dalle.config.training import Optimisation
from dalle.images import write_archive
from dalle.models.clip import clip_shape, make_clip
from dalle.systems.clip_photographs import PhotographStage
from dalle.tokenizer import Tokenizer, train_tokenizer
from dalle.training.clip import train_clip
from dalle.training.clip_album import Album

SMALL = Clip(width=32, heads=2, depth=1, text_depth=1, stem=8, embed_dim=16)
COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (20, 40, 210), "white": (240, 240, 240)}
NUM = 40  # pictures, of all colours in turn, two views each: four are held out, one of each colour


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Plain pictures with a little noise and their captions, as an archive and its tokenizer."""
    folder, rng = tmp_path_factory.mktemp("album"), np.random.default_rng(0)
    names = [list(COLOURS)[number % len(COLOURS)] for number in range(NUM)]
    rows = pd.DataFrame(
        [
            {
                "prompt_id": 10 * number + view,
                "candidate": view,
                "caption": f"view {view} of a {name} wall",
                "scene": "",
            }
            for number, name in enumerate(names)
            for view in (0, 1)
        ]
    )
    colours = np.repeat([COLOURS[name] for name in names], 2, axis=0)[:, None, None]
    pixels = (colours + rng.normal(0, 8, (2 * NUM, 32, 32, 3))).clip(0, 255).astype(np.uint8)
    write_archive(folder / "train.parquet", rows, pixels)
    train_tokenizer(folder / "train.parquet", folder / "tokenizer.json", TokenizerSettings())
    return folder


def test_the_last_photographs_are_held_out_with_all_their_views(album):
    words = Tokenizer(album / "tokenizer.json")
    stage = Album(album / "train.parquet", words, 12, 0).stage(make_clip(clip_shape(SMALL, 32, 12, words.vocab_size)))
    assert stage.examples == 2 * (NUM - 4)
    assert stage.photographs.tolist() == np.repeat(np.arange(NUM - 4), 2).tolist()


def test_another_view_of_a_photograph_is_no_negative_and_spoiled_ones_have_no_caption(monkeypatch):
    seen = []
    monkeypatch.setattr("dalle.systems.clip_photographs.contrast", lambda *given: seen.append(given) or given[0].sum())
    pixels, tokens = torch.zeros(8, 3, 32, 32, dtype=torch.uint8), torch.zeros(8, 6, dtype=torch.long)
    model = make_clip(clip_shape(SMALL, 32, 6, 10))
    stage = PhotographStage(model, pixels, tokens, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    stage(torch.tensor([7, 0, 6, 3]), 0, torch.Generator().manual_seed(0))
    logits, same = seen[0]
    assert logits.shape == (4, 5)
    assert same.tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]


def test_it_finds_held_out_photographs_by_their_captions(album, tmp_path):
    settings = SMALL.model_copy(
        update={"optimisation": Optimisation(steps=60, batch_size=16, learning_rate=3e-3, warmup=5, ema=0.9)}
    )
    train_clip(album / "train.parquet", album / "tokenizer.json", tmp_path, settings, 12, 0)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["retrieval"] == {"accuracy": 1.0, "n": 4}
    assert report["picture spoiled"]["n"] == 4
    assert pd.read_csv(tmp_path / "log.csv").columns.tolist()[-2:] == ["text_picture", "scale"]
