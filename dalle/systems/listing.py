"""What a folder holds, as far as can be told without opening its files. Imports nothing heavy: Snakemake asks early."""

import hashlib
from pathlib import Path


def listing_digest(folder: str | Path) -> str:
    """A digest of the names, sizes and times of all files in a folder and its subfolders.

    As inputs of a rule, tens of thousands of pictures would flood its log; the folder alone has a time that does not
    change with theirs.
    """
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
    facts = [(file.relative_to(folder).as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
