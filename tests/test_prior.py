"""The prior's loss is the paper's; eight pairs are learnt by heart and come back out of the sampler."""

import json
import pickle
from math import log

import numpy as np
import pandas as pd
import pytest
import torch

from dalle.config.models import Prior
from dalle.config.models import Tokenizer as TokenizerSettings
from dalle.config.sampling import Sampling
from dalle.config.training import Optimisation
from dalle.images import write_archive
from dalle.models.transformer import Shape, Transformer, load_transformer
from dalle.sampling.candidates import draw
from dalle.systems.prior import PriorStage, token_losses
from dalle.tokenizer import train_tokenizer
from dalle.training.prior import train_prior

SHAPE = Shape(width=16, heads=2, depth=2, conv_kernel=3, text_context=5, text_vocab=11, grid=3, codes=13)


def make_stage(versions=1, text_loss=0.125):
    torch.manual_seed(0)
    model = Transformer(SHAPE)
    for head in (model.text_head, model.image_head):
        torch.nn.init.normal_(head.weight, std=0.3)
    text = torch.randint(11, (versions, 20, 5))
    text[..., 3:] = torch.tensor([11 + 3, 11 + 4])
    return PriorStage(model, text, torch.randint(13, (20, 9), dtype=torch.int32), text_loss)


def test_an_untrained_prior_is_nearly_uniform():
    stage = make_stage()
    text_nats, image_nats = token_losses(Transformer(SHAPE), stage.text[0], stage.codes.long())
    assert text_nats.item() == pytest.approx(log(12), rel=0.05)  # eleven tokens and the pad
    assert image_nats.item() == pytest.approx(log(13), rel=0.05)


def test_the_loss_is_an_eighth_text_and_seven_eighths_image_counted_token_by_token():
    stage, chosen = make_stage(), [4, 0, 17]
    loss, scalars = stage(torch.tensor(chosen), 0, torch.Generator())
    text_nats, image_nats = [], []
    for pair in chosen:
        text, codes = stage.text[0, pair], stage.codes[pair].long()
        text_logits, image_logits = stage.model(text[None], codes[None])
        text_nats += [-text_logits[0, at].log_softmax(0)[min(token, 11)] for at, token in enumerate(text.tolist())]
        image_nats += [-image_logits[0, at].log_softmax(0)[code] for at, code in enumerate(codes.tolist())]
    text_nats, image_nats = sum(text_nats) / 15, sum(image_nats) / 27
    torch.testing.assert_close(loss, text_nats / 8 + 7 * image_nats / 8)
    torch.testing.assert_close(scalars, {"text_nats": text_nats, "image_nats": image_nats})


def test_the_version_of_a_caption_follows_from_the_generator():
    stage, indices = make_stage(versions=4), torch.arange(8)
    losses = [stage(indices, 0, torch.Generator().manual_seed(seed))[0].item() for seed in [*range(12), *range(12)]]
    assert losses[:12] == losses[12:]
    assert len(set(losses)) > 1


@pytest.fixture(scope="module")
def eight_pairs(tmp_path_factory):
    """Eight captions with random codes, and the prior that has learnt them by heart."""
    folder = tmp_path_factory.mktemp("prior")
    captions = [f"a {colour} {shape}" for colour in ("red", "blue", "green", "grey") for shape in ("ring", "cross")]
    rows = pd.DataFrame({"prompt_id": range(8), "candidate": 0, "caption": captions, "scene": ""})
    write_archive(folder / "train.parquet", rows, np.zeros((8, 1, 1, 3), np.uint8))
    codes = np.random.default_rng(0).integers(0, 20, (8, 4, 4)).astype(np.uint16)
    np.save(folder / "train.npy", codes)
    train_tokenizer(folder / "train.parquet", folder / "tokenizer.json", TokenizerSettings())
    steps = Optimisation(steps=150, batch_size=8, learning_rate=3e-3, warmup=10, ema=0.9)
    settings = Prior(width=48, heads=2, depth=3, conv_kernel=3, optimisation=steps)
    learn(folder, settings)
    return folder, codes, settings


def of_folder(folder):
    return {"archives": [folder / "train.parquet"], "codes": [folder / "train.npy"]}


def learn(folder, settings, **changes):
    names = of_folder(folder) | {"tokenizer": folder / "tokenizer.json"}
    train_prior(**{**names, "folder": folder, "settings": settings, "context": 6, "codes_k": 20, "seed": 0} | changes)


def test_greedy_decoding_gives_back_what_was_learnt_by_heart(eight_pairs):
    folder, codes, _ = eight_pairs
    sampling = Sampling(n_candidates=(1,), block=1, shards=1, top_k=1)
    draw(
        folder / "train.parquet",
        folder,
        folder / "tokenizer.json",
        folder / "drawn.parquet",
        sampling,
        0,
        "train",
        0,
        0,
    )
    drawn = pd.read_parquet(folder / "drawn.parquet")
    assert np.array_equal(np.stack(drawn["codes"]), codes.reshape(8, 16))
    assert (drawn["log_likelihood"] > 16 * log(0.9)).all()


def test_the_files_say_what_was_trained(eight_pairs):
    folder, _, settings = eight_pairs
    shape = load_transformer(folder).shape
    assert (shape.width, shape.grid, shape.codes, shape.text_context) == (settings.width, 4, 20, 6)
    assert json.loads((folder / "model.json").read_text())["validation"] == {"pairs": 0}
    log_file = pd.read_csv(folder / "log.csv")
    assert log_file["image_nats"].iloc[0] == pytest.approx(log(20), rel=0.05)
    assert log_file["image_nats"].iloc[-1] < 0.1


