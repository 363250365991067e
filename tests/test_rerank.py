"""Winners are what an argmax by hand gives, and scores are cosines that depend on nothing but picture and caption."""

import json
from urllib.error import URLError

import numpy as np
import open_clip
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file

from dalle import rerank
from dalle.config.models import DVAE, Clip, Tokenizer
from dalle.config.sampling import Rerank
from dalle.images import to_float, write_archive
from dalle.models.clip import clip_shape, load_clip, make_clip, write_shape
from dalle.models.dvae import DiscreteVAE, decode_codes, load_dvae
from dalle.rerank import best_of, best_of_first, embed_captions, load_reranker, score, score_codes, write_winners
from dalle.tokenizer import Tokenizer as Words
from dalle.tokenizer import train_tokenizer

CAPTIONS = ["a red ring", "two blue squares", "a small cross on sand", "three rings at night", "a ring"]
CELLS, CODES = 16, 24


def test_best_of_looks_at_the_first_n_only_and_ties_go_to_the_earlier():
    scores = np.array([0.5, 2.0, 2.0, 9.0])
    assert [best_of(scores, n) for n in (1, 2, 3, 4)] == [0, 1, 1, 3]


@pytest.mark.parametrize("n", [0, 3])
def test_best_of_more_than_there_are_is_refused(n):
    with pytest.raises(ValueError, match="there are 2 candidates"):
        best_of(np.zeros(2), n)


def test_one_pass_finds_the_best_of_every_prefix():
    scores = np.random.default_rng(0).integers(0, 5, (40, 12)).astype(np.float32)  # few values: many ties
    expected = [[best_of(row, n) for n in range(1, 13)] for row in scores]
    np.testing.assert_array_equal(best_of_first(scores), expected)


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


@pytest.mark.parametrize("candidates", [[0, 1, 3], [0, 1, 2, 3, 3], [0, 0, 2, 3]])
def test_a_prompt_that_lacks_a_candidate_or_has_it_twice_is_named(tmp_path, candidates):
    rng = np.random.default_rng(0)
    whole = write_scores(tmp_path / "whole.parquet", [3], range(4), rng)
    odd = write_scores(tmp_path / "odd.parquet", [7], candidates, rng)
    with pytest.raises(ValueError, match=r"prompt 7 lacks one of the candidates 0 … 3"):
        write_winners([whole, odd], tmp_path / "winners.parquet", (1, 2, 4))


