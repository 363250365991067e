"""The published dVAE as a stage: it learns and comes back from its folder; imported weights are taken as they are."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from dall_e import Decoder, Encoder
from pydantic import ValidationError
from safetensors.torch import load_file

from dalle.config.models import DVAE
from dalle.config.training import Optimisation
from dalle.images import to_uint8, write_archive
from dalle.models.dvae import decode_codes, encode_pictures, load_dvae, make_dvae, together
from dalle.models.import_dvae import import_published
from dalle.models.published_dvae import PublishedDVAE
from dalle.systems.dvae import DVAEStage, mirrored, reconstruction, warn_of_collapse
from dalle.training.dvae import train_dvae

TINY = DVAE(
    architecture="published",
    codes=24,
    width=8,
    blocks=1,
    code_width=8,
    start="random",
    temperature=(1.0, 0.0625),
    kl_weight=0.5,
    optimisation=Optimisation(steps=80, batch_size=8, learning_rate=3e-3, warmup=5, ema=0.9),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eight pictures, and an archive of them."""
    clouds = F.interpolate(torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0)), size=32, mode="bicubic")
    pixels = to_uint8(torch.sigmoid(1.5 * clouds))
    path = tmp_path_factory.mktemp("pictures") / "train.parquet"
    write_archive(path, pd.DataFrame({"prompt_id": range(8), "candidate": 0, "caption": "", "scene": ""}), pixels)
    return pixels, path


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A folder like that of OpenAI's weights."""
    folder = tmp_path_factory.mktemp("imported")
    torch.manual_seed(0)
    torch.save(Encoder(n_hid=64, vocab_size=512), folder / "encoder.pkl")
    torch.save(Decoder(n_hid=64, vocab_size=512, n_init=8), folder / "decoder.pkl")
    import_published(folder / "encoder.pkl", folder / "decoder.pkl", folder / "dvae")
    return folder / "dvae"


def given(imported, **changes):
    return DVAE(**{"architecture": "published", "start": "random", "codes": 512, "weights": str(imported)} | changes)


def test_the_published_network_learns_pictures_and_comes_back(pictures, tmp_path, capsys):
    pixels, archive = pictures
    train_dvae([archive], tmp_path, TINY, 0)
    log = pd.read_csv(tmp_path / "log.csv")
    assert log["subpixel_nats"].iloc[-1] < log["subpixel_nats"].iloc[0] - 0.04
    model = load_dvae(tmp_path)
    assert isinstance(model, PublishedDVAE)
    assert model.decoder.min_log_scale == 0
    first, last = (
        reconstruction(load_dvae(tmp_path, which), torch.from_numpy(pixels).permute(0, 3, 1, 2))
        for which in ("start", "weights")
    )
    assert last["psnr"] > first["psnr"]
    told = capsys.readouterr().err
    assert f"dvae: {round(last['usage'] * 24)} of 24 codes are in use (perplexity {last['perplexity']:.1f})" in told
    assert f"pictures come back at {last['psnr']:.1f} dB" in told


def test_imported_weights_are_taken_as_they_are(pictures, imported, tmp_path):
    pixels, archive = pictures
    train_dvae([archive], tmp_path, given(imported), 0)
    taken, source = (load_file(folder / "weights.safetensors") for folder in (tmp_path, imported))
    assert all(torch.equal(taken[name], source[name]) for name in source)
    assert json.loads((tmp_path / "model.json").read_text())["sources"]["encoder"]["file"] == "encoder.pkl"
    assert len(pd.read_csv(tmp_path / "log.csv")) == 1
    start = load_dvae(tmp_path, "start")
    assert not torch.equal(start.encoder.blocks.input.weight, source["encoder.blocks.input.weight"])
    codes = encode_pictures(load_dvae(tmp_path), pixels)
    assert np.array_equal(codes, encode_pictures(load_dvae(imported), pixels))


