"""Systems that know the answer or none of it, and DALL·E's winners: which picture stands under which caption."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from dalle.config.models import DVAE
from dalle.images import read_archive, write_archive
from dalle.models.dvae import DiscreteVAE, decode_codes, encode_pictures, load_dvae
from dalle.systems import dalle1
from dalle.systems.oracle import write_real, write_reconstructions, write_shuffled

SETTINGS = DVAE(codes=12, downsample=4, width=8, blocks=1, start="random")


@pytest.fixture(scope="module")
def dvae_folder(tmp_path_factory):
    """An untrained dVAE of 8 × 8 pixels in 2 × 2 codes; ``start`` has other weights than ``weights``."""
    folder = tmp_path_factory.mktemp("dvae")
    for seed, name in enumerate(("weights", "start")):
        torch.manual_seed(seed)
        model = DiscreteVAE(SETTINGS)
        torch.nn.init.normal_(model.decoder.interface[0].weight)
        save_file(model.state_dict(), folder / f"{name}.safetensors")
    (folder / "model.json").write_text(SETTINGS.model_dump_json())
    return folder


def write_pictures(path, names):
    """An archive of random pictures by (prompt_id, candidate); caption and scene tell the prompt."""
    rows = pd.DataFrame(names, columns=["prompt_id", "candidate"])
    rows = rows.assign(caption=[f"caption {p}" for p, _ in names], scene=[f'{{"of":{p}}}' for p, _ in names])
    pixels = np.random.default_rng(len(names)).integers(0, 256, (len(names), 8, 8, 3), dtype=np.uint8)
    write_archive(path, rows, pixels)
    return rows, pixels


def by_name(path):
    """Caption, scene and pixels of an archive by (prompt_id, candidate)."""
    rows, pixels = read_archive(path)
    named = zip(rows.itertuples(index=False), pixels, strict=True)
    return {(row.prompt_id, row.candidate): (row.caption, row.scene, image.tobytes()) for row, image in named}


# Other real pictures, and the reference through the dVAE


def test_real_pictures_stand_for_themselves(tmp_path):
    rows, pixels = write_pictures(tmp_path / "real", [(4, 0), (7, 0), (1, 0)])
    write_real(tmp_path / "real", tmp_path / "out", tmp_path / "selection")
    read, seen = read_archive(tmp_path / "out")
    assert read.equals(rows)
    assert np.array_equal(seen, pixels)
    selection = pd.read_parquet(tmp_path / "selection")
    assert selection.to_dict("list") == {"prompt_id": [4, 7, 1], "n_candidates": [1] * 3, "candidate": [0] * 3}


@pytest.mark.parametrize("weights", ["weights", "start"])
def test_reconstructions_are_the_reference_through_the_named_weights(tmp_path, dvae_folder, weights):
    rows, pixels = write_pictures(tmp_path / "reference", [(4, 0), (7, 0), (1, 0)])
    write_reconstructions(tmp_path / "reference", dvae_folder, weights, tmp_path / "out", tmp_path / "selection")
    read, seen = read_archive(tmp_path / "out")
    dvae = load_dvae(dvae_folder, weights)
    assert read.equals(rows)
    assert np.array_equal(seen, decode_codes(dvae, encode_pictures(dvae, pixels)))
    other = load_dvae(dvae_folder, {"weights": "start", "start": "weights"}[weights])
    assert not np.array_equal(seen, decode_codes(other, encode_pictures(other, pixels)))
    assert pd.read_parquet(tmp_path / "selection")["prompt_id"].tolist() == [4, 7, 1]


# Pictures under wrong captions

PICTURES = [(4, 0), (4, 3), (7, 1), (1, 0), (1, 2), (1, 3), (9, 1)]
SELECTED = [(4, 1, 0), (4, 2, 0), (4, 4, 3), (7, 1, 1), (7, 2, 1), (7, 4, 1), (9, 1, 1), (9, 2, 1), (9, 4, 1)]


def shuffle(folder, seed, names=PICTURES):
    """The archive before and after, and the selection after."""
    write_pictures(folder / "pictures", names)
    selected = pd.DataFrame(SELECTED, columns=dalle1.SELECTION_COLUMNS)
    dalle1.write_selection(folder / "selected", selected)
    write_shuffled(folder / "pictures", folder / "selected", folder / "out", folder / "selection", seed)
    return by_name(folder / "pictures"), by_name(folder / "out"), pd.read_parquet(folder / "selection")


@pytest.mark.parametrize("seed", range(6))
def test_no_shuffled_picture_keeps_its_caption_and_all_pictures_are_kept(tmp_path, seed):
    before, after, _ = shuffle(tmp_path, seed)
    origin = {image: name for name, (_, _, image) in before.items()}
    moves = {(origin[image][0], prompt) for (prompt, _), (_, _, image) in after.items()}
    assert {image for _, _, image in after.values()} == origin.keys()
    assert all(old != new for old, new in moves)
    assert sorted(old for old, _ in moves) == sorted(new for _, new in moves) == [1, 4, 7, 9]  # one to one
    assert all(origin[image][1] == candidate for (_, candidate), (_, _, image) in after.items())


def test_a_shuffled_picture_has_caption_and_scene_of_its_new_prompt(tmp_path):
    _, after, _ = shuffle(tmp_path, 0)
    for (prompt, _), (caption, scene, _) in after.items():
        assert caption == f"caption {prompt}"
        assert scene == f'{{"of":{prompt}}}'


def test_the_selection_follows_the_pictures(tmp_path):
    before, after, selection = shuffle(tmp_path, 0)
    chosen = list(selection[dalle1.SELECTION_COLUMNS].itertuples(index=False, name=None))
    assert [(n, candidate) for _, n, candidate in chosen] == [(n, candidate) for _, n, candidate in SELECTED]
    for (old, _, candidate), (new, _, _) in zip(SELECTED, chosen, strict=True):
        assert after[new, candidate][2] == before[old, candidate][2]


def test_the_shuffling_follows_from_the_seed(tmp_path):
    ways = [tuple(shuffle(tmp_path, seed)[2]["prompt_id"]) for seed in (0, 0, 1, 2, 3, 4)]
    assert ways[0] == ways[1]
    assert len(set(ways)) > 1


def test_one_caption_cannot_be_shuffled(tmp_path):
    with pytest.raises(ValueError, match="pictures: one caption cannot be shuffled, at least two can"):
        shuffle(tmp_path, 0, names=[(4, 0), (4, 1)])
    assert not (tmp_path / "out").exists()


# DALL·E's winners

WINNERS = [(4, 1, 0), (4, 2, 0), (4, 4, 3), (7, 1, 0), (7, 2, 1), (7, 4, 1)]


@pytest.fixture
def drawn(tmp_path):
    """Four candidates for each of two prompts, in two files, and their winners for N = 1, 2, 4."""
    write_pictures(tmp_path / "prompts", [(4, 0), (7, 0), (9, 0)])
    codes = np.random.default_rng(0).integers(0, 12, (8, 4)).astype(np.uint16)
    names = pd.DataFrame({"prompt_id": np.repeat([7, 4], 4), "candidate": [0, 1, 2, 3] * 2, "seed": 0})
    table = names.assign(codes=list(codes))
    table[::2].to_parquet(tmp_path / "0")
    table[1::2].to_parquet(tmp_path / "1")
    winners = pd.DataFrame(WINNERS, columns=dalle1.SELECTION_COLUMNS).assign(score=0.5)
    winners.to_parquet(tmp_path / "winners")
    return tmp_path, {(row.prompt_id, row.candidate): row.codes for row in table.itertuples()}


def write_winners(folder, dvae_folder):
    candidates = [folder / "0", folder / "1"]
    dalle1.write_pictures(
        folder / "winners", candidates, dvae_folder, folder / "prompts", folder / "out", folder / "selection"
    )


def test_every_distinct_winner_is_decoded_once(drawn, dvae_folder, monkeypatch):
    folder, codes = drawn
    decoded = []
    monkeypatch.setattr(dalle1, "decode_codes", lambda dvae, rows: decoded.append(rows) or decode_codes(dvae, rows))
    write_winners(folder, dvae_folder)
    distinct = [(4, 0), (4, 3), (7, 0), (7, 1)]
    assert np.array_equal(np.concatenate(decoded), [codes[name] for name in distinct])
    pictures = by_name(folder / "out")
    assert list(pictures) == distinct
    expected = decode_codes(load_dvae(dvae_folder), np.stack([codes[name] for name in distinct]))
    for name, image in zip(distinct, expected, strict=True):
        assert pictures[name] == (f"caption {name[0]}", f'{{"of":{name[0]}}}', image.tobytes())


def test_the_selection_is_the_winners_without_scores(drawn, dvae_folder):
    write_winners(drawn[0], dvae_folder)
    selection = pd.read_parquet(drawn[0] / "selection")
    assert list(selection.columns) == dalle1.SELECTION_COLUMNS
    assert list(selection.itertuples(index=False, name=None)) == WINNERS


def test_a_candidate_that_was_drawn_twice_is_an_error(drawn, dvae_folder):
    folder, _ = drawn
    pd.concat([pd.read_parquet(folder / name) for name in ("0", "1")]).to_parquet(folder / "0")
    with pytest.raises(ValueError, match="not a one-to-one merge"):
        write_winners(folder, dvae_folder)
    assert not (folder / "out").exists()
