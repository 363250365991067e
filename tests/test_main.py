"""The commands for people: what they draw is what the models draw, and every mistake is one line."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from dall_e import Decoder as OpenAIDecoder
from dall_e import Encoder
from PIL import Image
from safetensors.torch import save_file

from dalle.__main__ import EXAMPLES, main, parser
from dalle.config.models import DVAE, Clip
from dalle.config.models import Tokenizer as Settings
from dalle.config.sampling import Sampling
from dalle.images import psnr, write_archive
from dalle.models import clip, transformer
from dalle.models.dvae import DiscreteVAE, decode_codes, encode_pictures, load_dvae
from dalle.playing import NOTHING, Wish, choose, draw, kept_rows, load_models, read_caption
from dalle.provenance import ROOT
from dalle.rerank import embed_captions, score_codes
from dalle.tokenizer import Tokenizer, train_tokenizer

PAPER = ROOT / "workflow/config/paper.yaml"
CAPTION, CONTEXT, GRID, SIDE = "a red ring above a cross", 8, 4, 32


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder of untrained models, whose logits differ from code to code."""
    folder = tmp_path_factory.mktemp("results")
    for name in ("tokenizer", "dvae", "prior", "clip"):
        (folder / name).mkdir()
    rows = pd.DataFrame({"prompt_id": range(2), "candidate": 0, "caption": CAPTION, "scene": ""})
    write_archive(folder / "train.parquet", rows, np.zeros((2, SIDE, SIDE, 3), np.uint8))
    train_tokenizer(folder / "train.parquet", folder / "tokenizer/tokenizer.json", Settings(vocab_size=60))
    vocabulary = Tokenizer(folder / "tokenizer/tokenizer.json").vocab_size
    torch.manual_seed(0)
    settings = DVAE(codes=24, width=8, blocks=1)
    dvae = DiscreteVAE(settings)
    torch.nn.init.normal_(dvae.decoder.interface[0].weight)  # or all pictures are grey
    write(folder / "dvae", dvae)
    (folder / "dvae/model.json").write_text(settings.model_dump_json())
    prior = transformer.Transformer(transformer.Shape(32, 2, 3, 5, CONTEXT, vocabulary, GRID, 24))
    torch.nn.init.normal_(prior.image_head.weight, std=0.3)
    write(folder / "prior", prior)
    transformer.write_shape(folder / "prior/model.json", prior.shape)
    shape = clip.clip_shape(Clip(width=16, heads=2, depth=1), SIDE, CONTEXT, vocabulary)
    write(folder / "clip", clip.make_clip(shape))
    clip.write_shape(folder / "clip/model.json", shape)
    return folder


def write(folder, model):
    save_file(model.state_dict(), folder / "weights.safetensors")


@pytest.fixture(scope="module")
def models(results):
    return load_models(results, Sampling())


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def wish(num, best=1, seed=0, **settings):
    return Wish(num, best, seed, Sampling(**settings))


def drawn(models, num, caption=CAPTION, given=NOTHING, seed=0, others=(), **settings):
    captions = {text: read_caption(models, text, False) for text in (*others, caption)}
    return draw(models, captions, wish(num, seed=seed, **settings), given)[caption]


# What is drawn.


def test_more_candidates_begin_with_the_fewer_and_seed_and_caption_change_all(models):
    codes = drawn(models, 40)
    assert codes.shape == (40, GRID * GRID) and codes.dtype == np.uint16 and codes.max() < 24
    assert len({row.tobytes() for row in codes}) == 40
    np.testing.assert_array_equal(drawn(models, 3), codes[:3])
    np.testing.assert_array_equal(drawn(models, 40, others=["a cross", "a ring"]), codes)
    for other in (drawn(models, 40, seed=1), drawn(models, 40, "a cross above a red ring")):
        assert not (other == codes).all(axis=1).any()


def test_temperature_and_truncation_reach_the_drawing(models):
    assert len({row.tobytes() for row in drawn(models, 8, top_k=1)}) == 1
    assert not np.array_equal(drawn(models, 8, temperature=0.5), drawn(models, 8))
    assert not np.array_equal(drawn(models, 8, top_p=0.5), drawn(models, 8))


