"""A candidate is a function of its name: not of batches, the others' captions, or how many are drawn."""

from itertools import product

import numpy as np
import pytest
import torch

from dalle import config
from dalle.models.transformer import Shape, Transformer
from dalle.sampling import sampler as sampling
from dalle.sampling.decode import Decoder
from dalle.sampling.sampler import TILE, Batch, Prompt, Sampler, batches, rows_agree

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
    sampler = Sampler(model or make(), asked, candidates, config.Sampling(**settings), given, empty)
    parts = [part for batch in sampler.batches for part in sampler.draw(batch)]
    assert [part.prompt for part in parts] == sorted([part.prompt for part in parts], key=asked.index)
    return {
        (part.prompt.name[-1], int(k)): (codes.tolist(), float(nats))
        for part in parts
        for k, codes, nats in zip(part.candidates, part.codes, part.log_likelihood, strict=True)
    }


@pytest.mark.parametrize("rows", [1, 8, 20, 64, 1000])
@pytest.mark.parametrize("candidates", [range(1), range(5, 9), range(32), range(32, 72)])
@pytest.mark.parametrize("num", [0, 1, 7])
def test_batches_cover_every_candidate_once_in_order_and_have_one_shape(num, candidates, rows):
    cut = batches(num, candidates, rows)
    assert len({(len(batch.prompts), len(batch.candidates)) for batch in cut}) <= 1
    assert all(len(batch.prompts) * len(batch.candidates) <= max(rows, TILE) for batch in cut)
    assert all(batch.candidates.start % TILE == len(batch.candidates) % TILE == 0 for batch in cut)
    covered = [name for batch in cut for name in product(batch.prompts, batch.candidates)]
    assert [(p, k) for p, k in covered if p < num and k in candidates] == list(product(range(num), candidates))


def test_batches_are_filled_across_captions_and_evenly():
    assert batches(9, range(32), 256)[0] == Batch(range(5), range(32))
    assert batches(9, range(512), 256)[1] == Batch(range(1), range(256, 512))
    assert batches(9, range(320), 256)[0] == Batch(range(1), range(160))


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


def test_where_company_changes_the_bits_tiles_are_drawn_alone(monkeypatch, caplog):
    expected = drawn(prompts(3), range(16))
    monkeypatch.setattr(sampling, "rows_agree", lambda decoder: False)
    alone = Sampler(make(), prompts(3), range(16), config.Sampling())
    assert (alone.decoder.captions, alone.decoder.rows, len(alone.batches)) == (1, TILE, 6)
    assert drawn(prompts(3), range(16)) == expected
    assert "tiles are drawn alone" in caplog.text


@pytest.mark.parametrize("place", [0, -1])
def test_a_tile_that_comes_out_otherwise_is_noticed(monkeypatch, place):
    logits = Decoder.logits

    def disturbed(self):
        found = logits(self).clone()
        found[place] += 1e-6 * (self.captions > 1)
        return found

    decoder = Decoder(make(), 3, 16)
    assert rows_agree(decoder)
    monkeypatch.setattr(Decoder, "logits", disturbed)
    assert not rows_agree(decoder)


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
        Sampler(make(), prompts(1), range(8), config.Sampling(), torch.tensor(given))


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
    sampler = Sampler(make(), prompts(3), range(5), config.Sampling(rows=16), torch.zeros(4, dtype=torch.int64))
    for batch in sampler.batches:
        sampler.draw(batch, told.append)
    assert sum(told) == sum(map(sampler.tokens, sampler.batches)) == 3 * 5 * 12
    assert len(told) == 2 * 12
