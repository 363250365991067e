"""The transformer sees what it may see, predicts every token once, and comes back from its files as it was."""

import pytest
import torch
from safetensors.torch import save_file

from dalle.config.models import Prior
from dalle.models.transformer import ACTIVATIONS, Shape, Transformer, load_transformer, prior_shape, write_shape

SHAPE = Shape(width=16, heads=2, depth=3, conv_kernel=3, text_context=5, text_vocab=11, grid=4, codes=13)


def make(**changes):
    """A small model in float64 with large heads, so that every input has a visible influence."""
    torch.manual_seed(0)
    model = Transformer(Shape(**vars(SHAPE) | changes)).double()
    for head in (model.text_head, model.image_head):
        torch.nn.init.normal_(head.weight, std=0.1)
    return model


def tokens(batch=2):
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(SHAPE.text_vocab, (batch, SHAPE.text_context), generator=generator)
    return text, torch.randint(SHAPE.codes, (batch, SHAPE.cells), generator=generator)


def test_both_vocabularies_have_their_logits_and_begin_nearly_uniform():
    text_logits, image_logits = Transformer(SHAPE)(*tokens())
    assert text_logits.shape == (2, 5, 12)
    assert image_logits.shape == (2, 16, 13)
    assert max(text_logits.abs().max(), image_logits.abs().max()) < 0.5


def test_a_text_token_changes_only_what_comes_after_it():
    model, (text, codes) = make(), tokens()
    before = model(text, codes)
    text[:, 2] = (text[:, 2] + 1) % SHAPE.text_vocab
    after = model(text, codes)
    assert torch.equal(before[0][:, :3], after[0][:, :3])
    assert (before[0][:, 3:] != after[0][:, 3:]).any(-1).all()
    assert (before[1] != after[1]).any(-1).all()


@pytest.mark.parametrize("cell", [0, 6, 15])
def test_a_code_changes_only_later_codes_and_never_the_text(cell):
    model, (text, codes) = make(), tokens()
    before = model(text, codes)
    codes[:, cell] = (codes[:, cell] + 1) % SHAPE.codes
    after = model(text, codes)
    assert torch.equal(before[0], after[0])
    changed = (before[1] != after[1]).any(-1).all(0)
    assert not changed[: cell + 1].any()
    assert changed[cell + 1 : cell + 2].all()


def test_a_single_conv_layer_sees_its_kernel_and_nothing_else():
    """Through the gradient: the logits of cell q + 1 depend on the codes that cell q sees."""
    model, (text, codes) = make(depth=1), tokens(batch=1)
    embedded = []
    model.code.register_forward_hook(lambda _module, _inputs, output: embedded.append(output) or output.retain_grad())
    model(text, codes)[1][0, 11].sum().backward()
    reached = embedded[0].grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert reached == [5, 6, 7, 9, 10]  # cell 10 on a grid of 4, kernel 3: row above and itself, from left to right


def test_each_pad_has_its_own_embedding_and_all_pads_one_class():
    model = make()
    assert len(model.text.weight) == SHAPE.text_vocab + SHAPE.text_context
    assert model.text_head.out_features == SHAPE.text_vocab + 1


def test_the_papers_transformer_has_twelve_billion_parameters():
    paper = Shape(3968, 62, 64, 11, text_context=256, text_vocab=16_384, grid=32, codes=8192)
    with torch.device("meta"):
        model = Transformer(Shape(**vars(paper) | {"depth": 1}))
    matrices = sum(p.numel() for p in model.blocks[0].parameters() if p.ndim == 2)
    assert 64 * matrices == 64 * 12 * 3968**2 == 12_092_178_432


def test_the_residual_stream_does_not_grow_with_depth():
    sizes = []
    for depth in (2, 24):
        model, stream = make(depth=depth, width=64), []
        model.blocks[-1].register_forward_hook(lambda _module, _inputs, output, stream=stream: stream.append(output))
        model(*tokens())
        sizes.append(stream[0].std().item())
    assert sizes[1] == pytest.approx(sizes[0], rel=0.25)


CHOICES = {
    "conv_wrap": ["raster", "clamp"],
    "start_tokens": ["extra", "first_slot"],
    "start_of_image_position": [False, True],
    "norm": ["pre", "sandwich"],
    "activation": ["gelu_tanh", "gelu", "quick_gelu"],
}
ALL = [(name, value) for name, values in CHOICES.items() for value in values]


def random_weights(model):
    """Every parameter random, so that every one has an influence; drawn by name: models share what they share."""
    for name, parameter in model.named_parameters():
        generator = torch.Generator().manual_seed(len(name) + sum(name.encode()))
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) / 4
    return model


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_is_another_function(name):
    models = [random_weights(make(**{name: value})) for value in CHOICES[name]]
    outputs = [model(*tokens())[1] for model in models]
    for number, one in enumerate(outputs):
        for other in outputs[:number]:
            assert (one - other).abs().max() > 1e-5


@pytest.mark.parametrize(("name", "value"), ALL, ids=str)
def test_under_no_choice_the_future_leaks(name, value):
    """By the gradient: the logits of a cell depend on no code of it or after it, those of the text on none at all."""
    model, (text, codes) = random_weights(make(**{name: value})), tokens(batch=1)
    embedded = []
    model.code.register_forward_hook(lambda _module, _inputs, output: embedded.append(output) or output.retain_grad())
    text_logits, image_logits = model(text, codes)
    for cell in (0, 5, 15):
        embedded[0].grad = None
        image_logits[0, cell].sum().backward(retain_graph=True)
        reached = embedded[0].grad[0].abs().sum(-1) > 0
        assert not reached[cell:].any()
        assert reached[:cell].any() == (cell > 0)
    embedded[0].grad = None
    text_logits.sum().backward()
    assert embedded[0].grad is None or not embedded[0].grad.any()


