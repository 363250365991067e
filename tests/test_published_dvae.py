"""OpenAI's dVAE: the package ``dall-e`` with the same random weights gives the same logits and the same pictures."""

import pytest
import torch
import torch.nn.functional as F
from dall_e import Decoder as TheirDecoder
from dall_e import Encoder as TheirEncoder
from dall_e import map_pixels, unmap_pixels
from torch import nn

from dalle.config.models import DVAE
from dalle.models.published_dvae import Block, PublishedDVAE, PublishedShape
from dalle.systems.dvae import DVAEStage

PAPER = PublishedShape()
NARROW = PublishedShape(codes=512, width=64)  # the least that the package allows
TINY = PublishedShape(codes=16, width=4, code_width=8, blocks=1)


def theirs(shape: PublishedShape, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """The package's two halves with random weights, biases too."""
    torch.manual_seed(seed)
    encoder = TheirEncoder(n_hid=shape.width, vocab_size=shape.codes)
    decoder = TheirDecoder(n_hid=shape.width, vocab_size=shape.codes, n_init=shape.code_width)
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        if name.endswith(".b"):
            nn.init.normal_(parameter, std=0.1)
    return encoder, decoder


def ours(shape: PublishedShape, encoder: nn.Module, decoder: nn.Module) -> PublishedDVAE:
    with torch.device("meta"):
        model = PublishedDVAE(shape)
    names = {"w": "weight", "b": "bias"}
    for half, other in ((model.encoder, encoder), (model.decoder, decoder)):
        state = {name[:-1] + names[name[-1]]: value for name, value in other.state_dict().items()}
        half.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def tiny() -> PublishedDVAE:
    torch.manual_seed(0)
    return PublishedDVAE(TINY).requires_grad_(False)


def pictures(num: int, side: int) -> torch.Tensor:
    return torch.rand(num, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("shape", "side"), [(PAPER, 64), (NARROW, 256)], ids=["paper-64px", "narrow-256px"])
def test_logits_and_reconstructions_are_those_of_the_reference(shape: PublishedShape, side: int) -> None:
    encoder, decoder = theirs(shape)
    model, images = ours(shape, encoder, decoder), pictures(1, side)
    logits = encoder(map_pixels(images))
    assert torch.equal(model.logits(images), logits)
    assert torch.equal(model.encode(images), logits.argmax(1))
    one_hot = F.one_hot(logits.argmax(1), shape.codes).permute(0, 3, 1, 2).float()
    both = decoder(one_hot)
    assert torch.equal(torch.cat(model.decoder(one_hot), dim=1), both)
    torch.testing.assert_close(model.decode(logits.argmax(1)), unmap_pixels(torch.sigmoid(both[:, :3])))


def test_relaxed_codes_are_decoded_as_in_the_reference() -> None:
    encoder, decoder = theirs(NARROW)
    relaxed = torch.randn(2, NARROW.codes, 4, 4, generator=torch.Generator().manual_seed(2)).softmax(1)
    mu, log_scale = ours(NARROW, encoder, decoder).decoder(relaxed)
    assert torch.equal(torch.cat([mu, log_scale], dim=1), decoder(relaxed))


def test_the_papers_halves_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        model = PublishedDVAE()
    counts = [sum(parameter.numel() for parameter in half.parameters()) for half in (model.encoder, model.decoder)]
    assert counts == [53_786_240, 43_829_766]
    assert [len(half.state_dict()) for half in (model.encoder, model.decoder)] == [74, 76]


def test_a_block_adds_one_64th_of_its_branch() -> None:
    with torch.device("meta"):
        model = PublishedDVAE()
    assert {block.gain for block in model.modules() if isinstance(block, Block)} == {1 / 64}
    block = Block(8, 8, (3, 3, 3, 1), gain=1 / 64)
    x = torch.randn(1, 8, 5, 5)
    torch.testing.assert_close(64 * (block(x) - x), block.res_path(x), atol=1e-5, rtol=0)


def test_hard_codes_are_decoded_like_their_one_hot_maps() -> None:
    model, codes = tiny(), torch.randint(16, (2, 3, 5), generator=torch.Generator().manual_seed(0))
    one_hot = F.one_hot(codes, 16).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(model.decoder.locations(codes), model.decoder(one_hot)[0])


def test_weights_begin_with_variance_one_over_fan_in() -> None:
    torch.manual_seed(0)
    first, last = (conv := PublishedDVAE(NARROW).encoder.blocks).input, conv.output.conv
    for layer, fan_in in ((first, 3 * 49), (last, 512)):
        assert layer.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.03)
        assert not layer.bias.any()


def test_the_code_interface_stays_in_float32_under_autocast() -> None:
    model, images = tiny(), pictures(1, 16)
    codes = model.encode(images)
    one_hot = F.one_hot(codes, 16).permute(0, 3, 1, 2).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.logits(images).dtype == torch.float32
        assert model.decoder.blocks.input(one_hot).dtype == torch.float32
        assert model.decoder(one_hot)[0].dtype == torch.bfloat16


def test_pictures_that_the_grid_does_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="24×28 pixels; allowed are sides that are multiples of 8"):
        tiny().logits(pictures(1, 28)[:, :, :24])


# The objective of the dVAE's stage, on this network


def objective(images: torch.Tensor, kl_weight: float) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss and scalars of an update long after the KL weight has risen."""
    settings = DVAE(codes=16, temperature=(1.0, 0.0625), kl_weight=kl_weight)
    stage = DVAEStage(tiny(), (255 * images).to(torch.uint8), settings)
    last = settings.optimisation.steps
    return stage(torch.arange(len(images)), last, torch.Generator().manual_seed(0))


def test_the_kl_weight_is_beta_192ths_of_a_cells_kl() -> None:
    images = (255 * pictures(3, 32)).to(torch.uint8) / 255
    log_q = tiny().logits(images).log_softmax(1)
    summed = (log_q.exp() * (log_q + torch.tensor(16.0).log())).sum() / 3  # nats a picture
    (loss, scalars), (without, _) = (objective(images, kl_weight) for kl_weight in (6.6, 0))
    torch.testing.assert_close(loss - without, 6.6 / (32 * 32 * 3) * summed, rtol=1e-3, atol=0)
    torch.testing.assert_close(loss - without, 0.034375 * scalars["kl"], rtol=1e-3, atol=0)


def test_the_kl_does_not_depend_on_the_batch_size() -> None:
    image = pictures(1, 32)
    alone = objective(image, 6.6)[1]["kl"]
    for batch in (2, 4, 8):
        torch.testing.assert_close(objective(image.expand(batch, -1, -1, -1), 6.6)[1]["kl"], alone)
