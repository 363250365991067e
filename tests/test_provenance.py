"""A digest follows what code does, not how it is written; a file is whole or not there."""

from pathlib import Path

import pytest

from dalle import imports, provenance
from dalle.imports import closure, imports_of
from dalle.provenance import atomic, code_digest, file_digest, run_facts

CODE = '"""Docs."""\n\ndef double(x):\n    """Twice x."""\n    return 2 * x\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project: the digests are taken of files below ``tmp_path``."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    imports._imports_of.cache_clear()
    yield tmp_path
    imports._imports_of.cache_clear()


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "edit",
    [
        CODE.replace("return", "# why\n    return"),
        CODE.replace("Twice x.", "The double of x."),
        CODE.replace("2 * x", "(2*x)"),
        CODE.replace('"""Docs."""\n', ""),
    ],
    ids=["comment", "docstring", "layout", "no docstring"],
)
def test_words_do_not_enter_the_digest(project: Path, edit: str) -> None:
    write(project, dalle__a=CODE)
    before = code_digest("dalle")
    write(project, dalle__a=edit)
    assert code_digest("dalle") == before


def test_deeds_names_and_new_files_enter_the_digest(project: Path) -> None:
    write(project, dalle__a=CODE)
    digests = {code_digest("dalle")}
    write(project, dalle__a=CODE.replace("2 *", "3 *"))
    digests.add(code_digest("dalle"))
    write(project, dalle__b=CODE)
    digests.add(code_digest("dalle"))
    (project / "dalle/b.py").rename(project / "dalle/c.py")
    digests.add(code_digest("dalle"))
    assert len(digests) == 4


def test_a_file_named_twice_counts_once(project: Path) -> None:
    write(project, dalle__a=CODE)
    assert code_digest("dalle", "dalle/a.py") == code_digest("dalle/a.py")


def test_a_place_that_does_not_exist_is_named(project: Path) -> None:
    with pytest.raises(ValueError, match="there is no dalle/nowhere in the project"):
        code_digest("dalle/nowhere")


def test_the_closure_follows_every_form_of_import_and_leaves_the_plumbing(project: Path) -> None:
    write(
        project,
        workflow__scripts__job="from dalle.a import x\nimport os, torch",
        dalle__a="from dalle import b\nfrom dalle.config.models import DVAE\nx = 1",
        dalle__b="def f():\n    import dalle.rooms.c",
        dalle__rooms__c="from dalle.rooms.d import y",
        dalle__rooms__d="y = 1",
        dalle__config__models="from dalle.unseen import z",
        dalle__unseen="z = 1",
    )
    found = closure("workflow/scripts/job.py")
    assert found == ("dalle/a.py", "dalle/b.py", "dalle/rooms/c.py", "dalle/rooms/d.py", "workflow/scripts/job.py")


def test_the_closure_ends_where_files_import_each_other(project: Path) -> None:
    write(project, dalle__a="import dalle.b", dalle__b="import dalle.a")
    assert closure("dalle/a.py") == ("dalle/a.py", "dalle/b.py")


def test_imports_of_a_missing_file_is_an_error(project: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file workflow/scripts/x\.py"):
        imports_of("workflow/scripts/x.py")


def test_atomic_makes_folders_and_leaves_only_the_file(tmp_path: Path) -> None:
    with atomic(tmp_path / "new" / "table.csv") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "new/table.csv").exists()
        assert temporary.suffix == ".csv"
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["table.csv"]
    assert (tmp_path / "new/table.csv").read_text() == "whole"


def test_a_failed_write_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("old")
    with pytest.raises(RuntimeError), atomic(tmp_path / "table.csv") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("table.csv", "old")]


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_run_facts_name_the_pair_that_must_match() -> None:
    facts = run_facts()
    assert facts["torch"].startswith("2.14.1")
    assert facts["torchvision"].startswith("0.29.1")


def test_run_facts_need_no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_facts()["commit"] is None
