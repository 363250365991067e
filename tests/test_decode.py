"""The cached decode against the full forward pass: every kind of layer, many grids; nothing forgotten too early."""

import pytest
import torch

from dalle.models.transformer import Shape, Transformer
from dalle.sampling import decode
from dalle.sampling.decode import Decoder, on_device


def make(depth, grid=6, kernel=5, width=16, **choices):
    torch.manual_seed(0)
    shape = Shape(width, 2, depth, kernel, text_context=5, text_vocab=11, grid=grid, codes=13, **choices)
    model = Transformer(shape)
    torch.nn.init.normal_(model.image_head.weight, std=0.3)
    return model.eval()


TEXT = torch.tensor([[3, 1, 7, 14, 15], [2, 2, 9, 4, 15]])


def stepwise(decoder, text, codes):
    """The logits of every cell, given the codes before it: rows cells classes."""
    decoder.prefill(text)
    logits = []
    for cell, these in enumerate(codes.T):
        logits.append(decoder.logits().clone())
        decoder.put(cell, these)
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize("captions", [1, 2])
@pytest.mark.parametrize(
    ("depth", "grid", "kernel"),
    [(1, 6, 5), (2, 6, 5), (3, 6, 5), (5, 8, 11), (3, 7, 3), (3, 3, 3), (3, 4, 2), (3, 5, 1), (2, 1, 11), (3, 2, 3)],
)
@torch.inference_mode()
def test_cached_steps_give_the_logits_of_the_full_forward(depth, grid, kernel, captions):
    model, text = make(depth, grid, kernel), TEXT[:captions]
    codes = torch.randint(13, (captions * 4, grid * grid))
    _, expected = model(text.repeat_interleave(4, dim=0), codes)
    torch.testing.assert_close(stepwise(Decoder(model, captions, 4), text, codes), expected, rtol=0, atol=1e-5)


CHOICES = [
    {"conv_wrap": "clamp"},
    {"start_tokens": "first_slot"},
    {"start_of_image_position": True},
    {"start_tokens": "first_slot", "start_of_image_position": True},
    {"norm": "sandwich"},
    {"activation": "gelu"},
    {"activation": "quick_gelu"},
]


def lively(**choices):
    """A model that each choice makes another one: what is 1 or 0 at first is random."""
    model = make(3, **choices)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: "-".join(map(str, choices.values())))
@pytest.mark.parametrize("packable", [True, False])
@torch.inference_mode()
def test_cached_steps_follow_every_choice_where_the_paper_is_silent(choices, packable, monkeypatch):
    monkeypatch.setattr(decode, "_is_packable", lambda weight: packable and torch.backends.mkldnn.is_available())
    model, codes = lively(**choices), torch.randint(13, (8, 36))
    _, expected = model(TEXT.repeat_interleave(4, dim=0), codes)
    torch.testing.assert_close(stepwise(Decoder(model, 2, 4), TEXT, codes), expected, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_the_papers_grid_in_narrow_layers():
    model, codes = make(3, grid=32, kernel=11), torch.randint(13, (4, 1024))
    _, expected = model(TEXT[:1].expand(4, -1), codes)
    torch.testing.assert_close(stepwise(Decoder(model, 1, 4), TEXT[:1], codes), expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_decoder_forgets_the_last_captions():
    model, codes = make(3), torch.randint(13, (8, 36))
    used = Decoder(model, 2, 4)
    stepwise(used, TEXT.flip(0), codes.flip(1))
    assert torch.equal(stepwise(used, TEXT, codes), stepwise(Decoder(model, 2, 4), TEXT, codes))


@torch.inference_mode()
def test_candidates_do_not_see_each_other_nor_other_captions():
    model, codes = make(3), torch.randint(13, (8, 36))
    others = codes.clone()
    others[1:] = (others[1:] + 5) % 13
    decoder = Decoder(model, 2, 4)
    alone = stepwise(decoder, TEXT, codes)[0]
    assert torch.equal(alone, stepwise(decoder, TEXT, others)[0])
    assert torch.equal(alone, stepwise(decoder, TEXT[[0, 0]], codes)[0])


@torch.inference_mode()
def test_a_step_takes_no_new_memory_for_what_is_remembered():
    """Every tensor of a decoder lies where it lay, and none is replaced."""
    decoder = Decoder(make(5, grid=4), 2, 4)

    def tensors(thing):
        return {name: value.data_ptr() for name, value in vars(thing).items() if isinstance(value, torch.Tensor)}

    def places():
        caches = [tensors(layer.cache) for layer in decoder.layers]
        return [tensors(decoder), tensors(decoder.layers[0].space), *caches]

    decoder.prefill(TEXT)
    before = places()
    for cell in range(16):
        decoder.put(cell, torch.full((8,), cell % 13))
        decoder.logits()
        assert places() == before


@torch.inference_mode()
def test_without_packed_weights_the_logits_are_the_same(monkeypatch):
    """The road of machines without oneDNN."""
    model, codes = make(5), torch.randint(13, (8, 36))
    packed = stepwise(Decoder(model, 2, 4), TEXT, codes)
    monkeypatch.setattr(decode, "_is_packable", lambda weight: False)
    torch.testing.assert_close(stepwise(Decoder(model, 2, 4), TEXT, codes), packed, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_bfloat16_blocks_stay_close_to_float32():
    """The road of a GPU, taken on the CPU: matrices in bfloat16, the stream, the softmax and the logits in float32."""
    codes = torch.randint(13, (8, 36))
    expected = stepwise(Decoder(make(3), 2, 4), TEXT, codes)
    model = make(3)
    for block in model.blocks:
        for matrix in (block.qkv, block.out, block.up, block.down):
            matrix.bfloat16()
    logits = stepwise(Decoder(model, 2, 4), TEXT, codes)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, expected)
    torch.testing.assert_close(logits, expected, rtol=0, atol=0.05)


def test_on_the_cpu_a_model_stays_in_float32():
    model = on_device(make(3), torch.device("cpu"))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