def test_given_codes_stay_and_the_rest_is_an_ordinary_drawing(models):
    codes, num = drawn(models, 6), 2 * GRID
    completed = drawn(models, 6, given=codes[4, :num])
    np.testing.assert_array_equal(completed[:, :num], codes[4:5, :num].repeat(6, axis=0))
    np.testing.assert_array_equal(completed[4], codes[4])  # its own codes change nothing
    assert not (completed[:4, num:] == codes[:4, num:]).all()


def test_progress_counts_the_tokens_that_are_drawn(models):
    seen = []
    draw(models, {CAPTION: read_caption(models, CAPTION, False)}, wish(40), np.zeros(GRID, np.uint16), seen.append)
    assert sum(seen) == 40 * (GRID * GRID - GRID)


def test_chosen_are_the_highest_scores_of_all(models):
    codes = drawn(models, 9)
    codes[7] = codes[2]  # a tie
    scores = score_codes(codes, embed_captions([CAPTION] * 9, models.reranker), models.dvae, models.reranker)
    best = choose(models, CAPTION, codes, 9)
    assert best.candidates.tolist() == sorted(range(9), key=lambda number: (-scores[number], number))
    np.testing.assert_array_equal(best.scores, scores[best.candidates])
    np.testing.assert_array_equal(best.pictures, decode_codes(models.dvae, codes[best.candidates]))
    assert choose(models, CAPTION, codes, 2).candidates.tolist() == best.candidates[:2].tolist()


@pytest.mark.parametrize(("keep", "grid", "rows"), [(0.5, 8, 4), (0.47, 32, 15), (0.01, 8, 1), (0.99, 8, 7)])
def test_some_rows_are_kept_and_never_all(keep, grid, rows):
    assert kept_rows(keep, grid) == rows


# The commands.


def run(capsys, *arguments):
    """Exit status, stdout, stderr."""
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err  # no colours where nobody sees them
    return status, said.out, said.err


def on_sheet(path, picture):
    sheet, zoom = np.array(Image.open(path)), 192 // len(picture)
    large = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(sheet[:, :, 0], large.shape[:2])
    rows, columns = np.nonzero((windows[:, :, 0, :zoom] == large[0, :zoom, 0]).all(-1))
    return any(
        np.array_equal(sheet[top : top + len(large), left : left + len(large)], large)
        for top, left in zip(rows, columns, strict=True)
    )


def test_sample_shows_the_best_of_every_caption(capsys, results, models, tmp_path):
    captions, out = [CAPTION, "a cross"], tmp_path / "new" / "grid.png"
    status, said, told = run(capsys, "sample", *captions, "-n", 5, "--best", 2, "--results", results, "--out", out)
    assert status == 0
    assert f"The best 2 of 5: {out}" in said
    assert "tokens/s" in told
    for caption in captions:
        best = choose(models, caption, drawn(models, 5, caption), 2)
        assert all(on_sheet(out, picture) for picture in best.pictures)
        table = said[said.index(f"{caption}\n") :]
        for score, number in zip(best.scores, best.candidates, strict=True):
            assert re.search(rf"\n *{score:.2f} +{number} *\n", table)


def test_sample_shows_eight_unless_told_or_there_are_fewer(capsys, results, tmp_path):
    for num, shown in ((3, 3), (12, 8)):
        said = run(capsys, "sample", CAPTION, "-n", num, "--results", results, "--out", tmp_path / "a.png")[1]
        assert f"The best {shown} of {num}" in said


def test_complete_keeps_the_upper_rows_and_shows_the_picture_and_its_codes(capsys, results, models, tmp_path):
    codes, out = drawn(models, 1), tmp_path / "out.png"
    (picture,) = decode_codes(models.dvae, codes)
    Image.fromarray(picture).save(tmp_path / "scene.png")
    options = ("--keep", 0.3, "-n", 4, "--best", 3, "--results", results, "--out", out)
    status, said, told = run(capsys, "complete", "--image", tmp_path / "scene.png", CAPTION, *options)
    assert status == 0
    assert "keep 1 of 4 rows" in said
    assert "resized" not in told
    seen = encode_pictures(models.dvae, picture[None])
    best = choose(models, CAPTION, drawn(models, 4, given=seen[0, :1].ravel()), 3)
    for shown in (picture, decode_codes(models.dvae, seen)[0], *best.pictures):
        assert on_sheet(out, shown)


