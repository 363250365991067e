"""Winners are what an argmax by hand gives, and scores are cosines."""

import numpy as np
import pandas as pd
import pytest
import torch

from dalle.config import DVAE, Clip, Tokenizer
from dalle.images import to_float, write_archive
from dalle.models.clip import clip_shape, load_clip, make_clip, write_shape
from dalle.rerank import best_of, score, write_winners


def test_best_of_looks_at_the_first_n_only_and_ties_go_to_the_earlier():
    scores = np.array([0.5, 2.0, 2.0, 9.0])
    assert [best_of(scores, n) for n in (1, 2, 3, 4)] == [0, 1, 1, 3]


@pytest.mark.parametrize("n", [0, 3])
def test_best_of_more_than_there_are_is_refused(n):
    with pytest.raises(ValueError, match="there are 2 candidates"):
        best_of(np.zeros(2), n)


def write_scores(path, prompt_ids, candidates, rng):
    rows = [(prompt, candidate, rng.random()) for prompt in prompt_ids for candidate in candidates]
    pd.DataFrame(rows, columns=["prompt_id", "candidate", "score"]).to_parquet(path)
    return path


def test_winners_do_not_depend_on_how_the_scores_are_cut_into_files(tmp_path):
    rng = np.random.default_rng(0)
    parts = [
        write_scores(tmp_path / f"{shard}{block}.parquet", prompts, candidates, rng)
        for shard, prompts in enumerate([(0, 2), (1, 3)])
        for block, candidates in enumerate([range(4, 8), range(4)])
    ]
    write_winners(parts, tmp_path / "winners.parquet", (1, 2, 4, 8))
    write_winners(parts[::-1], tmp_path / "again.parquet", (1, 2, 4, 8))
    winners = pd.read_parquet(tmp_path / "winners.parquet")
    pd.testing.assert_frame_equal(winners, pd.read_parquet(tmp_path / "again.parquet"))

    table = pd.concat([pd.read_parquet(part) for part in parts])
    for row in winners.itertuples():  # oracle: sort by score
        first = table[(table.prompt_id == row.prompt_id) & (table.candidate < row.n_candidates)]
        assert (row.candidate, row.score) == tuple(first.sort_values("score").iloc[-1][["candidate", "score"]])
    assert len(winners) == 4 * 4


def test_a_prompt_that_lacks_a_candidate_is_named(tmp_path):
    path = write_scores(tmp_path / "s.parquet", [7], [0, 1, 3], np.random.default_rng(0))
    with pytest.raises(ValueError, match="prompt 7 lacks one of the candidates 0 … 3"):
        write_winners([path], tmp_path / "winners.parquet", (1, 2, 4))


@pytest.fixture
def chain(tmp_path):
    """Prompts, candidates, an untrained dVAE and an untrained reranker."""
    from safetensors.torch import save_file

    from dalle.models.dvae import DiscreteVAE
    from dalle.tokenizer import Tokenizer as Words
    from dalle.tokenizer import train_tokenizer

    torch.manual_seed(0)
    rows = pd.DataFrame(
        {"prompt_id": [3, 5], "candidate": 0, "caption": ["a red ring", "two blue squares"], "scene": ""}
    )
    write_archive(tmp_path / "prompts.parquet", rows, np.zeros((2, 32, 32, 3), np.uint8))
    train_tokenizer(tmp_path / "prompts.parquet", tmp_path / "tokenizer.json", Tokenizer(vocab_size=40))
    settings = DVAE(codes=16, width=8, blocks=1)
    for folder in ("dvae", "clip"):
        (tmp_path / folder).mkdir()
    save_file(DiscreteVAE(settings).state_dict(), tmp_path / "dvae/weights.safetensors")
    (tmp_path / "dvae/model.json").write_text(settings.model_dump_json())
    shape = clip_shape(Clip(width=16, heads=2, depth=1), 32, 40, Words(tmp_path / "tokenizer.json").vocab_size)
    save_file(make_clip(shape).state_dict(), tmp_path / "clip/weights.safetensors")
    write_shape(tmp_path / "clip/model.json", shape)
    codes = np.random.default_rng(0).integers(0, 16, (6, 16)).astype(np.uint16)
    drawn = pd.DataFrame({"prompt_id": [3, 3, 3, 5, 5, 5], "candidate": [0, 1, 2] * 2, "codes": list(codes)})
    drawn.to_parquet(tmp_path / "candidates.parquet")
    return tmp_path


def run_score(chain, batch_size):
    names = ("candidates.parquet", "dvae", "clip", "tokenizer.json", "prompts.parquet", f"scores{batch_size}.parquet")
    score(*(chain / name for name in names), batch_size)
    return pd.read_parquet(chain / f"scores{batch_size}.parquet")


def test_a_score_is_the_scaled_cosine_of_picture_and_caption(chain):
    from dalle.models.dvae import decode_codes, load_dvae
    from dalle.tokenizer import Tokenizer as Words

    scores = run_score(chain, 6)
    assert list(scores.columns) == ["prompt_id", "candidate", "score"]
    model, drawn = load_clip(chain / "clip"), pd.read_parquet(chain / "candidates.parquet")
    picture = decode_codes(load_dvae(chain / "dvae"), np.stack(drawn["codes"].tolist())[4:5])
    image = model.encode_image(to_float(picture))[0]
    text = model.encode_text(torch.from_numpy(Words(chain / "tokenizer.json").encode(["two blue squares"], 40)))[0]
    expected = model.logit_scale.exp() * torch.dot(image, text) / image.norm() / text.norm()
    assert scores["score"][4] == pytest.approx(expected.item(), abs=1e-4)


def test_scores_do_not_depend_on_the_batch_size(chain):
    np.testing.assert_allclose(run_score(chain, 6)["score"], run_score(chain, 4)["score"], atol=1e-4)


def test_a_candidate_of_an_unknown_prompt_is_refused(chain):
    drawn = pd.read_parquet(chain / "candidates.parquet")
    drawn.assign(prompt_id=9).to_parquet(chain / "candidates.parquet")
    with pytest.raises(ValueError, match="prompt_id 9 is not in"):
        run_score(chain, 6)
    assert not (chain / "scores6.parquet").exists()
