"""The benchmark of sampling compares like with like, and its script runs."""

import subprocess
import sys

import pytest
import torch

from dalle.models.transformer import Transformer
from dalle.provenance import ROOT
from dalle.sampling.decode import Decoder
from workflow.benchmarks.full_cache import FullCacheDecoder
from workflow.benchmarks.sampling import FULL, OURS, QUICK, SHAPES, mean_step, runs_of, step_needs


@torch.inference_mode()
def test_the_full_cache_gives_our_logits():
    torch.manual_seed(0)
    model, text = Transformer(QUICK["tiny"]).eval(), torch.randint(64, (2, 8))
    decoders, codes = [Decoder(model, 2, 4), FullCacheDecoder(model, 2, 4)], torch.randint(64, (64, 8))
    for decoder in decoders:
        decoder.prefill(text)
    for cell, these in enumerate(codes):
        ours, theirs = (decoder.logits() for decoder in decoders)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        for decoder in decoders:
            decoder.put(cell, these)


@pytest.mark.parametrize(("name", "steps"), [("small", 128), ("large", 16), ("large", 8), ("small", 10_000)])
def test_timed_steps_are_spread_from_the_first_cell_to_the_last(name, steps):
    runs, cells = runs_of(SHAPES[name], steps), SHAPES[name].cells
    assert runs[0][0] == 0
    assert runs[-1][-1] == (cells - 2 if len(runs) > 1 else 7)
    assert all(run == list(range(run[0], run[0] + 8)) for run in runs)
    assert sum(map(len, runs)) == min(steps, (cells - 1) // 8 * 8)


def test_a_step_is_the_mean_of_the_runs_medians_without_their_first():
    assert mean_step([[9, 1, 2, 30], [9, 4, 4, 4]]) == 3


def test_what_a_step_needs_is_counted_by_hand():
    """Tiny: 4 layers of 12·64² and a head of 64·64; 10 prefix positions; in full 64 cells more, for each of 3 rows."""
    matrices = 4 * 12 * 64**2 + 64 * 64
    full = step_needs(QUICK["tiny"], 3, FULL)
    assert full.operations == 2 * 3 * (matrices + 2 * 64 * 4 * 74)
    assert full.bytes == 4 * (matrices + 2 * 64 * 3 * 4 * 74)
    assert step_needs(QUICK["tiny"], 3, OURS).bytes < full.bytes


def test_the_quick_run_prints_ratios():
    command = [sys.executable, "-m", "workflow.benchmarks.sampling", "--quick", "--batches", "8"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "full cache" in ran.stdout
    assert "×" in ran.stdout
    assert "DALLE-pytorch is left out" in ran.stdout


def test_a_python_without_dalle_pytorch_is_an_error_in_one_line():
    command = [sys.executable, "-m", "workflow.benchmarks.sampling", "--quick", "--batches", "8"]
    ran = subprocess.run(
        [*command, "--dalle-pytorch", sys.executable], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "cannot run dalle-pytorch: ModuleNotFoundError" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