def test_reconstruct_shows_pictures_over_their_codes_and_says_what_it_cut(capsys, results, models, photo, tmp_path):
    small = photo.with_name("small.png")
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(small)
    out = tmp_path / "out.png"
    status, said, told = run(capsys, "reconstruct", photo, small, "--results", results, "--out", out)
    assert status == 0
    through = decode_codes(models.dvae, encode_pictures(models.dvae, pixels[None]))
    assert on_sheet(out, pixels) and on_sheet(out, through[0])
    assert f"{psnr(through, pixels[None])[0]:5.1f} dB  {small}" in said
    assert told.strip() == f"{photo}: the middle square of its 50 × 40 pixels is resized to 32 × 32"


def test_strange_words_and_cut_captions_are_told(capsys, results, tmp_path):
    options = ("-n", 1, "--results", results, "--out", tmp_path / "a.png")
    told = run(capsys, "sample", "ring rong or", *options)[2]
    assert "Warning: the tokenizer never learnt these words: rong, or\n" in told
    told = run(capsys, "sample", f"{CAPTION} above a cross above", "--truncate", *options)[2]
    assert f"Warning: the caption is cut: {CAPTION} above a\n" in told


def test_the_plan_of_the_paper_has_twelve_billion_parameters(capsys):
    status, said, told = run(capsys, "plan", PAPER, "--chip", "V100", "--gpus", 1024, "--mfu", 0.3)
    assert (status, told) == (0, "")
    assert re.search(r"blocks +│ +12\.10 · 10⁹", said)
    assert re.search(r"all +│ +12\.29 · 10⁹", said)
    assert re.search(r"encoder's parameters +│ +53,786,240", said)
    assert re.search(r"decoder's parameters +│ +43,829,766", said)
    assert all(share in said for share in ("83.3%", "85.1%", "85.9%"))
    assert "weights in 8 shards" in said


def test_a_plan_is_for_one_gpu_unless_told(capsys):
    assert "1 × H100, MFU 40%" in run(capsys, "plan", PAPER)[1]


def test_openais_pickles_become_a_folder_that_a_dvae_is_loaded_from(capsys, tmp_path):
    torch.manual_seed(0)
    halves = {
        "encoder": Encoder(n_hid=64, vocab_size=512),
        "decoder": OpenAIDecoder(n_hid=64, vocab_size=512, n_init=8),
    }
    for name, module in halves.items():
        torch.save(module, tmp_path / f"{name}.pkl")
    folder = tmp_path / "weights"
    status, said, _ = run(capsys, "import-dvae", tmp_path / "encoder.pkl", tmp_path / "decoder.pkl", folder)
    counts = [sum(parameter.numel() for parameter in module.parameters()) for module in halves.values()]
    assert (status, said) == (0, f"{counts[0]:,} + {counts[1]:,} parameters, 512 codes: {folder}\n")
    assert load_dvae(folder).num_codes == 512


