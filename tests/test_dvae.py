"""The dVAE: its densities, divergences and schedules in closed form; eight pictures are learnt; codes go both ways."""

import shutil
from math import exp, log, log1p

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.distributions import Categorical, kl_divergence

from dalle.config.models import DVAE
from dalle.config.training import Optimisation
from dalle.images import read_archive, to_float, to_uint8, write_archive
from dalle.models.dvae import Decoder, DiscreteVAE, Encoder, decode_codes, encode_pictures, load_dvae
from dalle.models.likelihood import gumbel_softmax, kl_to_uniform, logit_laplace, squeeze, unsqueeze
from dalle.systems.codes import write_codes
from dalle.systems.dvae import DVAEStage, kl_weight, perplexity, temperature
from dalle.training.dvae import start_dvae, train_dvae

TINY = DVAE(
    codes=12,
    downsample=4,
    width=8,
    blocks=2,
    start="random",
    kl_weight=6.6,
    optimisation=Optimisation(steps=4, batch_size=4),
)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(num, size=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num, size, size, 3), dtype=np.uint8)


def lively(settings=TINY, seed=0):
    """An untrained dVAE whose context networks, silent at first, speak too."""
    torch.manual_seed(seed)
    model = DiscreteVAE(settings)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval().requires_grad_(False)


# Pixels and their density


def test_unsqueeze_undoes_squeeze():
    levels = torch.arange(256, dtype=torch.float64) / 255
    assert squeeze(levels)[[0, 255]].tolist() == pytest.approx([0.1, 0.9])
    torch.testing.assert_close(unsqueeze(torch.logit(squeeze(levels))), levels)
    assert unsqueeze(torch.tensor([-9.0, 9.0])).tolist() == [0, 1]  # beyond what a pixel can be


@pytest.mark.parametrize(("mu", "scale"), [(0.0, 0.9), (1.5, 0.5), (-3.0, 0.1)])
def test_the_logit_laplace_density_integrates_to_one(mu, scale):
    num = 400_000
    x = (torch.arange(num, dtype=torch.float64) + 0.5) / num
    images = (x - 0.1) / 0.8  # as if there were pixels for all of (0, 1)
    nats = logit_laplace(images, torch.tensor(mu), torch.tensor(scale, dtype=torch.float64).log())
    assert torch.exp(-nats).mean().item() == pytest.approx(1, abs=1e-3)


def test_logit_laplace_is_the_papers_equation():
    for pixel, mu, log_scale in [(0.0, 0.3, -1.0), (0.25, -2.0, 0.5), (1.0, 2.5, 0.0)]:
        x, b = 0.8 * pixel + 0.1, exp(log_scale)
        density = exp(-abs(log(x) - log1p(-x) - mu) / b) / (2 * b * x * (1 - x))
        nats = logit_laplace(*(torch.tensor(value, dtype=torch.float64) for value in (pixel, mu, log_scale)))
        assert nats.item() == pytest.approx(-log(density))


# The codes


def test_kl_is_zero_for_uniform_codes_and_ln_k_for_certain_ones():
    assert kl_to_uniform(torch.full((2, 7, 3, 3), 5.0)).item() == pytest.approx(0, abs=1e-6)
    certain = torch.zeros(2, 7, 3, 3)
    certain[:, 4] = 1e4
    assert kl_to_uniform(certain).item() == pytest.approx(log(7))


def test_kl_is_torchs_and_a_mean_over_cells():
    logits = noise(2, 7, 3, 3)
    reference = kl_divergence(Categorical(logits=logits.movedim(1, -1)), Categorical(logits=torch.zeros(7)))
    torch.testing.assert_close(kl_to_uniform(logits), reference.mean())


def test_cold_gumbel_codes_are_one_hot_and_as_frequent_as_their_softmax():
    logits = torch.tensor([2.0, 0.0, 1.0, -1.0])
    codes = gumbel_softmax(logits.view(1, 4, 1, 1).expand(1, 4, 200, 200), 1e-3, torch.Generator().manual_seed(0))
    assert (codes.amax(1) > 0.999).float().mean() > 0.99
    torch.testing.assert_close(codes.mean((0, 2, 3)), logits.softmax(0), atol=0.01, rtol=0)


