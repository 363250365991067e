"""A candidate is a function of its name: not of batches, the others' captions, or how many are drawn."""

from itertools import product

import numpy as np
import pytest
import torch

from dalle.config.sampling import Sampling
from dalle.models.transformer import Shape, Transformer
from dalle.sampling import sampler as sampling
from dalle.sampling.company import comes_out_as_alone, place_is_nothing
from dalle.sampling.decode import Decoder
from dalle.sampling.sampler import Prompt, Sampler
from dalle.sampling.slots import TILE, slots

SHAPE = Shape(32, 2, 3, 5, text_context=6, text_vocab=20, grid=4, codes=50)


def make(**changes):
    torch.manual_seed(0)
    model = Transformer(Shape(**vars(SHAPE) | changes))
    torch.nn.init.normal_(model.image_head.weight, std=0.3)
    return model.eval()


def prompts(num):
    texts = np.random.default_rng(0).integers(0, 20, (num, 6))
    return [Prompt((0, "val", number), text) for number, text in enumerate(texts)]


def drawn(asked, candidates, model=None, given=None, empty=None, **settings):
    """(codes, log-likelihood) by (prompt, candidate)."""
    sampler = Sampler(model or make(), asked, candidates, Sampling(**settings), given, empty)
    parts = [part for batch in sampler.batches for part in sampler.draw(batch)]
    assert [part.prompt for part in parts] == sorted([part.prompt for part in parts], key=asked.index)
    return {
        (part.prompt.name[-1], int(k)): (codes.tolist(), float(nats))
        for part in parts
        for k, codes, nats in zip(part.candidates, part.codes, part.log_likelihood, strict=True)
    }


@pytest.mark.parametrize("most", [1, 2, 3, 100])
@pytest.mark.parametrize("candidates", [range(1), range(5, 9), range(32), range(32, 72)])
@pytest.mark.parametrize("num", [0, 1, 7])
def test_slots_cover_every_candidate_once_in_order_and_have_one_size(num, candidates, most):
    cut = slots(num, candidates, most)
    assert len({len(slot.candidates) for slot in cut}) <= 1
    assert all(len(slot.candidates) in range(TILE, most * TILE + 1, TILE) for slot in cut)
    assert all(slot.candidates.start % TILE == 0 for slot in cut)
    covered = [(slot.prompt, k) for slot in cut for k in slot.candidates]
    assert [(p, k) for p, k in covered if k in candidates] == list(product(range(num), candidates))


def test_batches_are_filled_across_captions_and_evenly():
    def shapes(num_prompts, candidates, rows):
        sampler = Sampler(make(), prompts(num_prompts), candidates, Sampling(rows=rows))
        return (sampler.decoder.captions, sampler.decoder.rows), [len(batch) for batch in sampler.batches]

    assert shapes(9, range(32), 256) == ((5, 32), [5, 4])
    assert shapes(9, range(4), 64) == ((5, 8), [5, 4])
    assert shapes(3, range(512), 256) == ((1, 256), [1] * 6)
    assert shapes(3, range(320), 256) == ((1, 160), [1] * 6)


@pytest.mark.parametrize("rows", [8, 24, 1000])
def test_the_batch_changes_nothing(rows):
    assert drawn(prompts(5), range(24), rows=rows) == drawn(prompts(5), range(24))


def test_order_and_company_change_nothing():
    whole, asked = drawn(prompts(5), range(16)), prompts(5)
    assert drawn([asked[3], asked[1]], range(16)).items() <= whole.items()
    assert drawn(asked[::-1], range(16)) == whole


@pytest.mark.parametrize("part", [range(1), range(3, 5), range(8, 24), range(64)])
def test_fewer_candidates_are_a_part_of_more(part):
    whole = drawn(prompts(2), range(512))
    assert drawn(prompts(2), part).items() <= whole.items()
    assert len({tuple(codes) for codes, _ in whole.values()}) == 1024


@pytest.mark.parametrize(
    ("failing", "shape", "num_batches"),
    [
        (["comes_out_as_alone"], (4, TILE), 3),
        (["comes_out_as_alone", "place_is_nothing"], (1, TILE), 9),
    ],
    ids=["fixed-shape", "alone"],
)
def test_where_company_changes_the_bits_batches_have_one_shape_or_none(
    monkeypatch, caplog, failing, shape, num_batches
):
    expected = drawn(prompts(3), range(3, 20))
    for name in failing:
        monkeypatch.setattr(sampling, name, lambda decoder: False)
    sampler = Sampler(make(), prompts(3), range(3, 20), Sampling(rows=32))
    assert (sampler.decoder.captions, sampler.decoder.rows) == shape
    assert len(sampler.batches) == num_batches
    assert drawn(prompts(3), range(3, 20), rows=32) == expected
    assert ("drawn alone" in caplog.text) == (shape == (1, TILE))


