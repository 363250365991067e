"""Does a picture agree with its caption? A contrastive model's answer, for every picture of every system."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64
from tqdm import tqdm

from dalle.images import iter_archive, read_rows
from dalle.provenance import atomic
from eval.contrastive import Judge, load_judge
from eval.metrics.alignment import r_precision, variants
from eval.metrics.grounded import Scene
from eval.protocols.protocol import ClipProtocol, load_protocol

BATCH = 64  # pictures
KEYS = ["prompt_id", "candidate"]
COLUMNS = ["system", "suite", "protocol", *KEYS, "metric", "value", "extractor_digest"]


def write_agreement(
    archives: Sequence[str | Path],
    protocols: Sequence[str],
    own: str | Path,
    tokenizer: str | Path,
    weights: Mapping[str, str],
    out: str | Path,
) -> None:
    """:func:`agreement` of every archive by every protocol, as one parquet file.

    ``own`` is the folder of the experiment's contrastive model, for the protocols whose model it is; ``weights`` are
    files for the others, by model.
    """
    tables = [pd.DataFrame(columns=COLUMNS)]
    for protocol in map(load_protocol, protocols):
        judge = load_judge(protocol, weights.get(protocol.model), own=own, tokenizer=tokenizer)
        tables += [agreement(archive, protocol, judge) for archive in archives]
    with atomic(out) as temporary:
        pd.concat(tables).to_parquet(temporary, index=False)


def agreement(archive: str | Path, protocol: ClipProtocol, judge: Judge) -> pd.DataFrame:
    """Rows of the table image_scores for …/{system}/{suite}.parquet: the cosine's variants, R-precision, whether
    the caption was cut (``truncated``) and whether the picture came from a ``lossy`` file.

    R-precision is left out, and the log says so, where the archive has fewer different captions than the protocol
    wants to choose among.
    """
    archive = Path(archive)
    rows = read_rows(archive)
    captions = np.sort(rows["caption"].unique())  # the same order for every system, so the same wrong captions
    texts = judge.embed_texts(list(captions))
    own = pd.Index(captions).get_indexer(rows["caption"])
    batches = tqdm(iter_archive(archive, BATCH), f"{archive.parent.name}/{archive.stem}", disable=None)
    looked_at = [(judge.embed_pictures(batch), some["lossy"]) for some, batch in batches]
    pictures, lossy = (np.concatenate(parts) for parts in zip(*looked_at, strict=True))
    values = variants((pictures * texts[own]).sum(axis=1), judge.scale, protocol.weight)
    values |= {"truncated": judge.truncated(list(captions))[own].astype(float), "lossy": lossy.astype(float)}
    try:
        sayings = _sayings(rows, captions)
        values["r_precision"] = r_precision(pictures, texts, own, protocol.ways, protocol.seed, sayings)
    except ValueError as error:
        logging.warning("%s: no R-precision: %s", archive, error)
    wide = rows[KEYS].assign(**values)
    long = wide.melt(KEYS, var_name="metric", value_name="value")
    place = {"system": archive.parent.name, "suite": archive.stem}
    return long.assign(**place, protocol=protocol.label, extractor_digest=judge.digest)[COLUMNS]


def _sayings(rows: pd.DataFrame, captions: np.ndarray) -> Int64[np.ndarray, " captions"]:
    """A number for what a caption says: "A above B" and "B below A" are no negatives of each other."""
    first = rows.drop_duplicates("caption").set_index("caption")["scene"].loc[captions]
    said = [Scene.from_json(scene).content if scene else caption for caption, scene in first.items()]
    return pd.factorize(np.array(said))[0]
