"""Which door leads to which source: one for each ``kind`` of the settings."""

from pathlib import Path
from typing import TYPE_CHECKING

from dalle.data.sources.arrow import read_hub, read_parquet
from dalle.data.sources.coco import SPLITS, read_coco, read_karpathy
from dalle.data.sources.cub import read_cub
from dalle.data.sources.imagefolder import read_imagefolder
from dalle.data.sources.shards import read_shards
from dalle.data.sources.table import Source

if TYPE_CHECKING:
    from dalle.config.data import Coco, Photographs

DOORS = {
    "cub": lambda given: read_cub(given.folder, given.captions_from, given.split, given.test_names),
    "imagefolder": lambda given: read_imagefolder(given.folder, given.columns),
    "parquet": lambda given: read_parquet(given.paths, given.columns),
    "webdataset": lambda given: read_shards(given.paths, given.columns),
    "hub": lambda given: read_hub(given.hub, given.revision, given.columns),
}
# What lies in the folder of a set that has one.
LAYOUTS = {
    "coco": "annotations/ and the folders of pictures, as MS-COCO's own archives unpack",
    "cub": "images.txt, classes.txt and images/, as CUB_200_2011.tgz unpacks, and the captions of Reed et al.",
    "imagefolder": "pictures, and metadata.csv (file_name, caption) beside them",
}


def open_source(settings: "Photographs") -> Source:
    """The source that the settings describe.

    Raises ValueError as its door does, and where there is no folder, saying what belongs there.
    """
    if settings.kind in LAYOUTS and not Path(settings.folder).is_dir():
        raise ValueError(
            f"data.folder: {settings.folder} is not there; needed is a folder with {LAYOUTS[settings.kind]}. "
            "docs/data.md says where to get them"
        )
    return _coco(settings) if settings.kind == "coco" else DOORS[settings.kind](settings)


def _coco(given: "Coco") -> Source:
    if given.karpathy:
        return read_karpathy(given.folder, given.karpathy)
    wanted = {*given.train, given.val}
    return read_coco(given.folder, given.year, tuple(split for split in SPLITS if split in wanted))
