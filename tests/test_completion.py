"""In bash, what was begun is completed: commands, options of the right command, else files."""

import shutil
import subprocess

import pytest

from workflow.completion import PARSERS, commands_of, script

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash here")


def offered(*words: str) -> list[str]:
    """What bash offers for the last of the words after ``python``."""
    asked = f"""{script()}
        COMP_WORDS=(python "$@"); COMP_CWORD=$#
        _dalle_bench
        printf '%s\\n' "${{COMPREPLY[@]}}" """
    ran = subprocess.run([BASH, "-c", asked, "bash", *words], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return ran.stdout.split()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["-m", "da"], ["dalle"]),
        (["-m", "dalle", "sam"], ["sample"]),
        (["-m", "eval", ""], ["score", "doctor", "-h", "--help"]),
        (["-m", "dalle", "sample", "a red ring", "--to"], ["--top-k", "--top-p"]),
        (["-m", "eval", "score", "--bl"], ["--blur", "--blur-protocol"]),
        (["-m", "dalle", "sample", "--clu"], []),  # an option of another command
        (["-m", "dalle", "verify", "res"], []),  # files
        (["-m", "pytest", "-"], []),
        (["script.py", "-m", "dalle", "sam"], []),
    ],
)
def test_what_is_begun_is_completed(words: list[str], completed: list[str]) -> None:
    assert offered(*words) == completed


@pytest.mark.parametrize("side", PARSERS)
def test_every_option_of_every_command_is_offered(side: str) -> None:
    for command, parser in commands_of(PARSERS[side]()).items():
        known = offered("-m", side, command, "-")
        assert all(option in known for action in parser._actions for option in action.option_strings)
        assert len(known) == len(set(known)) > 1


def test_bash_calls_it_for_python() -> None:
    said = subprocess.run([BASH, "-c", f"{script()}complete -p python3"], capture_output=True, text=True, check=True)
    assert said.stdout == "complete -o default -F _dalle_bench python3\n"
