"""What machines do to a run: full and closed disks, flipped bits, odd places. ``python -m workflow.torture`` has more.

Hostile files are in test_hostile.py and test_fuzz.py.
"""

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from dalle.gallery import Section, Tile, write_gallery
from dalle.images import write_archive
from dalle.provenance import ROOT, atomic, clear_leftovers
from dalle.sampling.parts import Parts
from dalle.seals import check_seals, seal
from dalle.sheets import write_sheet
from eval.features import FeatureSet, save_features
from eval.store import FeatureStore
from eval.tables import write_table

# Disks that are full or closed


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


ROWS = pd.DataFrame({"prompt_id": range(8), "candidate": 0, "caption": "größe", "scene": ""})
NUMBERS = pd.DataFrame({"value": np.random.default_rng(0).random(4000)})
SEEN = {bytes([n]) * 32: (np.full(500, n, np.float32), np.full(100, n, np.float32)) for n in range(8)}
FEATURES = FeatureSet(
    *(np.arange(8), np.zeros(8, np.int64), np.zeros(8, bool)),
    *(np.ones((8, 999)), np.ones((8, 9))),
    extractor_digest="d",
)


def write_codes(path: Path) -> None:
    with atomic(path) as temporary:
        np.save(temporary, noise(8000))


def write_weights(path: Path) -> None:
    from safetensors.torch import save_file

    with atomic(path) as temporary:
        save_file({"weight": torch.ones(4000)}, temporary)


def write_part(path: Path) -> None:
    Parts(path, "key").write(0, pa.table({"value": NUMBERS["value"]}))


WRITERS: dict[str, Callable[[Path], object]] = {
    "archive.parquet": lambda path: write_archive(path, ROWS, noise(8, 32, 32, 3)),
    "table.parquet": lambda path: write_table(NUMBERS, path),
    "sheet.csv": lambda path: write_sheet(NUMBERS, path),
    "features.safetensors": lambda path: save_features(FEATURES, path),
    "store": lambda path: FeatureStore(path, "space").add(SEEN),
    "codes.npy": write_codes,
    "weights.safetensors": write_weights,
    "candidates.parquet": write_part,
    "sheet.png": lambda path: write_gallery([Section("", [[Tile(noise(64, 64, 3))]])], path),
}


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    """Every write beyond so many bytes fails, whatever library writes: a full disk that needs no rights to make."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Nobody may write into ``folder``: root neither, who is nobody for a while."""
    folder.chmod(0o555)
    before, is_root = Path.cwd(), os.geteuid() == 0
    os.chdir(folder)  # the way here may be closed to nobody
    if is_root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        os.chdir(before)
        folder.chmod(0o755)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_an_error_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    with no_file_above(2000), pytest.raises(Exception, match=r"File too large|writ|I/O|os error 27"):
        WRITERS[name](tmp_path / name)
    assert [file for file in files_below(tmp_path) if not file.endswith("/key")] == []
    WRITERS[name](tmp_path / name)
    assert files_below(tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_a_closed_folder_is_an_error_and_stays_as_it_was(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    (tmp_path / "closed").mkdir()
    with closed(tmp_path / "closed"), pytest.raises((OSError, SafetensorError), match="Permission denied"):
        WRITERS[name](Path(name))
    assert list((tmp_path / "closed").iterdir()) == []


def job(body: str, folder: Path, **given: object) -> subprocess.CompletedProcess:
    """A script of the workflow with input ``in``, output ``out`` and its log, run in ``folder``."""
    code = f"""
        import sys; sys.path.insert(0, {str(ROOT)!r})
        from types import SimpleNamespace
        from pathlib import Path
        from dalle.joblog import job
        from dalle.provenance import atomic
        files = {{"input": ["results/a/in"], "output": ["results/a/out"], "log": ["results/a/logs/x/y.log"]}}
        snakemake = SimpleNamespace(**files, rule="x", wildcards={{}}, params={{}}, threads=1)
        with job(snakemake):
    """
    whole = textwrap.dedent(code) + textwrap.indent(textwrap.dedent(body), "    ")
    asked = [sys.executable, "-c", whole]
    return subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False, **given)


WORK = """
with atomic("results/a/out") as temporary:
    temporary.write_text("made")
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The folder of an experiment with one sealed file."""
    folder = tmp_path / "results/a"
    folder.mkdir(parents=True)
    (folder / "in").write_text("given", encoding="utf-8")
    seal([folder / "in"], folder)
    return folder


def test_a_job_whose_disk_is_full_ends_in_one_line_though_its_log_cannot_be_written(results: Path) -> None:
    body = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))" + WORK.replace('"made"', '"x" * 99')
    ran = job(body, results.parents[1])
    assert ran.returncode == 1
    assert ran.stderr.startswith("OSError: [Errno 27] File too large")
    assert ran.stderr.count("\n") == 1
    assert files_below(results) == ["in", "logs/x/y.log", "seals/in.sha256"]


