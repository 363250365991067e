"""Strangers' files are data: nothing in them runs, leads out of its folder or fills the memory."""

import ast
import io
import json
import os
import pickle
import resource
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import SMOKE, call, copy_project
from PIL import Image

from dalle.config.data import Columns
from dalle.config.reading import load_config, read_yaml
from dalle.data.sources.coco import read_karpathy
from dalle.data.sources.shards import read_shards
from dalle.images import decode_picture
from dalle.manifest import read_parquet
from dalle.models.contrastive import load_open_clip
from dalle.provenance import ROOT
from eval.networks.table import class_token, efficientnet_lite0


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


Calls = Iterator[tuple[str, ast.Call, str]]


def calls(sources: dict[str, str]) -> Calls:
    """File, call and the name that is called, of all calls."""
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                yield path, node, ast.unparse(node.func)


def sources() -> dict[str, str]:
    files = [file for folder in ("dalle", "eval", "workflow") for file in sorted((ROOT / folder).rglob("*.py"))]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def texts_without_encoding(files: dict[str, str]) -> list[str]:
    """Places that leave it to the locale what a text file is."""

    def is_binary(call: ast.Call) -> bool:
        return any(isinstance(each, ast.Constant) and "b" in str(each.value) for each in call.args[1:2])

    found = []
    for path, node, name in calls(files):
        is_text = name.endswith((".read_text", ".write_text")) or (name == "open" and not is_binary(node))
        if is_text and "encoding" not in {keyword.arg for keyword in node.keywords}:
            found.append(f"{path}:{node.lineno}")
    return found


# What runs


# The first two have unpicklers that know no class; the third reads what it wrote itself, in a folder of its own.
MAY_UNPICKLE = {"dalle/models/import_dvae.py", "dalle/data/sources/cub.py", "dalle/training/launch.py"}


def doors_for_code(files: dict[str, str]) -> list[str]:
    """Calls that would run what a file says, or unpack it anywhere."""
    forbidden = {"eval", "exec", "os.system", "os.popen", "pd.read_pickle", "pandas.read_pickle", "joblib.load"}
    forbidden |= {
        "yaml.load",
        "yaml.unsafe_load",
        "yaml.full_load",
        "pickle.load",
        "pickle.loads",
        "shutil.unpack_archive",
    }
    found = []
    for path, node, name in calls(files):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        is_door = name in forbidden or name.split(".")[-1] in ("extractall", "extract") or given.get("shell") == "True"
        is_door |= name == "torch.load" and given.get("weights_only") != "True" and path not in MAY_UNPICKLE
        is_door |= given.get("allow_pickle", "False") != "False"
        if is_door:
            found.append(f"{path}:{node.lineno} {name}")
    for path, text in files.items():
        if path not in MAY_UNPICKLE and any(
            isinstance(node, ast.Import)
            and any(alias.name in ("pickle", "dill", "marshal", "shelve") for alias in node.names)
            for node in ast.walk(ast.parse(text))
        ):
            found.append(f"{path} imports an unpickler")
    return found


# Their tables hold numbers and names that the config has checked; benchmarks pretend their own.
MAY_WRITE_CSV = (
    "dalle/sheets.py",
    "dalle/training/fit.py",
    "eval/tables.py",
    "eval/__main__.py",
    "workflow/benchmarks/",
)


def sheets_with_formulas(files: dict[str, str]) -> list[str]:
    """Places that write CSV and do not disarm what strangers wrote."""
    named = [(path, node.lineno, name) for path, node, name in calls(files) if not path.startswith(MAY_WRITE_CSV)]
    return [f"{path}:{line}" for path, line, name in named if name.endswith((".to_csv", "csv.writer", "DictWriter"))]


