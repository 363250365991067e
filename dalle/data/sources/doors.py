"""Which door leads to which source: one for each ``kind`` of the settings."""

from typing import TYPE_CHECKING

from dalle.data.sources.coco import SPLITS, read_coco, read_karpathy
from dalle.data.sources.cub import read_cub
from dalle.data.sources.folder import read_hub, read_imagefolder, read_parquet
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


def open_source(settings: "Photographs") -> Source:
    """The source that the settings describe. Raises ValueError as its door does."""
    return _coco(settings) if settings.kind == "coco" else DOORS[settings.kind](settings)


def _coco(given: "Coco") -> Source:
    if given.karpathy:
        return read_karpathy(given.folder, given.karpathy)
    wanted = {*given.train, given.val}
    return read_coco(given.folder, given.year, tuple(split for split in SPLITS if split in wanted))
