"""What is done of a table that takes long: parts beside it, each whole or not there, until they are joined."""

import logging
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dalle.provenance import atomic

LOG = logging.getLogger(__name__)


class Parts:
    """The numbered parts of the parquet file ``out``, in a hidden folder beside it.

    Parts made under another ``key`` are of another table: they are thrown away, said aloud in the log.
    """

    def __init__(self, out: str | Path, key: str):
        self.folder = Path(out).with_name(f".{Path(out).name}.parts")
        label = self.folder / "key"
        if self.folder.exists() and not (label.exists() and label.read_text(encoding="utf-8") == key):
            LOG.warning("%s holds parts of other candidates, which are not used: starting anew", self.folder)
            shutil.rmtree(self.folder)
        with atomic(label) as temporary:
            temporary.write_text(key, encoding="utf-8")

    def missing(self, num: int) -> list[int]:
        """Which of the parts 0 … ``num`` − 1 are not there, or not whole."""
        return [number for number in range(num) if not _is_whole(self._path(number))]

    def write(self, number: int, table: pa.Table) -> None:
        """Keep a part."""
        with atomic(self._path(number)) as temporary:
            pq.write_table(table, temporary, write_page_checksum=True)

    def join(self, out: str | Path, schema: pa.Schema) -> None:
        """Write all parts to ``out`` in the order of their numbers, and remove them."""
        tables = [pq.read_table(path, schema=schema) for path in sorted(self.folder.glob("[0-9]*.parquet"))]
        with atomic(out) as temporary:
            pq.write_table(pa.concat_tables([schema.empty_table(), *tables]).combine_chunks(), temporary)
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08}.parquet"


def _is_whole(path: Path) -> bool:
    """Whether a part is there and every page of it is what was written; a damaged one is said aloud in the log."""
    try:
        pq.read_table(path, page_checksum_verification=True)
    except FileNotFoundError:
        return False
    except (OSError, pa.ArrowInvalid) as error:
        LOG.warning("%s is damaged and not used (%s)", path, str(error).partition("\n")[0])
        return False
    return True
