"""What the two command lines say of themselves: at once, and with an example that they take."""

import shlex
import subprocess
import sys

import pytest
from test_architecture import HEAVY

import dalle.__main__
from dalle.provenance import ROOT
from eval import __main__ as judging

SIDES = {"dalle": dalle.__main__, "eval": judging}
COMMANDS = [(side, command) for side, module in SIDES.items() for command in module.EXAMPLES]


@pytest.mark.parametrize(("side", "command"), COMMANDS)
def test_every_command_has_an_example_that_it_takes(side: str, command: str, capsys: pytest.CaptureFixture) -> None:
    example, parser = SIDES[side].EXAMPLES[command], SIDES[side].parser()
    words = shlex.split(example)
    assert words[:4] == ["python", "-m", side, command]
    assert parser.parse_args(words[3:]).command == command
    with pytest.raises(SystemExit):
        parser.parse_args([command, "--help"])
    assert f"For example: {example}" in " ".join(capsys.readouterr().out.split()).replace("- ", "-")


@pytest.mark.parametrize("side", SIDES)
def test_all_commands_are_listed_and_nothing_heavy_is_loaded(side: str) -> None:
    loaded = f"import sys; from {side}.__main__ import parser; parser().print_help(); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    *shown, modules = said.strip().splitlines()
    assert "For example:" in "".join(shown) and all(name in "".join(shown) for name in SIDES[side].EXAMPLES)
    assert not HEAVY & set(modules.split())