def test_weights_that_do_not_fit_are_refused(pictures, imported, tmp_path):
    for settings, says in (
        (given(imported, codes=24), "dvae.codes: 24; allowed is 512, which .* has"),
        (
            given(tmp_path / "none"),
            "none: no dVAE was imported here; `python -m dalle import-dvae` writes such a folder",
        ),
    ):
        with pytest.raises(ValueError, match=says):
            train_dvae([pictures[1]], tmp_path / "dvae", settings, 0)
        assert not (tmp_path / "dvae").exists()
    (tmp_path / "model.json").write_text(TINY.model_dump_json())
    with pytest.raises(ValueError, match="this is no imported dVAE"):
        make_dvae(given(tmp_path))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"architecture": "published"}, "downsample: 8, start: kmeans; architecture: published has 8 and random"),
        ({"architecture": "published", "start": "random", "downsample": 4}, "downsample: 4, start: random"),
        ({"code_width": 64}, "code_width: does not go with architecture: patches; published has it"),
        ({"weights": "here"}, "weights: does not go with architecture: patches"),
        (
            {"architecture": "published", "start": "random", "weights": "here", "kl_weight": 6.6},
            "kl_weight: does not go with weights: here; these are trained already",
        ),
    ],
)
def test_settings_that_are_of_no_use_are_refused(settings, says):
    with pytest.raises(ValidationError, match=says):
        DVAE(**settings)


def test_settings_come_through_a_rule_as_they_were(imported):
    for settings in (TINY, DVAE(), given(imported)):
        assert DVAE.model_validate(settings.model_dump(mode="json")) == settings


# What is said of a dVAE while it learns


def test_a_collapse_is_warned_of(pictures, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("dalle.systems.dvae.COLLAPSED", 1.0)
    once = TINY.model_copy(update={"optimisation": Optimisation(steps=2, batch_size=8, validate_every=1)})
    train_dvae([pictures[1]], tmp_path, once, 0)
    assert caplog.text.count("the codebook has collapsed") == 3  # while it learns, and of what is kept


@pytest.mark.parametrize(("used", "warned"), [(3, False), (2, True)])
def test_few_cells_cannot_have_many_codes(used, warned, caplog):
    """Of 8,192 codes four pictures of 16 cells can have 64, and a 32nd of that is 2."""
    with torch.device("meta"):
        model = PublishedDVAE()
    warn_of_collapse(model, used / 8192, torch.empty(4, 3, 32, 32, dtype=torch.uint8))
    assert bool(caplog.text) == warned


def test_reconstruction_is_counted_and_measured_by_hand(pictures):
    pixels = pictures[0]
    torch.manual_seed(0)
    model = make_dvae(TINY).eval()
    codes = encode_pictures(model, pixels)
    counts = np.bincount(codes.ravel(), minlength=24)
    shares = counts[counts > 0] / counts.sum()
    facts = reconstruction(model, torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert facts["usage"] == pytest.approx((counts > 0).mean())
    assert facts["perplexity"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-5)
    error = ((decode_codes(model, codes) / 255.0 - pixels / 255.0) ** 2).mean()
    assert facts["psnr"] == pytest.approx(-10 * np.log10(error), abs=0.05)  # those pictures are rounded to levels


def test_the_stage_says_how_well_pictures_come_back(pictures):
    torch.manual_seed(0)
    stage = DVAEStage(make_dvae(TINY), torch.from_numpy(pictures[0]).permute(0, 3, 1, 2), TINY)
    facts = stage.validate()
    assert float(facts["loss"]) == pytest.approx(10 ** (-float(facts["psnr"]) / 10))


def test_pictures_pass_in_batches_of_as_many_pixels():
    assert [together(side, side) for side in (16, 64, 128, 256, 512, 1024)] == [64, 64, 16, 4, 1, 1]


# Augmentation


def test_every_other_picture_is_mirrored_by_chance():
    images = torch.rand(400, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    flipped = mirrored(images, torch.Generator().manual_seed(0))
    is_mirror = (flipped == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(flipped[~is_mirror], images[~is_mirror])
    assert 0.42 < is_mirror.float().mean() < 0.58
    assert torch.equal(flipped, mirrored(images, torch.Generator().manual_seed(0)))


def test_the_papers_augmentation_reaches_the_loss(pictures):
    pixels = torch.from_numpy(pictures[0]).permute(0, 3, 1, 2)
    torch.manual_seed(0)
    model = make_dvae(TINY)
    losses = []
    for augmentation in ("none", "paper"):
        stage = DVAEStage(model, pixels, TINY.model_copy(update={"augmentation": augmentation}))
        losses.append(stage(torch.arange(8), 0, torch.Generator().manual_seed(0))[1]["kl"].item())
    assert losses[0] != losses[1]
