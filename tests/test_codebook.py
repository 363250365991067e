"""The codebook a dVAE starts from: codes are found as a slow search would, and rare content has codes of its own."""

import numpy as np
import pytest
import torch

from dalle.config.models import DVAE
from dalle.models import codebook as codebook_module
from dalle.models.codebook import BRIGHTNESS, _cluster, kmeans_patches, perceived, start_from_patches
from dalle.models.dvae import DiscreteVAE, squeeze, unsqueeze

SETTINGS = DVAE(codes=24, width=8, blocks=1)


@pytest.fixture(scope="module")
def pixels():
    """Grey cells of every brightness; in one of twelve lies a bar of some colour."""
    rng = np.random.default_rng(0)
    grounds = np.kron(rng.integers(20, 236, (60, 8, 8, 1)), np.ones((8, 8, 1))) + rng.normal(0, 8, (60, 64, 64, 1))
    pictures = np.repeat(grounds, 3, axis=-1)
    for picture, row, column in np.argwhere(rng.random((60, 8, 8)) < 1 / 12):
        start = 8 * column + rng.integers(6)
        pictures[picture, 8 * row : 8 * row + 8, start : start + 3] = rng.integers(0, 256, 3)
    return torch.from_numpy(pictures.clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def model(pixels):
    model = DiscreteVAE(SETTINGS).requires_grad_(False)
    start_from_patches(model, pixels, seed=0)
    return model


def patches_of(pixels):
    """Every 8 × 8 patch as logits of squeezed pixels, one after the other: [picture, row, column, 3, 8, 8]."""
    logits = torch.logit(squeeze(pixels.double() / 255))
    rows = [torch.stack([logits[..., y : y + 8, x : x + 8] for x in range(0, 64, 8)], 1) for y in range(0, 64, 8)]
    return torch.stack(rows, 1)


def codebook(model):
    """The patch that the decoder lays for every code."""
    one_hot = torch.eye(model.num_codes)[..., None, None]
    return model.decoder(one_hot)[0].double()


def test_brightness_is_turned_down_and_hue_is_not():
    grey, hue = torch.full((1, 12), 2.0), torch.tensor([[1.0] * 4 + [-3.0] * 4 + [2.0] * 4])
    torch.testing.assert_close(perceived(grey), BRIGHTNESS * grey)
    torch.testing.assert_close(perceived(hue), hue)
    torch.testing.assert_close(perceived(grey + hue), BRIGHTNESS * grey + hue)


def test_the_inverse_brightness_undoes_it():
    patches = torch.randn(20, 192, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(perceived(perceived(patches), 1 / BRIGHTNESS), patches)
    assert not torch.allclose(perceived(patches), patches)


def test_at_the_start_a_cells_code_is_its_nearest_patch(pixels, model):
    """In the perceived space, by a search over all codes; ties within the rounding of float32 are as good."""
    own, codes = perceived(patches_of(pixels[:6]).flatten(3).flatten(0, 2)), perceived(codebook(model).flatten(1))
    distances = ((own[:, None] - codes) ** 2).sum(-1)
    chosen = model.encode(pixels[:6] / 255).flatten()
    assert len(chosen.unique()) > 12
    assert (distances.gather(1, chosen[:, None])[:, 0] - distances.min(1).values).max() < 1e-3
    plain = ((patches_of(pixels[:6]).flatten(3).flatten(0, 2)[:, None] - codebook(model).flatten(1)) ** 2).sum(-1)
    assert (plain.argmin(1) != chosen).float().mean() > 0.02  # the space makes a difference


def test_at_the_start_a_picture_is_laid_of_its_codes_patches(pixels, model):
    codes = model.encode(pixels[:2] / 255)
    laid = unsqueeze(codebook(model))[codes]  # [picture, row, column, 3, 8, 8]
    expected = laid.permute(0, 3, 1, 4, 2, 5).reshape(2, 3, 64, 64)
    torch.testing.assert_close(model.decode(codes).double(), expected)


def test_rare_content_gets_codes_of_its_own(pixels, monkeypatch):
    """Nine patches of ten are grey. Means of patches drawn by chance lay the others with much larger errors."""
    monkeypatch.setattr(codebook_module, "PATCHES", 500)
    patches = patches_of(pixels).flatten(3).flatten(0, 2).float()
    brightness = patches.view(-1, 3, 64).mean(1).repeat(1, 3)
    rare = perceived(patches[(patches - brightness).abs().mean(1) > 0.1])
    assert len(patches) / 20 < len(rare) < len(patches) / 8

    def error(codes):
        return torch.cdist(rare, perceived(codes)).square().min(1).values.mean()

    by_chance = perceived(patches[torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))[:500]])
    plain = torch.from_numpy(_cluster(by_chance.numpy(), 64, seed=0).cluster_centers_)
    assert error(kmeans_patches(pixels, 8, 64, seed=0)) < 0.7 * error(perceived(plain, 1 / BRIGHTNESS))


def test_the_codebook_follows_from_the_seed(pixels):
    assert torch.equal(kmeans_patches(pixels, 8, 24, seed=3), kmeans_patches(pixels, 8, 24, seed=3))
    assert not torch.equal(kmeans_patches(pixels, 8, 24, seed=3), kmeans_patches(pixels, 8, 24, seed=4))


def test_more_codes_than_patches_are_an_error(pixels):
    with pytest.raises(ValueError, match="129 codes cannot be made of 128 patches"):
        kmeans_patches(pixels[:2], 8, 129, seed=0)
    assert len(kmeans_patches(pixels[:2], 8, 128, seed=0)) == 128