def test_the_activations_are_what_they_are_called():
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    normal, root = torch.distributions.Normal(0, 1), (2 / torch.pi) ** 0.5
    torch.testing.assert_close(ACTIVATIONS["gelu"](x), x * normal.cdf(x))
    torch.testing.assert_close(ACTIVATIONS["gelu_tanh"](x), x / 2 * (1 + torch.tanh(root * (x + 0.044715 * x**3))))
    torch.testing.assert_close(ACTIVATIONS["quick_gelu"](x), x / (1 + torch.exp(-1.702 * x)))
    assert ACTIVATIONS.keys() == set(CHOICES["activation"])


def test_start_of_text_in_the_first_slot_leaves_the_caption_one_less():
    """256 positions of text and 1,024 of the image: with the start in the first slot the paper's 1,280 inputs."""
    extra, slot = (prior_shape(Prior(start_tokens=start), 256, 99, 32, 8) for start in ("extra", "first_slot"))
    assert (extra.text_context, slot.text_context) == (256, 255)
    assert slot.prefix + slot.cells - 1 == 1280 == extra.prefix + extra.cells - 2
    with torch.device("meta"):
        assert len(Transformer(slot).position.weight) == len(Transformer(extra).position.weight) == 256
    with pytest.raises(ValueError, match=r"tokenizer\.context: 1; with prior\.start_tokens: first_slot 2 and more"):
        prior_shape(Prior(start_tokens="first_slot"), 1, 99, 4, 8)


def test_positions_go_to_the_starts_that_have_one():
    """Each row of the table moves the logits from its own place on."""
    model = random_weights(make(start_tokens="first_slot", start_of_image_position=True))
    text, codes = tokens(batch=1)
    assert len(model.position.weight) == SHAPE.text_context + 2
    kept, before = model.position.weight.detach().clone(), torch.cat([part[0, :, :12] for part in model(text, codes)])
    for place in range(SHAPE.text_context + 2):
        model.position.weight.data = kept.index_add(0, torch.tensor([place]), kept[:1].flip(1))
        after = torch.cat([part[0, :, :12] for part in model(text, codes)])
        changed = (after != before).any(-1)
        first = min(place, SHAPE.text_context)  # nothing is learnt where the last token stands
        assert not changed[:first].any()
        assert changed[first:].all()


def test_a_sandwich_is_a_norm_more_at_the_end_of_each_branch():
    model = random_weights(make(norm="sandwich"))
    block, x = model.blocks[0], torch.randn(1, 21, 16, dtype=torch.float64)
    heads = torch.randn(1, 2, 21, 8, dtype=torch.float64)
    attended = block.norm1_after(block.out(heads.transpose(1, 2).flatten(2)))
    middle = x + attended
    mlp = block.down(torch.nn.functional.gelu(block.up(block.norm2(middle)), approximate="tanh"))
    torch.testing.assert_close(block.merge(x, heads), middle + block.norm2_after(mlp))


# What the training loop asks of it


def test_branches_are_attention_and_mlp_of_each_block_and_have_all_its_weights_once():
    for norm in CHOICES["norm"]:
        model = make(norm=norm)
        assert len(model.branches) == 2 * SHAPE.depth
        of_blocks = [id(parameter) for parameter in model.blocks.parameters()]
        assert sorted(of_blocks) == sorted(id(parameter) for branch in model.branches for parameter in branch)
        assert all(any(p is model.blocks[1].qkv.weight for p in model.branches[at]) == (at == 2) for at in range(6))


def gradients(model):
    text_logits, image_logits = model(*tokens())
    (text_logits.square().sum() + image_logits.square().sum()).backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return found


def test_blocks_that_are_computed_again_learn_the_same():
    model = random_weights(make())
    kept = gradients(model)
    model.checkpointing = True
    again = gradients(model)
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_scaled_branches_have_scaled_gradients_of_their_weights_and_true_ones_of_all_else():
    model = random_weights(make().float())
    with torch.autocast("cpu", torch.bfloat16):  # float16 has no LayerNorm of mixed types on every CPU
        plain = gradients(model)
        model.scales = torch.tensor([2.0**number for number in range(1, 2 * SHAPE.depth + 1)])
        scaled = gradients(model)
    owner = {id(parameter): number for number, branch in enumerate(model.branches) for parameter in branch}
    for name, parameter in model.named_parameters():
        scale = 2.0 ** (owner[id(parameter)] + 1) if id(parameter) in owner else 1.0
        off = (scaled[name] / scale - plain[name]).norm() / plain[name].norm()
        assert off < 0.1, name


def test_logits_are_float32_under_autocast():
    model = make().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert {logits.dtype for logits in model(*tokens())} == {torch.float32}


def test_the_first_code_is_learnt_by_the_image_head():
    """ru-dalle's third version trains it by the head of the text: the image head's gradient there is zero."""
    model, (text, codes) = make(), tokens()
    _, image_logits = model(text, codes)
    torch.nn.functional.cross_entropy(image_logits[:, 0], codes[:, 0]).backward()
    assert model.image_head.weight.grad.abs().sum() > 0
    assert model.text_head.weight.grad is None


def test_files_give_back_the_same_model(tmp_path):
    model = make().float()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    write_shape(tmp_path / "model.json", model.shape, validation={"pairs": 0})
    again = load_transformer(tmp_path)
    assert again.shape == SHAPE
    assert not again.training
    for one, other in zip(model(*tokens()), again(*tokens()), strict=True):
        assert torch.equal(one, other)