RULES = [texts_without_encoding, doors_for_code, sheets_with_formulas]
BITES = [
    (texts_without_encoding, "path.write_text(text)"),
    (texts_without_encoding, "open(path, 'w')"),
    (doors_for_code, "import pickle"),
    (doors_for_code, "torch.load(path)"),
    (doors_for_code, "np.load(path, allow_pickle=True)"),
    (doors_for_code, "yaml.load(text, Loader=yaml.Loader)"),
    (doors_for_code, "archive.extractall(folder)"),
    (doors_for_code, "subprocess.run(text, shell=True)"),
    (sheets_with_formulas, "captions.to_csv(path)"),
    (sheets_with_formulas, "csv.writer(file).writerows(captions)"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule: Callable) -> None:
    assert rule(sources()) == []


@pytest.mark.parametrize(("rule", "code"), BITES, ids=lambda value: getattr(value, "__name__", value))
def test_the_rule_bites(rule: Callable, code: str) -> None:
    assert rule({"dalle/images.py": code})


class Evil:
    """Pickled, it makes a folder when it is loaded."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def evil_array(path: Path, evil: Evil) -> None:
    np.save(path, np.array([evil], dtype=object))


DOORS: dict[str, tuple[Callable[[Path, Evil], object], Callable[[Path], object]]] = {
    "codes.npy": (evil_array, np.load),
    "lite0.pth": (lambda path, evil: torch.save({"a": evil}, path), efficientnet_lite0),
    "reranker.pt": (lambda path, evil: torch.save({"a": evil}, path), lambda path: load_open_clip("RN50", path)),
    "old-reranker.pt": (
        lambda path, evil: path.write_bytes(pickle.dumps(evil)),
        lambda path: load_open_clip("RN50", path),
    ),
    "dino.pth": (
        lambda path, evil: torch.save({"a": evil}, path),
        class_token("vit_tiny_patch16_224", 32),
    ),
}


@pytest.mark.parametrize("name", DOORS)
def test_a_pickle_with_code_is_refused_at_every_door(name: str, tmp_path: Path) -> None:
    make, door = DOORS[name]
    make(tmp_path / name, Evil(tmp_path / "evil"))
    with pytest.raises(Exception):  # noqa: B017
        door(tmp_path / name)
    assert not (tmp_path / "evil").exists()


def test_the_members_of_a_shard_go_nowhere(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(buffer, format="PNG")
    folder = tmp_path / "shards"
    folder.mkdir()
    with tarfile.open(folder / "0.tar", "w") as shard:
        for name, data in (
            ("../../evil.png", buffer.getvalue()),
            ("../../evil.txt", b"a bird"),
            ("/tmp/evil2.txt", b""),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        shard.addfile(link)
    with pytest.raises(ValueError, match="samples without a picture"):
        read_shards({"train": [folder / "0.tar"]}, Columns())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [folder / "0.tar"]


@pytest.mark.parametrize("said", [b"{}", b"[]", b"nonsense", b'{"caption": 3}', b'{"caption": []}', b"[" * 100_000])
def test_a_shard_with_other_texts_is_one_sentence(tmp_path: Path, said: bytes) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as shard:
        for name, data in (("a.png", b"x"), ("a.json", said)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    with pytest.raises(ValueError, match=r"0\.tar: a: "):
        read_shards({"train": [tmp_path / "0.tar"]}, Columns())


@pytest.mark.parametrize("path", ["/dev/zero", "/etc/hostname", "secret.png"])
def test_a_parquet_file_does_not_choose_which_files_of_this_machine_are_read(tmp_path: Path, path: str) -> None:
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "secret.png")
    path = str(tmp_path / path)
    cells = [{"bytes": None, "path": path}]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"prompt_id": [0], "image": pa.array(cells, kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"row 0: the file cannot be read \(it has no bytes"):
        read_parquet(tmp_path / "a.parquet").load(0)


def test_karpathys_file_names_no_folder_outside(tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "secret.jpg")
    sentences = [{"raw": "a", "sentid": 1}]
    image = {"filepath": "..", "filename": "secret.jpg", "split": "train", "cocoid": 1, "sentences": sentences}
    (tmp_path / "k.json").write_text(json.dumps({"images": [image]}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"folders outside: 1 \(\.\.\)"):
        read_karpathy(tmp_path / "coco", tmp_path / "k.json")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes((3 * width + 1) * min(height, 2000)), 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + pixels + chunk(b"IEND", b"")


def test_pictures_that_would_fill_the_memory_are_refused() -> None:
    text = zlib.compress(bytes(200_000_000), 9)
    bombs = {
        "large.png": png(30_000, 2_000_000),
        "larger than a warning.png": png(10_000, 9_000),
        "text.png": png(8, 8, chunk(b"zTXt", b"a\0\0" + text)),
        "profile.png": png(8, 8, *(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000), 9)) for _ in range(99))),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, data in bombs.items():
        assert len(data) < 2**20
        with pytest.raises(ValueError, match=f"{name}: the picture cannot be read"):
            decode_picture(data, name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB


# A config is data


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(12)
)
CONFIGS = {
    "a: !!python/object/apply:os.mkdir [EVIL]": "it is no YAML",
    "experiment: !!python/name:os.system": "it is no YAML",
    "[" * 100_000: "it is no YAML",
    "\x00": "it is no YAML",
    "&a [*a]": "config",
    "{[1]: 2}": "it is no YAML",
    LAUGHS + "experiment: *m": "config key experiment",
    LAUGHS + "systems: *m": "config key systems",
    "__use_yte__: true\nexperiment: ?__import__('os').mkdir('EVIL')": "config key __use_yte__ is unknown",
}


@pytest.mark.parametrize("text", CONFIGS, ids=lambda text: text[:30])
def test_a_config_runs_nothing_and_fills_no_memory(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text.replace("EVIL", str(tmp_path / "evil")), encoding="utf-8")
    with pytest.raises(ValueError, match=CONFIGS[text]) as said:
        load_config(read_yaml(tmp_path / "c.yaml"))
    assert len(str(said.value)) < 20_000
    assert not (tmp_path / "evil").exists()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project"))


def test_snakemake_refuses_a_config_with_objects_and_one_that_is_a_program(project: Path) -> None:
    for text, says in (
        ("experiment: !!python/object/apply:os.mkdir [EVIL]", ""),
        ("__use_yte__: true\nexperiment: a", "__use_yte__ makes it a program; allowed are values alone\n"),
    ):
        (project / "evil.yaml").write_text(text.replace("EVIL", str(project / "evil")), encoding="utf-8")
        ran = call(project, "--dry-run", "--configfile", "evil.yaml")
        assert ran.returncode != 0
        assert ran.stderr.endswith(says), ran.stderr
        assert not (project / "evil").exists()


def test_a_second_run_in_the_folder_is_refused_in_clear_words(project: Path) -> None:
    lock = project / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("results/smoke/headline.txt\n", encoding="utf-8")
    ran = call(project, *SMOKE)
    lock.unlink()
    assert ran.returncode != 0
    assert "Directory cannot be locked. Please make sure that no other Snakemake process" in ran.stdout + ran.stderr