MISTAKES = [
    ("sample x -n 0", r"-n 0: allowed are 1 and more"),
    ("sample x -n 4 --best 5", r"--best 5: allowed are 1 … 4, which are drawn"),
    ("sample x --temperature 0", r"--temperature 0.0: allowed are numbers above 0"),
    ("sample x --temperature nan", r"--temperature nan: allowed are"),
    ("sample x --guidance -1", r"--guidance -1.0: allowed are 0 and more"),
    ("sample x --guidance 2", r"sampling.guidance: 2.0 needs a prior that has learnt from empty captions"),
    ("sample x --top-k 0", r"--top-k 0: allowed are"),
    ("sample x --top-p 1.5", r"--top-p 1.5: allowed are"),
    ("sample x --out grid.jpg", r"--out grid.jpg: allowed is the name of a file that ends in .png"),
    ("sample x '  '", "a caption is empty"),
    ("complete '' --image PHOTO", "a caption is empty"),
    ("complete x --image PHOTO --keep 0", r"--keep 0.0: allowed are shares above 0 and below 1"),
    ("complete x --image PHOTO --keep 1", r"--keep 1.0: allowed are shares above 0 and below 1"),
    ("complete x --image none.png", r"none.png: the picture cannot be read (No such file or directory)"),
    ("reconstruct BAD PHOTO", r"bad.png: the picture cannot be read (it is no PNG, JPEG or WebP)"),
    (
        "sample 'a red ring above a cross above a cross'",
        "has 9 tokens, the model reads 8: shorten it, or",
    ),
    (
        "sample x --results nowhere/scenes",
        "nowhere/scenes: there is no such folder; `snakemake --cores all --con",
    ),
    ("sample x --results EMPTY", "lacks dvae/weights.safetensors, prior/weights.safetensors, clip/model.json"),
    (
        "reconstruct PHOTO --results EMPTY",
        "/dvae/weights.safetensors --cores all` makes the first of them",
    ),
    ("plan none.yaml", "none.yaml: there is no such file"),
    ("plan SCENES --chip Z80", "chip 'Z80' is not known; known are V100, RTX4090, A100"),
    ("plan SCENES --gpus 3", "3 GPUs cannot share prior.optimisation.batch_size = 32"),
    ("plan SCENES --gpus 0", "0 GPUs, 0 a machine: allowed are whole machines"),
    ("import-dvae none.pkl PHOTO new", "none.pkl: there is no such file"),
    ("import-dvae BAD BAD new", "bad.png: this is no pickled module"),
    ("sample x --results BROKEN", "broken/prior does not hold what this code makes; make it anew (TypeError"),
]


def plays(command):
    """Whether a command is one with the models of a results folder."""
    return command.split()[0] in ("sample", "complete", "reconstruct")


@pytest.mark.parametrize(("command", "says"), MISTAKES)
def test_a_mistake_is_one_line_and_status_1(capsys, results, photo, tmp_path, monkeypatch, command, says):
    monkeypatch.chdir(tmp_path)
    places = {"SCENES": ROOT / "workflow/config/scenes.yaml"}
    places |= {"PHOTO": photo, "BAD": tmp_path / "bad.png", "EMPTY": tmp_path / "empty", "BROKEN": tmp_path / "broken"}
    places["BAD"].write_bytes(b"no picture")
    for place, lacking in (("EMPTY", ("dvae", "prior")), ("BROKEN", ())):
        copy(results, places[place], lacking)
    (tmp_path / "broken/prior/model.json").write_text('{"shape": {"colour": "red"}}')
    arguments = [str(places.get(word, word)) for word in shlex.split(command)]
    arguments += ["--results", str(results)] if "--results" not in arguments and plays(command) else []
    before = sorted(tmp_path.rglob("*"))
    status, said, told = run(capsys, *arguments)
    assert (status, said) == (1, "")
    assert told.startswith("Error: ") and told.count("\n") == 1
    assert says in told
    assert sorted(tmp_path.rglob("*")) == before


def copy(results, folder, lacking):
    """Weights of some parts are left out, and all of clip if any is."""
    for path in results.glob("*/*"):
        part = path.parent.name
        if (part, path.stem) not in [(name, "weights") for name in lacking] and not (lacking and part == "clip"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / part / path.name).write_bytes(path.read_bytes())


def test_what_cannot_be_written_is_one_line(capsys, results, tmp_path):
    (tmp_path / "file").touch()
    status, _, told = run(
        capsys, "sample", CAPTION, "-n", 1, "--results", results, "--out", tmp_path / "file" / "a.png"
    )
    assert status == 1
    assert told.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("command", EXAMPLES)
def test_help_has_an_example_that_the_parser_takes(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"For example: {EXAMPLES[command]}" in shown
    words = shlex.split(EXAMPLES[command])
    assert words[:3] == ["python", "-m", "dalle"]
    assert parser().parse_args(words[3:]).command == command


def test_the_commands_of_the_guides_are_taken_by_the_parser():
    guides = ("data", "playing", "provenance")
    guide = "".join((ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in guides)
    commands = re.findall(r"^python -m dalle (.+)$", guide, flags=re.MULTILINE)
    assert {parser().parse_args(shlex.split(command)).command for command in commands} == EXAMPLES.keys()


def test_help_needs_no_heavy_import():
    code = "import sys; from dalle.__main__ import parser; parser().format_help(); print(*sys.modules)"
    asked = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "pandas", "rich", "PIL", "pydantic"}.isdisjoint(asked.stdout.split())