def test_a_job_that_is_told_to_stop_leaves_nothing_half_written(results: Path) -> None:
    body = WORK + "    import os, signal\n    os.kill(os.getpid(), signal.SIGTERM)"
    ran = job(body, results.parents[1])
    assert (ran.returncode, ran.stderr) == (1, "stopped by SIGTERM\n")
    assert files_below(results) == ["in", "logs/x/y.log", "seals/in.sha256"]


def test_what_a_killed_job_left_goes_with_the_next_try_and_nothing_else(results: Path) -> None:
    body = WORK + "    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)"
    assert job(body, results.parents[1]).returncode == -signal.SIGKILL
    assert sum(name.startswith(".") and name.endswith("-out") for name in files_below(results)) == 1
    (results / ".0123abcd-other").touch()
    assert job(WORK, results.parents[1]).returncode == 0
    assert files_below(results) == sorted(
        [".0123abcd-other", "in", "logs/x/y.json", "logs/x/y.log", "out", "seals/in.sha256", "seals/out.sha256"]
    )


def test_leftovers_are_those_of_this_very_name(tmp_path: Path) -> None:
    for name in (".0123abcd-a[1].npy", ".0123abcd-a1.npy", "0123abcd-a[1].npy", ".notahexa-a[1].npy"):
        (tmp_path / name).touch()
    clear_leftovers(tmp_path / "a[1].npy")
    assert files_below(tmp_path) == sorted([".0123abcd-a1.npy", "0123abcd-a[1].npy", ".notahexa-a[1].npy"])


