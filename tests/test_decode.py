"""The cached decode against the full forward pass, for every kind of layer."""

import pytest
import torch

from dalle.models.transformer import Shape, Transformer
from dalle.sampling.decode import Decoder


def make(depth, grid=6, kernel=5):
    torch.manual_seed(0)
    shape = Shape(16, 2, depth, kernel, text_context=5, text_vocab=11, grid=grid, codes=13)
    model = Transformer(shape)
    torch.nn.init.normal_(model.image_head.weight, std=0.3)
    return model.eval()


def stepwise(decoder, text, codes):
    logits = [decoder.prefill(text)]
    for cell in range(codes.shape[1] - 1):
        logits.append(decoder.step(cell, codes[:, cell]))
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize(
    ("depth", "grid", "kernel"),
    [(1, 6, 5), (2, 6, 5), (3, 6, 5), (5, 8, 11), (3, 7, 3), (2, 1, 11)],
    ids=["conv", "row", "row-column", "all-kinds", "conv-with-gaps", "one-cell"],
)
@torch.inference_mode()
def test_cached_steps_give_the_logits_of_the_full_forward(depth, grid, kernel):
    model = make(depth, grid, kernel)
    text, codes = torch.tensor([3, 1, 7, 14, 15]), torch.randint(13, (4, grid * grid))
    _, expected = model(text.expand(4, -1), codes)
    torch.testing.assert_close(stepwise(Decoder(model, 4), text, codes), expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_decoder_forgets_the_last_caption():
    model = make(3)
    first, second = torch.tensor([3, 1, 7, 14, 15]), torch.tensor([2, 2, 9, 4, 15])
    codes = torch.randint(13, (4, 36))
    used = Decoder(model, 4)
    stepwise(used, first, codes.flip(1))
    assert torch.equal(stepwise(used, second, codes), stepwise(Decoder(model, 4), second, codes))


@torch.inference_mode()
def test_candidates_do_not_see_each_other():
    model, text = make(3), torch.tensor([3, 1, 7, 14, 15])
    codes = torch.randint(13, (4, 36))
    others = codes.clone()
    others[1:] = (others[1:] + 5) % 13
    decoder = Decoder(model, 4)
    assert torch.equal(stepwise(decoder, text, codes)[0], stepwise(decoder, text, others)[0])
