"""The documents are true: Python in them runs, commands parse, configs are allowed, links lead somewhere.

Commands that take minutes or a trained model are not run here: their options are read as the command itself reads them.
"""

import re
import shlex
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import pytest
import yaml

import dalle.__main__
import workflow.torture.__main__
from dalle.config.reading import load_config
from dalle.provenance import ROOT
from eval.__main__ import parser as eval_parser

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PARSERS = {"dalle": dalle.__main__.parser, "eval": eval_parser}
MODULES = {"pytest", "venv", *(f"workflow.benchmarks.{path.stem}" for path in (ROOT / "workflow/benchmarks").glob("*"))}
MODULES |= {workflow.torture.__name__, "workflow.readme", "workflow.run", "workflow.screenshots"}
OTHERS = {"conda", "find", "git", "mlflow", "sbatch", "sha256sum", "sinfo", "squeue", "touch", "xdg-open", "python3"}
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def blocks(language: str) -> list:
    found = []
    for path in DOCUMENTS:
        texts = re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        found += [pytest.param(text, id=f"{path.stem}-{number}") for number, text in enumerate(texts)]
    return found


def commands(text: str) -> Iterator[list[str]]:
    plain = re.sub(r"(^|\s)#.*", r"\1", text.replace("\\\n", " "))
    reader = shlex.shlex(plain, posix=True, punctuation_chars="\n;&|")
    reader.whitespace, reader.commenters, reader.wordchars = " \t", "", reader.wordchars + "@:,{}…+()%"
    for ends, words in groupby(reader, key=lambda word: set(word) <= set("\n;&|")):
        named = [word for word in words if not re.match(r"[A-Z_]+=", word)]
        if named and not ends:
            yield named


def check(words: list[str]) -> None:
    program, *rest = words
    if program == "make":
        assert {word for word in rest if "=" not in word} <= TARGETS
    elif program == "snakemake":
        configs = [after for word, after in pairwise(rest) if word == "--configfile"]
        assert all((ROOT / config).is_file() or "/" not in config for config in configs)
    elif program == "python" and rest[0] == "-m" and rest[1] in PARSERS:
        PARSERS[rest[1]]().parse_args(rest[2:])
    elif program == "python" and rest[0] == "-m":
        assert rest[1] in MODULES
    elif program == "python" and rest[0] == "-c":
        compile(rest[1], "documents", "exec")
    elif program.startswith("~"):  # of another environment
        assert rest
    else:
        assert program in OTHERS


@pytest.mark.parametrize("text", blocks("sh"))
def test_every_command_is_one(text: str) -> None:
    for words in commands(text):
        check(words)


@pytest.mark.parametrize(
    "wrong", ["make nothing", "python -m dalle smaple x", "snakemake --configfile a/b.yaml", "rm x"]
)
def test_a_command_that_is_none_is_found(wrong: str) -> None:
    with pytest.raises((AssertionError, SystemExit)):
        check(wrong.split())


@pytest.mark.parametrize("text", blocks("python"))
def test_every_snippet_runs(smoke: tuple[Path, str], text: str, capsys: pytest.CaptureFixture) -> None:
    exec(text.replace("results/scenes/", f"{smoke[0]}/results/smoke/"), {})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_config_is_allowed(text: str) -> None:
    values = yaml.safe_load(text)
    if rules := values.pop("set-resources", None):  # of a profile
        known = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
        assert all(f"rule {name}:" in known for name in rules)
    assert load_config({"experiment": "documents"} | values).experiment


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_link_and_picture_is_there(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("package", ["dalle", "eval"])
def test_the_map_names_every_room(package: str) -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\| `{package}/` \|.*?(?=\n\n)", text, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([\w/]+)`", "\n".join(line.split("|")[1] for line in table.splitlines()[2:])))
    rooms = {path.stem + "/" * path.is_dir() for path in (ROOT / package).iterdir() if not path.stem.startswith("__")}
    assert named == rooms | {"__main__"}


def test_the_notebook_runs(smoke: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("RESULTS", str(smoke[0] / "results/smoke"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    book = nbformat.read(ROOT / "docs/explore.ipynb", as_version=4)
    ran = NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.output_type for cell in ran.cells if cell.cell_type == "code" for output in cell.outputs]
    assert shown.count("display_data") >= 3