# Bits that flip


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ("store", "candidates.parquet")])
def test_a_flipped_bit_anywhere_in_a_file_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    seal([path], tmp_path)
    check_seals([path], tmp_path)
    size = path.stat().st_size
    for place in {0, size // 3, size // 2, size - 1}:
        flip(path, place)
        with pytest.raises(ValueError, match=rf"{name} is not what its job made.*Delete it"):
            check_seals([path], tmp_path)
        flip(path, place)
    check_seals([path], tmp_path)


def test_a_seal_is_what_sha256sum_checks(results: Path) -> None:
    asked = ["sha256sum", "--check", "seals/in.sha256"]
    assert subprocess.run(asked, cwd=results, capture_output=True, check=False).returncode == 0
    flip(results / "in", 0)
    assert subprocess.run(asked, cwd=results, capture_output=True, check=False).returncode == 1


def test_files_from_outside_and_files_without_a_seal_are_nobodys_business(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    (tmp_path / "results").mkdir()
    (tmp_path / "results/b.csv").touch()
    check_seals([tmp_path / "a.csv", tmp_path / "results/b.csv"], tmp_path / "results")


def test_a_job_refuses_a_damaged_input_and_makes_nothing(results: Path) -> None:
    flip(results / "in", 2)
    ran = job(WORK, results.parents[1])
    assert ran.returncode == 1
    assert ran.stderr.startswith("ValueError: results/a/in is not what its job made: its SHA-256 is ")
    assert ran.stderr.count("\n") == 1
    assert files_below(results) == ["in", "logs/x/y.log", "seals/in.sha256"]


def test_a_damaged_segment_of_the_feature_store_is_named_and_never_believed(tmp_path: Path, caplog) -> None:
    store = FeatureStore(tmp_path, "space")
    few = {key: (features[:4], logits[:2]) for key, (features, logits) in list(SEEN.items())[:2]}
    store.add(few)
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for place in [*range(0, len(whole), 7), "half"]:
        path.write_bytes(whole)
        flip(path, place) if isinstance(place, int) else path.write_bytes(whole[: len(whole) // 2])
        caplog.clear()
        assert store.find(list(few)) == {}
        assert f"{path.name} is damaged" in caplog.text
        assert not path.exists()
    store.add(few)
    assert path.read_bytes() == whole
    assert store.find(list(few)).keys() == few.keys()


def test_a_damaged_part_of_candidates_is_named_and_drawn_again(tmp_path: Path, caplog) -> None:
    parts = Parts(tmp_path / "c.parquet", "key")
    parts.write(0, pa.table({"value": NUMBERS["value"]}))
    path = tmp_path / ".c.parquet.parts/00000000.parquet"
    whole = path.read_bytes()
    assert parts.missing(2) == [1]
    for damaged in (whole[:1000], b"", whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]):
        path.write_bytes(damaged)
        caplog.clear()
        assert parts.missing(2) == [0, 1]
        assert "00000000.parquet is damaged" in caplog.text


# Odd places


ODD = {"LC_ALL": "C", "LANG": "C"}
TAKE_IN = """
import os, sys
sys.path.insert(0, {root!r})
import pandas as pd
from dalle.intake import take_in
from dalle.joblog import job_log
from dalle.manifest import open_pictures, prompts_of
from dalle.sheets import write_sheet
with job_log("größe.log"):
    pictures = open_pictures("bilder", "captions.csv")
    take_in(pictures, prompts_of(pictures.rows), "pictures.parquet", "selection.parquet")
    write_sheet(pictures.rows, "sheet.csv")
    print("größe ≥ 貓")
"""


def taken_in(folder: Path, umask: int, **variables: str) -> dict[str, bytes]:
    """What becomes of a folder of pictures with captions of many letters."""
    (folder / "bilder").mkdir(parents=True)
    for number, name in enumerate(("größe.png", "猫.png")):
        Image.fromarray(noise(8, 8, 3) // (number + 1)).save(folder / "bilder" / name)
    (folder / "captions.csv").write_text("file,caption\ngröße.png,Größe ≥ 3\n猫.png,一只猫 🐈\n", encoding="utf-8")
    asked = [sys.executable, "-c", TAKE_IN.format(root=str(ROOT))]
    ran = subprocess.run(
        asked, cwd=folder, env={"PATH": os.environ["PATH"]} | variables, umask=umask, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_neither_locale_nor_home_nor_umask_nor_the_letters_of_a_path_change_a_byte(tmp_path: Path) -> None:
    usual = taken_in(tmp_path / "usual", 0o022, LC_ALL="C.UTF-8", HOME=str(tmp_path))
    odd = taken_in(tmp_path / "größe データ", 0o077, **ODD)
    assert odd == usual
    assert "größe ≥ 貓" in odd["größe.log"].decode()
    modes = {name: (tmp_path / name / "pictures.parquet").stat().st_mode & 0o777 for name in ("usual", "größe データ")}
    assert modes == {"usual": 0o644, "größe データ": 0o600}


def test_make_refuses_a_folder_whose_path_has_a_space(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b/Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    asked = ["make", "--dry-run", "run"]
    ran = subprocess.run(asked, cwd=tmp_path / "a b", capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "cannot work in a folder whose path has a space" in ran.stderr
