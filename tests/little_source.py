"""Sources of a few pictures that tests make themselves, and the experiment's data from them."""

import io
import json

from PIL import Image

from dalle.config.data import Folder
from dalle.data import real
from dalle.data.sources.table import make_source
from dalle.images import read_rows


def solid(*colour, size=(70, 66), kind="PNG", mode="RGB", **how):
    """A picture file of one colour, RGB or as its mode says."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour if len(colour) > 1 else colour[0]).save(buffer, kind, **how)
    return buffer.getvalue()


def synthetic(files, **more):
    """A source of these files, one caption each, all of them for training; and the files."""
    rows = [
        {"prompt_id": n, "image_id": n, "caption": f"a picture number {n}", "split": "train", "file": f"{n}.png"}
        | {"picture": n}
        for n in range(len(files))
    ]
    return make_source("photographs", rows, files.__getitem__, **more), files


def write_from(folder, rows, files, **settings):
    """write_photographs of rows that are already there; the suite's rows."""
    source = make_source("photographs", rows.to_dict("records"), files.__getitem__)
    given = Folder(folder="none", **settings)
    door, real.open_source = real.open_source, lambda _: source
    try:
        real.write_photographs(given, 0, folder)
    finally:
        real.open_source = door
    return read_rows(folder / "val.parquet")


def report_of(folder):
    """What write_photographs counted."""
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))
