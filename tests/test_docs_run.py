"""The documents' commands for judging, drawing, planning and proving do it, on the smoke experiment's results."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from test_docs import blocks, commands

import dalle.__main__
from dalle.images import read_archive
from dalle.provenance import ROOT
from eval import __main__ as judging

MAINS: dict[str, Callable[[list[str]], int]] = {"dalle": dalle.__main__.main, "eval": judging.main}
# Minutes, a network, large files.
ELSEWHERE = {
    "doctor": "tests/test_doctor.py",
    "keep": "tests/test_sources.py",
    "import-dvae": "tests/test_import_dvae.py",
}
TOLD = {tuple(words) for block in blocks("sh") for words in commands(block.values[0])}
ASKED = sorted(words for words in TOLD if words[:2] == ("python", "-m") and words[2] in MAINS)
RESULTS = ("results/scenes", "results/scenes-large", "results/mine", "elsewhere/results/scenes")


@pytest.fixture(scope="module")
def desk(smoke: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which whatever the commands name is there: a run, pictures with captions, a config."""
    folder, results = tmp_path_factory.mktemp("desk"), smoke[0] / "results/smoke"
    for name in RESULTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(results)
    for name in ("workflow", "eval"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "mine.yaml").symlink_to(ROOT / "workflow/config/smoke.yaml")
    for place, archive in (("samples", "dvae"), ("photos", "real"), ("photographs", "real")):
        (folder / place).mkdir()
        rows, pixels = read_archive(results / f"systems/{archive}/val.parquet")
        for number, picture in enumerate(pixels):
            Image.fromarray(picture).save(folder / place / f"{number}.png")
    files = {"file": [f"{number}.png" for number in range(len(rows))], "prompt_id": rows["prompt_id"]}
    pd.DataFrame(files | {"caption": rows["caption"]}).to_csv(folder / "captions.csv", index=False)
    Image.fromarray(pixels[0]).save(folder / "scene.png")
    return folder


def test_there_is_a_command_of_each_kind() -> None:
    asked = {(words[2], words[3]) for words in ASKED}
    assert asked == {("eval", command) for command in judging.EXAMPLES} | {
        ("dalle", command) for command in dalle.__main__.EXAMPLES
    }


@pytest.mark.parametrize("words", [words for words in ASKED if words[3] not in ELSEWHERE], ids=shlex.join)
def test_the_command_does_it(
    desk: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(desk)
    _, _, side, *arguments = words
    assert MAINS[side](arguments) == 0, capsys.readouterr().err
    assert len(capsys.readouterr().out) > 20
    if "--out" in arguments:
        out = desk / arguments[arguments.index("--out") + 1]
        with Image.open(out) as sheet:
            assert sheet.format == "PNG"
        out.unlink()