def test_hot_gumbel_codes_are_even_and_all_of_them_sum_to_one():
    logits = noise(2, 7, 5, 5)
    assert abs(gumbel_softmax(logits, 1e4, torch.Generator()) - 1 / 7).max() < 1e-3
    torch.testing.assert_close(gumbel_softmax(logits, 0.5, torch.Generator()).sum(1), torch.ones(2, 5, 5))


def test_perplexity_counts_the_codes_in_use():
    same, even = torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 4, 4)
    same[:, 3] = 1
    for cell in range(16):
        even[0, cell % 8, cell // 4, cell % 4] = 1
    assert perplexity(same).item() == pytest.approx(1)
    assert perplexity(even).item() == pytest.approx(8)


# The network


def test_before_training_the_context_is_silent():
    encoder, decoder = Encoder(TINY), Decoder(TINY)
    x, codes = noise(2, 3, 16, 16), noise(2, 12, 4, 4).softmax(1)
    assert torch.equal(encoder(x), encoder.interface(x))
    mu, log_scale = decoder(codes)
    assert torch.equal(mu, decoder.interface(codes))
    assert not log_scale.any()


def test_the_scale_has_a_lower_bound():
    codes = noise(2, 12, 4, 4).softmax(1)
    _, free = lively(TINY.model_copy(update={"min_log_scale": -99.0})).decoder(codes)
    _, bounded = lively(TINY.model_copy(update={"min_log_scale": 0.05})).decoder(codes)
    assert free.min() < 0.05 < free.max()
    torch.testing.assert_close(bounded, free.clamp(min=0.05))


def test_a_cell_sees_as_many_cells_away_as_there_are_blocks():
    model, pixels = lively(), to_float(pictures(1, size=32))
    changed = pixels.clone()
    changed[..., 12:16, 12:16] = 1 - changed[..., 12:16, 12:16]  # the cell (3, 3) of 8 × 8
    rows, columns = torch.nonzero((model.logits(pixels) != model.logits(changed)).any(1)[0], as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 5, 1, 5)


def test_codes_are_the_likeliest_and_pictures_the_locations():
    model, pixels = lively(), pictures(3)
    codes = encode_pictures(model, pixels)
    assert codes.dtype == np.uint16
    assert np.array_equal(codes, model.logits(to_float(pixels)).argmax(1))
    one_hot = torch.eye(12)[codes.astype(int)].permute(0, 3, 1, 2)
    expected = 255 * ((torch.sigmoid(model.decoder(one_hot)[0]) - 0.1) / 0.8).clamp(0, 1).permute(0, 2, 3, 1)
    assert abs(decode_codes(model, codes) - expected.numpy()).max() < 0.51


def test_a_picture_does_not_depend_on_those_beside_it():
    model, pixels = lively(), pictures(70)  # more than pass through together
    codes = encode_pictures(model, pixels)
    assert len(np.unique(codes)) > 4
    decoded = decode_codes(model, codes)
    for one in (0, 63, 64, 69):
        assert np.array_equal(encode_pictures(model, pixels[one : one + 1])[0], codes[one])
        alone = decode_codes(model, codes[one : one + 1])[0]
        assert abs(alone.astype(int) - decoded[one]).max() <= 1  # one level: sums in another order


def test_flat_codes_are_the_same_pictures():
    model, codes = lively(), np.random.default_rng(0).integers(0, 12, (3, 4, 4)).astype(np.uint16)
    assert np.array_equal(decode_codes(model, codes.reshape(3, 16)), decode_codes(model, codes))


def test_a_saved_dvae_comes_back(tmp_path):
    for name, seed in (("weights", 0), ("start", 1)):
        save_file(lively(seed=seed).state_dict(), tmp_path / f"{name}.safetensors")
    (tmp_path / "model.json").write_text(TINY.model_dump_json())
    for name, seed in (("weights", 0), ("start", 1)):
        loaded, saved = load_dvae(tmp_path, name), lively(seed=seed)
        assert all(torch.equal(value, saved.state_dict()[key]) for key, value in loaded.state_dict().items())
        assert np.array_equal(encode_pictures(loaded, pictures(5)), encode_pictures(saved, pictures(5)))
        assert not loaded.training
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


# The stage


def test_temperature_falls_by_half_a_cosine():
    settings = TINY.model_copy(update={"temperature": (1.0, 0.0625)})
    assert [temperature(settings, step) for step in (0, 2, 4)] == pytest.approx([1, 0.53125, 0.0625])
    assert temperature(settings, 1) == pytest.approx(0.0625 + 0.9375 * (1 + 0.5**0.5) / 2)


def test_both_cosines_lead_temperature_and_kl_weight():
    for cosine, left in (("half", 0.5), ("quarter", 0.5**0.5)):
        steps = Optimisation(steps=100, cosine=cosine)
        settings = TINY.model_copy(update={"temperature": (1.0, 0.0625), "optimisation": steps})
        assert temperature(settings, 50) == pytest.approx(0.0625 + 0.9375 * left)
        assert kl_weight(settings, 5) == pytest.approx(6.6 * (1 - left))
        assert (temperature(settings, 100), kl_weight(settings, 10)) == pytest.approx((0.0625, 6.6))


def test_the_kl_weight_rises_in_the_first_tenth_and_stays():
    longer = TINY.model_copy(update={"optimisation": Optimisation(steps=100)})
    weights = [kl_weight(longer, step) for step in (0, 5, 10, 60, 100)]
    assert weights == pytest.approx([0, 3.3, 6.6, 6.6, 6.6])


def test_the_papers_schedules_end_long_before_the_training_does():
    paper = DVAE(
        architecture="published",
        start="random",
        temperature=(1.0, 0.0625),
        temperature_updates=150_000,
        kl_weight=6.6,
        kl_updates=5_000,
        optimisation=Optimisation(steps=3_000_000),
    )
    steps = (0, 75_000, 150_000, 2_999_999)
    assert [temperature(paper, step) for step in steps] == pytest.approx([1, 0.53125, 0.0625, 0.0625])
    assert [kl_weight(paper, step) for step in (0, 2_500, 5_000, 2_999_999)] == pytest.approx([0, 3.3, 6.6, 6.6])


def test_the_loss_is_nats_and_kl_of_a_subpixel():
    stage = DVAEStage(lively(), torch.from_numpy(pictures(6)).permute(0, 3, 1, 2), TINY)
    chosen, images = torch.tensor([4, 0]), to_float(pictures(6))[[4, 0]]
    for step, weight in ((0, 0.0), (4, 6.6)):
        loss, scalars = stage(chosen, step, torch.Generator().manual_seed(7))
        logits = stage.model.logits(images)
        relaxed = gumbel_softmax(logits, temperature(TINY, step), torch.Generator().manual_seed(7))
        nats = logit_laplace(images, *stage.model.decoder(relaxed)).mean()
        torch.testing.assert_close(
            scalars, {"subpixel_nats": nats, "kl": kl_to_uniform(logits), "perplexity": perplexity(logits)}
        )
        torch.testing.assert_close(
            loss, nats + weight * kl_to_uniform(logits) * 16 / 768
        )  # 16 cells, 768 subpixels a picture


# Training

LEARNING = DVAE(
    codes=64,
    width=64,
    blocks=1,
    optimisation=Optimisation(steps=120, batch_size=8, learning_rate=1e-2, warmup=10, ema=0.9),
)


def write_pictures(path, pixels):
    rows = pd.DataFrame({"prompt_id": range(len(pixels)), "candidate": 0, "caption": "", "scene": ""})
    write_archive(path, rows, pixels)
    return path


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """The dVAE that was trained on two archives of four pictures, and the pictures."""
    folder = tmp_path_factory.mktemp("dvae")
    clouds = F.interpolate(noise(8, 3, 9, 9), size=64, mode="bicubic")
    pixels = to_uint8(torch.sigmoid(1.5 * clouds))
    archives = [write_pictures(folder / f"{name}.parquet", pixels[4 * name : 4 * name + 4]) for name in (0, 1)]
    train_dvae(archives, folder / "dvae", LEARNING, 0)
    return folder / "dvae", pixels


def squared_error(folder, weights, pixels):
    dvae = load_dvae(folder, weights)
    return ((decode_codes(dvae, encode_pictures(dvae, pixels)).astype(float) - pixels) ** 2).mean()


def test_eight_pictures_are_learnt(learnt):
    folder, pixels = learnt
    before, after = (squared_error(folder, weights, pixels) for weights in ("start", "weights"))
    assert after < before / 5
    log_file = pd.read_csv(folder / "log.csv")
    assert log_file["subpixel_nats"].iloc[-1] < log_file["subpixel_nats"].iloc[0] - 0.2
    assert log_file["perplexity"].iloc[-1] > 32  # no collapse: half of the codes are in use


def test_the_start_is_the_untrained_dvae(learnt):
    folder, pixels = learnt
    start = start_dvae(torch.from_numpy(pixels).permute(0, 3, 1, 2), LEARNING, 0).state_dict()
    saved = load_file(folder / "start.safetensors")
    assert saved.keys() == start.keys()
    assert all(torch.equal(saved[name], start[name]) for name in start)
    assert DVAE.model_validate_json((folder / "model.json").read_text()) == LEARNING


def test_a_random_start_follows_from_the_seed_and_does_not_look_at_pictures():
    pixels = torch.from_numpy(pictures(4)).permute(0, 3, 1, 2)
    first, again, other = (start_dvae(p, TINY, seed) for p, seed in ((pixels, 0), (1 - pixels, 0), (pixels, 1)))
    assert all(torch.equal(one, same) for one, same in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.encoder.interface.weight, other.encoder.interface.weight)


class Elsewhere(torch.nn.Module):
    """A dVAE on a device that does not calculate: it wants its input there, and answers from the CPU."""

    downsample = 4

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1, device="meta"))

    def encode(self, images):
        assert images.device.type == "meta"
        return torch.full((len(images), 2, 2), 7)

    def decode(self, grids):
        assert grids.device.type == "meta"
        return torch.full((len(grids), 3, 8, 8), 0.2)


