"""The transformer sees what it may see, predicts every token once, and comes back from its files as it was."""

import pytest
import torch
from safetensors.torch import save_file

from dalle.models.transformer import Shape, Transformer, load_transformer, write_shape

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


def test_files_give_back_the_same_model(tmp_path):
    model = make().float()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    write_shape(tmp_path / "model.json", model.shape, validation={"pairs": 0})
    again = load_transformer(tmp_path)
    assert again.shape == SHAPE
    assert not again.training
    for one, other in zip(model(*tokens()), again(*tokens()), strict=True):
        assert torch.equal(one, other)
