"""A candidate is a function of its name alone: not of shards, blocks, N, or the other captions."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from dalle.config.models import Tokenizer as TokenizerSettings
from dalle.config.sampling import Sampling
from dalle.images import write_archive
from dalle.models.transformer import Shape, Transformer, load_transformer, write_shape
from dalle.provenance import ROOT
from dalle.sampling.candidates import draw
from dalle.sampling.sampler import Sampler
from dalle.seeding import seed_for
from dalle.tokenizer import Tokenizer, train_tokenizer

JOB = """
import sys
from pathlib import Path
from dalle.config.sampling import Sampling
from dalle.sampling.candidates import draw

files = Path(__file__).parent
settings = Sampling(n_candidates=(1, 2, 4, 8), block=8, shards=1, rows=8)
draw(files / "many.parquet", files, files / "tokenizer.json", sys.argv[1], settings, 0, "val", 0, 0)
from accelerate import PartialState

print(PartialState().num_processes, "processes")
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
CAPTIONS = ["a red circle", "three blue rings at night", "a small cross on sand", "two rings", "a ring"]


def write_prompts(path, numbers):
    rows = pd.DataFrame(
        {"prompt_id": numbers, "candidate": 0, "caption": [CAPTIONS[n % 5] for n in numbers], "scene": ""}
    )
    write_archive(path, rows, np.zeros((len(numbers), 1, 1, 3), np.uint8))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An archive of five captions, a tokenizer and an untrained prior whose logits differ from code to code."""
    folder = tmp_path_factory.mktemp("candidates")
    write_prompts(folder / "prompts.parquet", range(5))
    train_tokenizer(folder / "prompts.parquet", folder / "tokenizer.json", TokenizerSettings())
    torch.manual_seed(0)
    vocab = Tokenizer(folder / "tokenizer.json").vocab_size
    model = Transformer(Shape(32, 2, 3, 5, text_context=8, text_vocab=vocab, grid=4, codes=50))
    torch.nn.init.normal_(model.image_head.weight, std=0.3)
    save_file(model.state_dict(), folder / "weights.safetensors")
    write_shape(folder / "model.json", model.shape)
    write_prompts(folder / "many.parquet", range(80))
    (folder / "job.py").write_text(JOB)
    return folder


def drawn(files, prompts="prompts.parquet", seed=0, suite="val", shard=0, block=0, size=4, **settings):
    """The file that ``draw`` writes, by (prompt_id, candidate)."""
    out = files / "out.parquet"
    sampling = Sampling(block=size, **{"n_candidates": (1, 2, 4), "shards": 1} | settings)
    draw(files / prompts, files, files / "tokenizer.json", out, sampling, seed, suite, shard, block)
    return pd.read_parquet(out).set_index(["prompt_id", "candidate"])


def same(one, other):
    """Equal to the last bit on the candidates that both have."""
    both = one.index.intersection(other.index)
    assert len(both)
    codes = all(np.array_equal(one.codes[name], other.codes[name]) for name in both)
    return codes and one.drop(columns="codes").loc[both].equals(other.drop(columns="codes").loc[both])


def test_the_file_has_codes_and_seeds_by_name(files):
    table = drawn(files)
    assert table.index.tolist() == [(prompt, candidate) for prompt in range(5) for candidate in range(4)]
    assert table.seed[3, 2] == seed_for(0, "val", 3, 2)
    assert all(codes.dtype == np.uint16 and codes.shape == (16,) and codes.max() < 50 for codes in table.codes)
    assert len({codes.tobytes() for codes in table.codes}) == 20


def test_the_log_likelihood_is_the_full_forwards_even_when_tempered(files):
    table = drawn(files, temperature=0.7, top_k=20).reset_index()
    model, words = load_transformer(files), Tokenizer(files / "tokenizer.json")
    text = torch.from_numpy(words.encode([CAPTIONS[prompt] for prompt in table["prompt_id"]], 8))
    codes = torch.from_numpy(np.stack(table["codes"]).astype(np.int64))
    with torch.inference_mode():
        expected = model(text, codes)[1].log_softmax(-1).gather(-1, codes[..., None]).sum((1, 2))
    np.testing.assert_allclose(table["log_likelihood"], expected, rtol=1e-5)


def test_shards_part_the_prompts_and_change_nothing(files):
    whole = drawn(files)
    parts = [drawn(files, shard=shard, shards=3) for shard in range(3)]
    assert parts[1].index.unique("prompt_id").tolist() == [1, 4]
    assert sum(map(len, parts)) == len(whole)
    assert all(same(whole, part) for part in parts)


def test_more_shards_than_prompts_leave_an_empty_file(files):
    assert len(drawn(files, shard=6, shards=7)) == 0


@pytest.mark.parametrize(("size", "block"), [(1, 0), (4, 7), (32, 0), (32, 1)])
def test_blocks_part_the_candidates_and_change_nothing(files, size, block):
    doubling = (1, 2, 4, 8, 16, 32, 64)
    whole = drawn(files, n_candidates=doubling, size=64)
    part = drawn(files, n_candidates=doubling, size=size, block=block)
    assert part.index.unique("candidate").tolist() == list(range(block * size, (block + 1) * size))
    assert same(whole, part)
    assert same(whole, drawn(files))


def test_other_captions_change_nothing(files):
    write_prompts(files / "fewer.parquet", [3, 1])
    assert same(drawn(files), drawn(files, prompts="fewer.parquet"))


def test_seed_and_suite_change_everything(files):
    first = drawn(files)
    for other in (drawn(files, seed=1), drawn(files, suite="zeroshot")):
        assert not any(np.array_equal(one, two) for one, two in zip(first.codes, other.codes, strict=True))


def test_every_cut_into_shards_holds_the_same_rows(files):
    whole = drawn(files)
    for shards in (2, 7):
        parts = pd.concat([drawn(files, shard=shard, shards=shards) for shard in range(shards)])
        assert len(parts) == len(whole)
        assert same(parts, whole)


def test_the_number_of_rows_changes_no_byte(files):
    one, other = (drawn_bytes(files, files / "out.parquet", rows=rows) for rows in (8, 256))
    assert one == other


def drawn_bytes(files, out, **settings):
    """The file of eight candidates of eighty captions, one caption a batch unless ``settings`` say otherwise."""
    sampling = Sampling(n_candidates=(1, 2, 4, 8), block=8, **{"shards": 1, "rows": 8} | settings)
    draw(files / "many.parquet", files, files / "tokenizer.json", out, sampling, 0, "val", 0, 0)
    assert not out.with_name(f".{out.name}.parts").exists()
    return out.read_bytes()


def killed(files, out):
    """What is left of the same job if it is killed when it has written its first parts."""
    process = subprocess.Popen([sys.executable, files / "job.py", out], env=ENVIRONMENT)
    parts = out.with_name(f".{out.name}.parts")
    while not (done := list(parts.glob("0*.parquet"))):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not out.exists()
    return len(done)


def test_a_killed_job_goes_on_where_it_was_to_the_same_bytes(files, tmp_path, monkeypatch):
    expected, out, batches = drawn_bytes(files, files / "out.parquet"), tmp_path / "out.parquet", []
    done, ordinary = killed(files, out), Sampler.draw
    monkeypatch.setattr(Sampler, "draw", lambda *given: batches.append(given) or ordinary(*given))
    assert drawn_bytes(files, out) == expected
    assert 0 < len(batches) <= 80 - done


def test_parts_of_other_candidates_are_not_used(files, tmp_path, caplog, monkeypatch):
    out, ordinary = tmp_path / "out.parquet", Sampler.draw

    def interrupted(sampler, batch, on_tokens):
        if batch[0].prompt == 3:
            raise KeyboardInterrupt
        return ordinary(sampler, batch, on_tokens)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Sampler, "draw", interrupted)
        drawn_bytes(files, out)
    assert len(list(tmp_path.glob(".out.parquet.parts/0*.parquet"))) == 3
    assert drawn_bytes(files, out, temperature=0.5) == drawn_bytes(files, files / "out.parquet", temperature=0.5)
    assert "parts of other candidates" in caplog.text


def test_two_processes_share_a_shard(files, tmp_path):
    out = tmp_path / "out.parquet"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    ran = subprocess.run(
        [*launcher, files / "job.py", out], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "2 processes" in ran.stdout
    assert out.read_bytes() == drawn_bytes(files, files / "out.parquet")


def test_guidance_needs_a_prior_that_knows_empty_captions(files):
    with pytest.raises(ValueError, match=r"sampling\.guidance: 2\.0 needs a prior .* allowed is 1"):
        drawn(files, guidance=2.0)
    facts = json.loads((files / "model.json").read_text())
    for name in ("weights.safetensors", "tokenizer.json", "prompts.parquet"):
        (files / "knowing").mkdir(exist_ok=True)
        shutil.copy(files / name, files / "knowing")
    (files / "knowing/model.json").write_text(json.dumps(facts | {"empty_captions": 0.1}))
    guided = drawn(files / "knowing", guidance=2.0)
    assert not same(guided, drawn(files))
    assert same(guided, drawn(files / "knowing", guidance=2.0, rows=8))


def test_shards_and_blocks_that_do_not_exist_are_errors(files):
    for wrong in ({"shard": 1}, {"block": 1}):
        with pytest.raises(ValueError, match="counted from 0"):
            drawn(files, **wrong)