def write_candidates(path, prompts, num=9):
    """Codes that follow from prompt and candidate alone."""
    names = [(prompt, candidate) for prompt in prompts for candidate in range(num)]
    codes = [np.random.default_rng(name).integers(0, CODES, CELLS).astype(np.uint16) for name in names]
    pd.DataFrame(names, columns=["prompt_id", "candidate"]).assign(codes=codes).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A results folder with an untrained dVAE and reranker; five prompts and nine candidates of each."""
    folder = tmp_path_factory.mktemp("chain")
    torch.manual_seed(0)
    rows = pd.DataFrame({"prompt_id": range(5), "candidate": 0, "caption": CAPTIONS, "scene": ""})
    write_archive(folder / "prompts.parquet", rows, np.zeros((5, 32, 32, 3), np.uint8))
    for name in ("dvae", "clip", "tokenizer"):
        (folder / name).mkdir()
    train_tokenizer(folder / "prompts.parquet", folder / "tokenizer/tokenizer.json", Tokenizer(vocab_size=60))
    settings = DVAE(codes=CODES, width=8, blocks=1)
    dvae = DiscreteVAE(settings)
    torch.nn.init.normal_(dvae.decoder.interface[0].weight)  # or all pictures are grey
    save_file(dvae.state_dict(), folder / "dvae/weights.safetensors")
    (folder / "dvae/model.json").write_text(settings.model_dump_json())
    vocabulary = Words(folder / "tokenizer/tokenizer.json").vocab_size
    shape = clip_shape(Clip(width=16, heads=2, depth=1), 32, 40, vocabulary)
    save_file(make_clip(shape).state_dict(), folder / "clip/weights.safetensors")
    write_shape(folder / "clip/model.json", shape)
    write_candidates(folder / "candidates.parquet", range(5))
    return folder


@pytest.fixture(scope="module")
def own(chain):
    return load_reranker(Rerank(), chain)


def scored(chain, reranker, candidates="candidates.parquet"):
    score(chain / candidates, chain / "prompts.parquet", chain / "scores.parquet", load_dvae(chain / "dvae"), reranker)
    return pd.read_parquet(chain / "scores.parquet")


def test_a_score_is_the_scaled_cosine_of_picture_and_caption(chain, own):
    scores = scored(chain, own)
    drawn = pd.read_parquet(chain / "candidates.parquet")
    assert scores.dtypes.to_dict() == {"prompt_id": np.int64, "candidate": np.int64, "score": np.float32}
    pd.testing.assert_frame_equal(scores[["prompt_id", "candidate"]], drawn[["prompt_id", "candidate"]])
    assert scores["score"].nunique() > 40
    model = load_clip(chain / "clip")
    for row in (0, 13, 44):
        picture = decode_codes(load_dvae(chain / "dvae"), drawn["codes"][row][None])
        caption = Words(chain / "tokenizer/tokenizer.json").encode([CAPTIONS[drawn["prompt_id"][row]]], 40)
        with torch.inference_mode():
            image, text = model.encode_image(to_float(picture))[0], model.encode_text(torch.from_numpy(caption))[0]
        expected = model.logit_scale.exp() * torch.dot(image, text) / image.norm() / text.norm()
        assert scores["score"][row] == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_scores_have_the_same_bits_in_every_company(chain, own, shards):
    whole = scored(chain, own).set_index(["prompt_id", "candidate"])["score"]
    for shard in range(shards):
        name = f"part{shard}.parquet"
        write_candidates(chain / name, range(5)[shard::shards])
        part = scored(chain, own, name).set_index(["prompt_id", "candidate"])["score"]
        assert part.equals(whole.loc[part.index])
        assert len(part) == 9 * len(range(5)[shard::shards])


def test_segments_change_nothing_and_a_caption_is_read_once(chain, own, monkeypatch):
    whole, read = scored(chain, own), []

    def embed(captions, reranker):
        read.extend(captions)
        return embed_captions(captions, reranker)

    monkeypatch.setattr(rerank, "SEGMENT", 5)
    monkeypatch.setattr(rerank, "embed_captions", embed)
    pd.testing.assert_frame_equal(scored(chain, own), whole)
    assert read == CAPTIONS


def test_the_file_names_its_reranker(chain, own):
    scored(chain, own)
    assert pq.read_schema(chain / "scores.parquet").metadata[b"reranker"].decode() == own.digest


def test_a_candidate_of_an_unknown_prompt_is_refused_and_leaves_nothing(chain, own, tmp_path):
    write_candidates(chain / "unknown.parquet", [9])
    with pytest.raises(ValueError, match="prompt_id 9 is not in"):
        score(
            chain / "unknown.parquet", chain / "prompts.parquet", tmp_path / "s.parquet", load_dvae(chain / "dvae"), own
        )
    assert list(tmp_path.iterdir()) == []


def test_a_cut_caption_is_told(chain, own, caplog):
    long = pd.DataFrame({"prompt_id": [0], "candidate": 0, "caption": [" ring" * 50], "scene": ""})
    write_archive(chain / "long.parquet", long, np.zeros((1, 32, 32, 3), np.uint8))
    write_candidates(chain / "one.parquet", [0])
    score(chain / "one.parquet", chain / "long.parquet", chain / "s.parquet", load_dvae(chain / "dvae"), own)
    assert "1 of 1 captions are cut" in caplog.text


# Models of open_clip's.


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A checkpoint of an open_clip model of 48 pixels and 12 tokens, which open_clip from now on knows."""
    folder = tmp_path_factory.mktemp("tiny")
    vision = {"image_size": 48, "layers": 1, "width": 64, "patch_size": 16, "head_width": 64}
    text = {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    (folder / "tiny-reranker.json").write_text(
        json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}), encoding="utf-8"
    )
    open_clip.add_model_config(folder / "tiny-reranker.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model("tiny-reranker").state_dict(), folder / "tiny.pt")
    return folder / "tiny.pt"


def test_a_checkpoint_of_open_clip_scores_by_its_own_preprocessing(chain, tiny):
    reranker = load_reranker(Rerank(model="tiny-reranker", pretrained=str(tiny)), chain)
    dvae, codes = load_dvae(chain / "dvae"), np.stack(pd.read_parquet(chain / "candidates.parquet")["codes"][:2])
    found = score_codes(codes, embed_captions(CAPTIONS[:2], reranker), dvae, reranker)

    model, _, preprocess = open_clip.create_model_and_transforms("tiny-reranker", pretrained=str(tiny))
    pictures = torch.stack([preprocess(Image.fromarray(picture)) for picture in decode_codes(dvae, codes)])
    with torch.inference_mode():
        images = model.eval().encode_image(pictures, normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer("tiny-reranker")(CAPTIONS[:2]), normalize=True)
        expected = model.logit_scale.exp() * (images * texts).sum(-1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_published_weights_are_prepared_as_their_tag_says(chain, tiny, monkeypatch):
    """Of a checkpoint nobody knows the tag, so the model's first is taken."""
    published = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "interpolation": "bicubic", "url": ""}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-reranker", {"first": published})
    reranker = load_reranker(Rerank(model="tiny-reranker", pretrained=str(tiny)), chain)
    grey = reranker.preprocess(np.full((64, 64, 3), 255, np.uint8))
    torch.testing.assert_close(grey, torch.full((3, 48, 48), 2.0))


def test_the_digest_stands_for_the_weights(chain, tiny, own):
    reranker = load_reranker(Rerank(model="tiny-reranker", pretrained=str(tiny)), chain)
    weights = torch.load(tiny)
    torch.save(weights | {"logit_scale": weights["logit_scale"] + 1}, tiny.with_name("other.pt"))
    other = load_reranker(Rerank(model="tiny-reranker", pretrained=str(tiny.with_name("other.pt"))), chain)
    assert len({reranker.digest, other.digest, own.digest}) == 3


def test_what_is_not_there_is_said_with_the_way_to_get_it(chain, tiny, tmp_path, monkeypatch):
    def offline(*_args, **_kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("open_clip.pretrained.download_pretrained_from_url", offline)
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    mistakes = {
        ("ViT-B-32-quickgelu", "openai"): r"ViT-B-32\.pt .*no route to host.*internet.*rerank\.pretrained: PATH",
        ("tiny-reranker", "openai"): r"open_clip knows no weights 'openai' of 'tiny-reranker'; it knows none",
        ("tiny-reranker", "./none.pt"): r"weights of tiny-reranker: there is no file none\.pt",
        ("tiny-reranker", str(tmp_path / "bad.pt")): r"bad\.pt does not hold them",
        ("ViT-B32", "openai"): r"rerank\.model: 'ViT-B32' is no model of open_clip's, nor own; did you mean ViT-B-32",
    }
    for (model, pretrained), says in mistakes.items():
        with pytest.raises(ValueError, match=says) as error:
            load_reranker(Rerank(model=model, pretrained=pretrained), chain)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", [{"model": "ViT-B-32"}, {"pretrained": "openai"}])
def test_only_open_clips_models_have_weights_to_name_and_they_must(given):
    with pytest.raises(ValidationError, match="does not go with model"):
        Rerank(**given)
