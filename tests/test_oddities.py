"""What is unusual about a photograph's file has its rule, is counted, and spoils nothing else."""

import io

import numpy as np
import pandas as pd
import pytest
from little_source import report_of, solid, synthetic, write_from
from PIL import Image

from dalle.data.crops import centred
from dalle.data.darkroom import Darkroom, Print
from dalle.data.oddities import RULES, oddities
from dalle.images import decode_picture, read_archive, read_rows
from dalle.provenance import ROOT

SHARED = ROOT.parent / "shared" / "data"
here = pytest.mark.skipif(not SHARED.exists(), reason="the small real data are not here")


def turned():
    exif = Image.Exif()
    exif[0x0112] = 8
    return exif


def palette():
    image = Image.new("P", (70, 66))
    image.putpalette([9, 8, 7])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def deep():
    buffer = io.BytesIO()
    Image.fromarray(np.full((66, 70), 257 * 40, np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def textured(kind):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (66, 70, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


ODD = {
    "plain": (solid(1, 2, 3), set(), (1, 2, 3)),
    "exif": (solid(50, 50, 50, kind="JPEG", exif=turned()), {"turned by EXIF"}, (50, 50, 50)),
    "grey": (solid(40, mode="L"), {"greyscale"}, (40, 40, 40)),
    "palette": (palette(), {"palette"}, (9, 8, 7)),
    "cmyk": (solid(255, 255, 255, 0, kind="JPEG", mode="CMYK"), {"CMYK"}, (0, 0, 0)),
    "deep": (deep(), {"16 bits", "greyscale"}, (40, 40, 40)),
    "alpha": (solid(0, 0, 0, 0, mode="RGBA"), {"transparent"}, (255, 255, 255)),
    "small": (solid(4, 5, 6, size=(40, 60)), {"small"}, (4, 5, 6)),
    "truncated": (textured("JPEG")[:-400], {"unreadable"}, None),
    "cut png": (textured("PNG")[:-400], {"unreadable"}, None),
    "text": (b"no picture", {"unreadable"}, None),
}


@pytest.mark.parametrize("name", ODD)
def test_every_odd_picture_has_its_rule_and_is_counted(name, tmp_path):
    data, odd, colour = ODD[name]
    source, _ = synthetic([data])
    source.rows["width"], source.rows["height"] = size_of(data)
    darkroom = Darkroom(source, 64, around_boxes=False, workers=1, seed=0)
    made = list(darkroom.develop([Print(0, "train", 0, 0, "", "centred")]))
    assert darkroom.odd[0] == odd
    assert set(odd) <= set(RULES)
    if colour is None:
        assert made == []
        assert "0.png" in darkroom.unreadable[0]
    else:
        assert np.abs(made[0][1].astype(int) - colour).max() <= 1


def size_of(data):
    try:
        return decode_picture(data, "")[0].shape[1::-1]
    except ValueError:
        return (0, 0)


def test_a_turned_photograph_stands_upright_in_the_archive():
    """Orientation 6: what is stored on the left is above."""
    stored = np.zeros((64, 96, 3), np.uint8)
    stored[:, 48:] = 255
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(buffer, "JPEG", exif=exif, quality=95)
    source, _ = synthetic([buffer.getvalue()])
    darkroom = Darkroom(source, 64, around_boxes=False, workers=1, seed=0)
    ((_, square, _),) = darkroom.develop([Print(0, "train", 0, 0, "", "centred")])
    assert square[:24].max() < 20
    assert square[40:].min() > 235


@here
def test_the_two_grey_birds_are_found_among_the_originals():
    files = sorted((SHARED / "cub" / "originals").rglob("*.jpg"))
    grey = [path for path in files if "greyscale" in oddities(path.read_bytes())]
    assert (len(files), len(grey)) == (32, 2)
    for path in grey:
        pixels = decode_picture(path.read_bytes(), path.name)[0]
        assert (pixels == pixels[..., :1]).all()


@here
def test_plain_jpegs_have_the_same_pixels_by_the_short_way(tmp_path):
    """The darkroom takes them from Pillow; the law of pixels is decode_picture."""
    files = [path.read_bytes() for path in sorted((SHARED / "coco" / "originals" / "val2017").iterdir())[:8]]
    source, _ = synthetic(files)
    darkroom = Darkroom(source, 64, around_boxes=False, workers=2, seed=0)
    made = [square for _, square, _ in darkroom.develop([Print(n, "", n, 0, "", "centred") for n in range(8)])]
    lawful = [centred(Image.fromarray(decode_picture(data, "")[0]), 64) for data in files]
    assert (np.stack(made) == np.stack(lawful)).all()


def test_a_size_that_the_source_says_wrongly_and_a_box_outside_are_counted():
    source, _ = synthetic([solid(1, 2, 3, size=(200, 100))] * 2, boxes={0: (10, 10, 40, 40), 1: (180, 10, 40, 40)})
    source.rows["width"], source.rows["height"] = 200, 101
    darkroom = Darkroom(source, 16, around_boxes=True, workers=1, seed=0)
    darkroom.look([0, 1])
    assert darkroom.odd == {0: {"other size"}, 1: {"other size", "box outside"}}
    with pytest.raises(ValueError, match=r"data\.crop: photographs has no boxes; allowed is centre"):
        Darkroom(synthetic([b""])[0], 16, around_boxes=True, workers=1, seed=0)


def test_broken_pictures_are_left_out_everywhere_and_the_report_says_so(tmp_path):
    files = [solid(n, n, n) for n in range(1, 9)]
    files[1] = files[6] = b"broken"
    source, _ = synthetic(files)
    rows = source.rows.assign(split=["train"] * 4 + ["val"] * 4)
    prompts = write_from(tmp_path, rows, files)
    assert sorted(prompts["prompt_id"]) == [4, 5, 7]
    assert set(read_rows(tmp_path / "train.parquet")["prompt_id"]) == {0, 2, 3}
    reds = read_archive(tmp_path / "val_real.parquet")[1][:, 0, 0, 0]
    assert set(reds) <= {1, 3, 4}
    report = report_of(tmp_path)
    assert report["odd_pictures"]["unreadable"]["pictures"] == 2
    step = report["filters"][-1]  # of training captions
    assert (step["step"], step["captions"], step["captions_left"]) == ("unreadable", 1, 3)
    captions = pd.read_parquet(tmp_path / "captions.parquet")
    assert captions["used"].tolist() == ["train", "", "train", "train", "prompt", "prompt", "", "prompt"]
    assert "1.png" in report["unreadable"]


def test_where_no_training_picture_can_be_read_the_first_reasons_are_told(tmp_path):
    files = [b"broken"] * 2 + [solid(n, n, n) for n in range(4)]
    source, _ = synthetic(files)
    rows = source.rows.assign(split=["train"] * 2 + ["val"] * 4)
    with pytest.raises(ValueError, match=r"no training picture can be read; 2 \(photographs: 0\.png: .* no PNG"):
        write_from(tmp_path, rows, files, held_back=0.5)
