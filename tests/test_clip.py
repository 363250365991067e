"""The reranker: its towers see what they should, its loss is what the formula says, and it learns eight pairs."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from dalle.config.data import Scenes
from dalle.config.models import Clip, Tokenizer
from dalle.config.training import Optimisation
from dalle.models.clip import START_SPREAD, clip_shape, load_clip, make_clip, waves
from dalle.systems.clip import ClipStage, Pairs, contrast, soften, spoil, tell_apart

SMALL = Clip(width=32, heads=2, depth=1, text_depth=1, stem=8, embed_dim=16)


def small_clip(seed=0, settings=SMALL):
    torch.manual_seed(seed)
    return make_clip(clip_shape(settings, image_size=32, text_context=6, text_vocab=10)).eval()


def test_the_text_tower_sees_the_whole_caption_and_its_order():
    model = small_clip()
    caption = torch.tensor([[9, 1, 2, 3, 14, 15]])  # 9 is the highest word: open_clip's default would stop there
    changed = torch.tensor([[9, 1, 2, 4, 14, 15]])
    flipped = torch.tensor([[2, 1, 9, 3, 14, 15]])
    first, second, third = (model.encode_text(tokens, normalize=True) for tokens in (caption, changed, flipped))
    assert F.cosine_similarity(first, second).item() < 0.999
    assert F.cosine_similarity(first, third).item() < 0.999


def test_the_stem_gives_one_token_a_patch():
    for patch, side in ((4, 8), (8, 4), (16, 2)):
        model = small_clip(settings=SMALL.model_copy(update={"patch": patch}))
        assert model.visual.conv1(torch.zeros(1, 3, 32, 32)).shape == (1, 32, side, side)


def test_waves_are_sines_and_cosines_of_the_position():
    table = waves(20, 8)
    assert table.shape == (20, 8)
    torch.testing.assert_close(table[:, 0], torch.arange(20.0).sin())
    torch.testing.assert_close(table[:, 7], (torch.arange(20.0) / 40).cos())
    torch.testing.assert_close(small_clip().positional_embedding.data, START_SPREAD * waves(6, 32))


def test_contrast_is_the_symmetric_cross_entropy_of_clip():
    from open_clip.loss import ClipLoss

    torch.manual_seed(0)
    images, texts = (F.normalize(torch.randn(5, 7), dim=-1) for _ in range(2))
    expected = ClipLoss()(images, texts, torch.tensor(20.0))
    torch.testing.assert_close(contrast(20 * texts @ images.T, torch.eye(5, dtype=torch.bool)), expected)


def test_equal_contents_are_no_negatives_and_pictures_without_caption_only_add_to_the_refused():
    logits = torch.tensor([[9.0, 9.0, -9.0], [9.0, 9.0, -9.0], [-9.0, -9.0, 9.0]])
    contents = torch.tensor([0, 0, 1])
    same = contents[:, None] == contents
    assert contrast(logits, same).item() == pytest.approx(2 / 3 * np.log(2), abs=1e-4)  # whichever of two: ln 2 each
    spoiled = torch.full((3, 1), -9.0)
    torch.testing.assert_close(contrast(torch.cat([logits, spoiled], 1), same), contrast(logits, same))
    assert contrast(torch.cat([logits, -spoiled], 1), same) > contrast(logits, same)


def test_telling_apart_compares_each_pair_with_its_twin_only():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    twins = [2, 3, 0, 1]
    expected = [F.softplus(logits[i, j] - logits[k, k]) for k in range(4) for i, j in ((k, twins[k]), (twins[k], k))]
    torch.testing.assert_close(tell_apart(logits), torch.stack(expected).mean())


def test_spoiled_pictures_are_made_of_whole_squares_of_two():
    own, twin = torch.zeros(4, 3, 32, 32), torch.ones(4, 3, 32, 32)
    spoiled = spoil(own, twin, torch.Generator().manual_seed(0))
    squares = spoiled.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)
    assert (squares.min(-1).values == squares.max(-1).values).all()
    assert 0.2 < spoiled[::2].mean() < 0.8
    assert spoiled[1::2].sum() == 0  # mixed with their neighbour, which is as black


def test_softening_keeps_even_pictures_and_the_mean_of_a_dot():
    even = torch.full((2, 3, 8, 8), 0.3)
    torch.testing.assert_close(soften(even, torch.Generator()), even)
    dot = torch.zeros(1, 3, 8, 8)
    dot[:, :, 4, 4] = 1
    soft = soften(dot, torch.Generator().manual_seed(1))
    assert soft.sum().item() == pytest.approx(3, abs=1e-5)
    assert soft.max() < 1


def test_it_learns_eight_pairs(tmp_path):
    from dalle.training.fit import fit

    generator = torch.Generator().manual_seed(0)
    parts = [
        Pairs(
            torch.randint(0, 256, (8, 3, 32, 32), generator=generator, dtype=torch.uint8),
            torch.randint(0, 10, (8, 6), generator=generator),
            torch.rand(8, 20, generator=generator) < 0.5,
            torch.arange(8) + first,
        )
        for first in (0, 8)
    ]
    settings = Optimisation(steps=40, batch_size=8, learning_rate=3e-3, warmup=5, ema=0.8)
    fit(ClipStage(small_clip(), *parts), settings, 0, tmp_path / "c.pt", tmp_path / "log.csv", "clip")
    log = pd.read_csv(tmp_path / "log.csv")
    assert log["text_picture"].iloc[-1] < 0.3 * log["text_picture"].iloc[0]


def test_training_writes_a_model_that_loads_and_an_account_of_every_aspect(tmp_path, monkeypatch):
    from dalle.data.archives import write_scenes
    from dalle.data.negatives import CHANGES
    from dalle.tokenizer import train_tokenizer
    from dalle.training.clip import train_clip

    write_scenes(Scenes(train=64, uncaptioned=1, val=8, zeroshot=8), 0, tmp_path)
    train_tokenizer(tmp_path / "train.parquet", tmp_path / "tokenizer.json", Tokenizer())
    monkeypatch.setattr("dalle.training.clip_report.PROBES", 64)
    settings = SMALL.model_copy(update={"optimisation": Optimisation(steps=3, batch_size=16, warmup=1)})
    train_clip(tmp_path / "train.parquet", tmp_path / "tokenizer.json", tmp_path / "clip", settings, 20, 0)
    assert {file.name for file in (tmp_path / "clip").iterdir()} == {
        "weights.safetensors",
        "model.json",
        "log.csv",
        "report.json",
    }
    model = load_clip(tmp_path / "clip")
    assert model.encode_image(torch.zeros(2, 3, 64, 64)).shape == (2, 16)
    report = json.loads((tmp_path / "clip/report.json").read_text())
    expected = {name for aspect in CHANGES for name in (aspect, f"picture {aspect}")}
    assert set(report) == expected | {"retrieval", "picture spoiled"}
    assert all(0 <= row["accuracy"] <= 1 and row["n"] > 0 for row in report.values())