def test_pictures_and_codes_go_where_the_dvae_is():
    codes = encode_pictures(Elsewhere(), np.zeros((3, 8, 8, 3), np.uint8))
    assert codes.dtype == np.uint16 and (codes == 7).all()
    assert (decode_codes(Elsewhere(), codes) == 51).all()


def test_an_archive_becomes_its_codes(learnt, tmp_path):
    folder, _ = learnt
    write_codes(folder, folder.parent / "1.parquet", tmp_path / "codes" / "train.npy", tmp_path / "store")
    codes = np.load(tmp_path / "codes" / "train.npy", mmap_mode="r")
    assert isinstance(codes, np.memmap)
    assert codes.dtype == np.uint16
    assert np.array_equal(codes, encode_pictures(load_dvae(folder), read_archive(folder.parent / "1.parquet")[1]))


def test_codes_are_kept_by_the_content_of_pictures_and_dvae(learnt, tmp_path):
    folder, archive, store = learnt[0], learnt[0].parent / "1.parquet", tmp_path / "store"
    write_codes(folder, archive, tmp_path / "first.npy", store)
    (kept,) = store.iterdir()
    grids = np.load(kept)
    np.save(kept, grids + 1)  # who finds this has not encoded
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    write_codes(elsewhere, shutil.copy(archive, tmp_path / "other.parquet"), tmp_path / "second.npy", store)
    assert np.array_equal(np.load(tmp_path / "second.npy"), grids + 1)
    write_codes(folder, folder.parent / "0.parquet", tmp_path / "third.npy", store)
    shutil.copy(folder / "start.safetensors", elsewhere / "weights.safetensors")
    write_codes(elsewhere, archive, tmp_path / "fourth.npy", store)
    assert len(list(store.iterdir())) == 3


@pytest.mark.parametrize(("sizes", "says"), [((16, 20), r"\[\(16, 16\), \(20, 20\)\]"), ((18, 18), r"\[\(18, 18\)\]")])
def test_pictures_that_do_not_fit_are_refused(tmp_path, sizes, says):
    archives = [write_pictures(tmp_path / f"{number}", pictures(2, size)) for number, size in enumerate(sizes)]
    with pytest.raises(ValueError, match=f"dvae: pictures of sizes {says}; allowed is one size, .* multiples of 4"):
        train_dvae(archives, tmp_path / "dvae", TINY, 0)
    assert not (tmp_path / "dvae").exists()