def write_forty_pairs(folder, codes, caption):
    rows = pd.DataFrame({"prompt_id": range(40), "candidate": 0, "caption": caption, "scene": ""})
    write_archive(folder / "train.parquet", rows, np.zeros((40, 1, 1, 3), np.uint8))
    np.save(folder / "train.npy", np.repeat(codes, 5, axis=0))


def test_validation_is_the_loss_of_what_is_held_out_whatever_its_batches():
    torch.manual_seed(0)
    text, codes = torch.randint(7, (40, 5)), torch.randint(13, (40, 9), dtype=torch.int32)
    learnt = make_stage()
    judged = PriorStage(learnt.model, learnt.text, learnt.codes, 0.25, (text, codes))
    assert (learnt.validated, judged.validated, judged.tokens) == (0, 40, 5 + 9)
    with torch.no_grad():
        said = judged.validate()
        text_nats, image_nats = token_losses(learnt.model, text, codes.long())
    torch.testing.assert_close(said["text_nats"], text_nats)
    torch.testing.assert_close(said["image_nats"], image_nats)
    torch.testing.assert_close(said["loss"], 0.25 * text_nats + 0.75 * image_nats)


def test_a_twentieth_is_kept_for_validation(eight_pairs, tmp_path):
    folder, codes, settings = eight_pairs
    write_forty_pairs(tmp_path, codes, "a red ring")
    once = settings.model_copy(update={"optimisation": Optimisation(steps=1, batch_size=8)})
    learn(tmp_path, once, tokenizer=folder / "tokenizer.json")
    validation = json.loads((tmp_path / "model.json").read_text())["validation"]
    assert validation["pairs"] == 2
    assert validation["image_nats"] == pytest.approx(log(20), rel=0.05)


def test_bpe_dropout_changes_the_training_and_follows_from_the_seed(eight_pairs, tmp_path):
    folder, _, settings = eight_pairs
    once = settings.model_copy(update={"optimisation": Optimisation(steps=2, batch_size=8)})
    train_tokenizer(folder / "train.parquet", tmp_path / "tokenizer.json", TokenizerSettings(dropout=0.5))
    logs = []
    for name, tokenizer in [("plain", folder), ("drawn", tmp_path), ("again", tmp_path)]:
        learn(tmp_path / name, once, tokenizer=tokenizer / "tokenizer.json", context=12, **of_folder(folder))
        logs.append((tmp_path / name / "log.csv").read_text())
    assert logs[0] != logs[1] == logs[2]


def test_archives_are_learnt_one_after_the_other(eight_pairs, tmp_path):
    folder, codes, settings = eight_pairs
    write_forty_pairs(tmp_path, codes, "")
    once = settings.model_copy(update={"optimisation": Optimisation(steps=1, batch_size=8)})
    both = {"archives": [tmp_path / "train.parquet", folder / "train.parquet"]}
    both["codes"] = [tmp_path / "train.npy", folder / "train.npy"]
    learn(tmp_path, once, tokenizer=folder / "tokenizer.json", **both)
    assert json.loads((tmp_path / "model.json").read_text())["validation"]["pairs"] == 48 // 20


def test_codes_that_do_not_fit_are_errors(eight_pairs):
    folder, codes, settings = eight_pairs
    np.save(folder / "fewer.npy", codes[:7])
    for wrong in ({"codes": [folder / "fewer.npy"]}, {"codes_k": 10}):
        with pytest.raises(ValueError, match=r"grids with codes up to \d+ for the 8 captions"):
            learn(folder, settings, **wrong)


@pytest.mark.parametrize(
    "choices",
    [
        {"start_tokens": "first_slot", "start_of_image_position": True},
        {"conv_wrap": "clamp", "norm": "sandwich", "activation": "quick_gelu", "attention": "windows"},
    ],
)
def test_a_prior_of_other_choices_is_trained_and_drawn_from(eight_pairs, tmp_path, choices):
    folder, _, settings = eight_pairs
    once = settings.model_copy(update={"optimisation": Optimisation(steps=2, batch_size=8)} | choices)
    learn(tmp_path, once, tokenizer=folder / "tokenizer.json", **of_folder(folder))
    shape = load_transformer(tmp_path).shape
    assert {name: getattr(shape, name, value) for name, value in choices.items()} == choices
    assert shape.text_context == (5 if "start_tokens" in choices else 6)
    sampling = Sampling(n_candidates=(1,), block=1, shards=1)
    out = tmp_path / "drawn.parquet"
    draw(folder / "train.parquet", tmp_path, folder / "tokenizer.json", out, sampling, 0, "train", 0, 0)
    assert len(pd.read_parquet(out)) == 8


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_prior_learns_in_16_bit_with_its_blocks_recomputed(eight_pairs, tmp_path, precision):
    folder, _, settings = eight_pairs
    steps = Optimisation(steps=12, batch_size=8, learning_rate=3e-3, warmup=2, precision=precision, checkpointing=True)
    learn(
        tmp_path,
        settings.model_copy(update={"optimisation": steps}),
        tokenizer=folder / "tokenizer.json",
        **of_folder(folder),
    )
    log_file = pd.read_csv(tmp_path / "log.csv")
    assert log_file["image_nats"].iloc[-1] < log_file["image_nats"].iloc[0]


def test_a_stage_goes_to_other_processes():
    again = pickle.loads(pickle.dumps(make_stage()))
    assert again.examples == 20