@pytest.mark.parametrize("row", [0, -1])
def test_a_row_that_comes_out_otherwise_in_company_is_noticed(monkeypatch, row):
    logits, decoder = Decoder.logits, Decoder(make(), 3, 16)
    assert comes_out_as_alone(decoder)
    assert place_is_nothing(decoder)
    monkeypatch.setattr(Decoder, "logits", lambda self: disturbed(logits(self), row, 1e-6 * (self.captions > 1)))
    assert not comes_out_as_alone(decoder)
    assert not place_is_nothing(decoder)


def disturbed(logits, row, by):
    found = logits.clone()
    found[row] += by
    return found


def test_what_all_rows_share_in_company_is_no_matter_of_place(monkeypatch):
    logits, decoder = Decoder.logits, Decoder(make(), 3, 16)
    monkeypatch.setattr(Decoder, "logits", lambda self: logits(self) + 1e-6 * (self.captions > 1))
    assert not comes_out_as_alone(decoder)
    assert place_is_nothing(decoder)


def test_drawn_codes_are_distributed_as_the_model_says():
    """Chi-square over the codes of the first two cells, 35 degrees of freedom: 66.6 is exceeded once in a thousand."""
    model, asked = make(codes=6), prompts(1)
    names = drawn(asked, range(4096), model, temperature=3.0)
    counts = torch.zeros(6, 6)
    for codes, _ in names.values():
        counts[codes[0], codes[1]] += 1
    given = torch.zeros(6, 16, dtype=torch.int64)
    given[:, 0] = torch.arange(6)
    with torch.inference_mode():
        logits = model(torch.from_numpy(asked[0].text).expand(6, -1), given)[1]
    first, second = (logits[0, 0] / 3).softmax(-1), (logits[:, 1] / 3).softmax(-1)
    expected = 4096 * first[:, None] * second
    assert expected.min() > 5
    assert ((counts - expected) ** 2 / expected).sum() < 66.6


@pytest.mark.parametrize("num_given", [1, 4, 15])
def test_given_codes_stay_and_the_rest_is_drawn_as_it_would_have_been(num_given):
    whole = drawn(prompts(1), range(8))
    given = torch.tensor(whole[0, 5][0][:num_given])
    model = make()
    completed = drawn(prompts(1), range(8), model, given)
    assert all(codes[:num_given] == given.tolist() for codes, _ in completed.values())
    assert completed[0, 5][0] == whole[0, 5][0]  # its own codes were given
    codes = torch.tensor([codes for codes, _ in completed.values()])
    with torch.inference_mode():
        logits = model(torch.from_numpy(prompts(1)[0].text).expand(8, -1), codes)[1]
    nats = logits.log_softmax(-1).gather(-1, codes[..., None])[:, num_given:].sum((1, 2))
    assert [nats for _, nats in completed.values()] == pytest.approx(nats.tolist(), rel=1e-5)  # of the drawn part


@pytest.mark.parametrize("given", [[0] * 16, [50], [-1]])
def test_given_codes_that_cannot_be_continued_are_errors(given):
    with pytest.raises(ValueError, match="allowed are fewer than 16 from 0 to 49"):
        Sampler(make(), prompts(1), range(8), Sampling(), torch.tensor(given))


def test_guidance_leads_away_from_the_empty_caption():
    """Against logits computed in full for both captions."""
    model, asked, empty = make(), prompts(2), np.arange(20, 26)
    found = drawn(asked, range(8), model, empty=empty, guidance=3.0, top_k=1)
    codes = torch.tensor([codes for codes, _ in found.values()])
    text = torch.from_numpy(np.repeat([prompt.text for prompt in asked], 8, axis=0))
    with torch.inference_mode():
        captioned = model(text, codes)[1]
        alone = model(torch.from_numpy(empty).expand(16, -1), codes)[1]
    assert torch.equal((alone + 3 * (captioned - alone)).argmax(-1), codes)
    nats = captioned.log_softmax(-1).gather(-1, codes[..., None]).sum((1, 2))
    assert [nats for _, nats in found.values()] == pytest.approx(nats.tolist(), rel=1e-5)
    assert drawn(asked, range(8), model, empty=empty, guidance=3.0, top_k=1, rows=8) == found


def test_progress_counts_what_is_wanted():
    told = []
    sampler = Sampler(make(), prompts(3), range(5), Sampling(rows=16), torch.zeros(4, dtype=torch.int64))
    for batch in sampler.batches:
        sampler.draw(batch, told.append)
    assert sum(told) == sum(map(sampler.tokens, sampler.batches)) == 3 * 5 * 12
    assert len(told) == 2 * 12
