"""Attention by windows against dense, masked attention: values, gradients, and what is left undone."""

import pytest
import torch
import torch.nn.functional as F

from dalle.models.attention import context_mask
from dalle.models.sparse_attention import attend, windows
from dalle.models.transformer import Shape, Transformer

KINDS = ("row", "column", "conv")
CPU = torch.device("cpu")


def dense(kind, queries, keys, values, *shape):
    n = queries.shape[2]
    mask = context_mask(kind, *shape)[:n, :n]
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


def values_and_gradients(attention, kind, inputs, *shape):
    inputs = [each.clone().requires_grad_() for each in inputs]
    attended = attention(kind, *inputs, *shape)
    weights = torch.randn(attended.shape, generator=torch.Generator().manual_seed(1))
    return [attended, *torch.autograd.grad((attended * weights).sum(), inputs)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(
    ("prefix", "grid", "conv_kernel", "missing"),
    [(7, 4, 3, 1), (3, 5, 5, 0), (1, 1, 3, 0), (2, 13, 11, 30), (9, 16, 4, 1), (2, 66, 3, 1), (66, 32, 11, 1)],
)
def test_oracle_values_and_gradients_are_those_of_dense_attention(
    kind, prefix, grid, conv_kernel, missing, dtype, tolerance
):
    n, heads = prefix + grid * grid - missing, 2
    inputs = torch.randn(3, 1, heads, n, 8, dtype=dtype, generator=torch.Generator().manual_seed(0)).unbind()
    ours, expected = (values_and_gradients(each, kind, inputs, prefix, grid, conv_kernel) for each in (attend, dense))
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("autocast", [False, True])
def test_oracle_in_bfloat16_values_and_gradients_are_as_near_as_bfloat16_is(kind, autocast):
    """On a CPU by another road than in float32: plain products, whose weights stay bfloat16 under autocast, too."""
    inputs = torch.randn(3, 2, 2, 10 + 256 - 1, 16, generator=torch.Generator().manual_seed(0)).bfloat16().unbind()
    shape = (10, 16, 5)
    kept = []
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
        torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor.dtype) or tensor, lambda given: given
        ),
    ):
        ours = values_and_gradients(attend, kind, inputs, *shape)
    expected = values_and_gradients(dense, kind, [each.double() for each in inputs], *shape)
    for one, other in zip(ours, expected, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one.double() - other).norm() < 0.02 * other.norm()
    assert set(kept) <= {torch.bfloat16, torch.bool, torch.float32} and kept.count(torch.float32) <= 1  # the test's own


@pytest.mark.parametrize(("grid", "conv_kernel"), [(4, 3), (13, 11), (32, 11)])
def test_oracle_a_mask_that_does_not_wrap_gives_what_dense_attention_gives(grid, conv_kernel):
    inputs = torch.randn(3, 1, 2, 6 + grid * grid, 8, generator=torch.Generator().manual_seed(0)).unbind()
    shape = (6, grid, conv_kernel, "clamp")
    ours, expected = (values_and_gradients(each, "conv", inputs, *shape) for each in (attend, dense))
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_oracle_a_transformer_learns_the_same_from_windows_as_from_dense_attention():
    shape = Shape(32, 4, 3, 5, text_context=6, text_vocab=9, grid=24, codes=11)
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(9, (2, 6), generator=generator)
    codes = torch.randint(11, (2, shape.cells), generator=generator)
    found = []
    for attention in ("dense", "windows"):
        torch.manual_seed(0)
        model = Transformer(shape, attention).double()
        logits = model(text, codes)
        sum(each.square().sum() for each in logits).backward()
        found.append({name: parameter.grad for name, parameter in model.named_parameters()})
        assert not [name for name in model.state_dict() if "mask" in name]
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_is_asked_once_and_every_cell_it_sees_is_among_the_keys(kind):
    """Counted: as many trues as the dense mask has, in windows that follow one another."""
    prefix, grid, conv_kernel = 10, 16, 5
    parts = windows(kind, prefix, grid, conv_kernel, "raster", CPU)
    assert [part.queries.start for part in parts] == [0, *(part.queries.stop for part in parts[:-1])]
    assert parts[-1].queries.stop == grid
    seen = sum(int(part.mask.sum()) for part in parts)
    assert seen == int(context_mask(kind, prefix, grid, conv_kernel)[prefix:].sum())


def test_on_the_papers_grid_about_a_third_of_dense_attention_is_computed():
    """By hand, 8 windows of four lines: with the row above, with nothing, with the six rows that 11×11 cells reach."""
    text, line, whole = 258, 32, (258 + 1024) ** 2
    lines = {"row": 4 + 7 * 5, "column": 8 * 4, "conv": 4 + 8 + 6 * 10}
    for kind in KINDS:
        computed = sum(part.mask.numel() for part in windows(kind, text, line, 11, "raster", CPU))
        assert computed == 4 * line * (8 * text + lines[kind] * line)
        assert 0.28 * whole < text**2 + computed < 0.39 * whole


def test_windows_first_asked_for_while_drawing_serve_training():
    shape = ("row", 3, 6, 3)
    with torch.inference_mode():
        windows(*shape, "raster", CPU)
    inputs = torch.randn(3, 1, 1, 3 + 36, 4).requires_grad_().unbind()
    attend("row", *inputs, *shape[1:]).sum().backward()


def test_shapes_alone_go_through():
    """Plans are computed on the meta device."""
    inputs = torch.empty(3, 2, 2, 7 + 16, 4, device="meta").unbind()
    assert attend("column", *inputs, 7, 4, 3).shape == (2, 2, 23, 4)
