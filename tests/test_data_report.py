"""The data report: its numbers are those that the sources state, and every odd picture is counted in it."""

import re
from collections import Counter

import pandas as pd
import pytest
from little_source import solid, synthetic, write_from
from PIL import Image
from test_oddities import ODD

from dalle.config.data import Coco, Cub, Overlap
from dalle.config.models import Tokenizer as TokenizerSettings
from dalle.data.duplicates import write_overlap
from dalle.data.oddities import RULES
from dalle.data.real import write_photographs
from dalle.data.report import write_data_report
from dalle.data.sources.cub import REPAIRED
from dalle.provenance import ROOT
from dalle.tokenizer import train_tokenizer

SHARED = ROOT.parent / "shared" / "data"
here = pytest.mark.skipif(not SHARED.exists(), reason="the small real data are not here")


def tabled(data, out):
    """The data report on a folder, read back, by section and item."""
    train_tokenizer(data / "train.parquet", out / "tokenizer.json", TokenizerSettings(vocab_size=256))
    training = [data / f"{name}.parquet" for name in ("train", "uncaptioned")]
    write_overlap({"val": data / "val_reference.parquet"}, training, data, out / "overlap.png", Overlap())
    write_data_report(data, out / "tokenizer.json", 32, out / "data.parquet", out / "data.png")
    return pd.read_csv(out / "data.csv").set_index(["section", "item"])


def numbers_of_sources(pattern):
    """The whole numbers that SOURCES.md has where the pattern has groups."""
    found = re.search(pattern, (SHARED / "SOURCES.md").read_text(encoding="utf-8"))
    return [int(number.replace(",", "")) for number in found.groups()]


@here
def test_the_data_report_says_the_same_in_a_table_and_a_figure(tmp_path):
    write_photographs(Coco(folder=str(SHARED / "coco")), 0, tmp_path)
    table = tabled(tmp_path, tmp_path / "report")
    for split in ("val", "train"):
        pattern = rf"`coco/{split}2017/` ([\d,]+) jpg \+ `[\w/]*captions_{split}2017\.json` \(([\d,]+)"
        pictures, captions = numbers_of_sources(pattern)
        for item in (split, f"{split}, with captions"):
            assert table.loc[("delivered", item), ["pictures", "captions"]].tolist() == [pictures, captions]
    assert table.loc[("odd pictures", "greyscale"), "pictures"] == 0
    assert table.loc[("overlap with training", "val"), "pictures"] == 0
    lengths = table.loc["tokens of a caption"]
    assert lengths.loc["least", "value"] <= lengths.loc["median", "value"] <= lengths.loc["greatest", "value"]
    assert 0 < lengths.loc["more than the context of 32", "captions"] < 955
    assert Image.open(tmp_path / "report" / "data.png").size == (1200, 840)


@here
def test_the_data_report_on_birds_has_the_numbers_of_the_sources(tmp_path):
    """The whole small CUB, of which a few pictures are trained on and asked for."""
    given = {"captions_from": "captions.csv", "test_names": "zeroshot_test_filenames.txt", "captions": "one"}
    settings = Cub(folder=str(SHARED / "cub"), pictures=40, prompts=20, image_size=32, **given)
    write_photographs(settings, 0, tmp_path)
    table = tabled(tmp_path, tmp_path / "report")
    (pictures,) = numbers_of_sources(r"`cub/images/` ([\d,]+) jpg")
    captions, captioned = numbers_of_sources(r"`cub/captions.csv` ([\d,]+) rows = ([\d,]+) photos x 10")
    of_split = numbers_of_sources(r"Captioned: train ([\d,]+) photos .*?, test ([\d,]+) \(")
    delivered = table.loc["delivered"]
    assert delivered.loc[["train", "test"], "pictures"].sum() == pictures
    told = delivered.loc[["train, with captions", "test, with captions"]]
    assert told["pictures"].tolist() == of_split
    assert told[["pictures", "captions"]].sum().tolist() == [captioned, captions]
    (lost,) = numbers_of_sources(r"([\d,]+) photos' captions contain U\+FFFD pairs")
    assert table.loc[("notes of the source", REPAIRED), "value"] == lost
    assert table.loc[("archives", "val_reference"), "pictures"] == of_split[1]


def test_the_data_report_counts_every_odd_picture(tmp_path):
    files = [data for data, _, _ in ODD.values()] + [solid(n, n, n) for n in range(3)]
    source, _ = synthetic(files)
    num = len(ODD)
    write_from(tmp_path, source.rows.assign(split=["train"] * num + ["val"] * 3), files)
    counted = Counter(name for _, odd, _ in ODD.values() for name in odd)
    assert counted["unreadable"] == 3
    table = tabled(tmp_path, tmp_path / "report")
    odd = table.loc["odd pictures"]
    assert odd["pictures"].to_dict() == {name: counted[name] for name in RULES}
    assert odd["note"].to_dict() == RULES
    assert table.loc[("taken by filter", "unreadable"), "pictures"] == 3
    sizes = table.loc["sizes"]
    assert sizes.loc["width, least", ["pictures", "value"]].tolist() == [num, 40]  # those that are used: 3 of val, too
