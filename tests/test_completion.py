"""In bash, what was begun is completed: commands, and the options of the right command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dalle.provenance import ROOT

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash here")
ASK = """
eval "$(activate-global-python-argcomplete --dest=-)"
COMP_WORDS=(python "$@"); COMP_CWORD=$#; COMP_LINE="python $*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
_python_argcomplete_global python "${!#}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(*words: str) -> set[str]:
    """What bash offers for the last of the words after ``python``."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    asked = [BASH, "-c", ASK, "bash", *words]
    return set(
        subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["-m", "dalle", "s"], {"sample"}, {"complete"}),
        (["-m", "dalle", "sample", "ring", "--to"], {"--top-k", "--top-p"}, {"--temperature"}),
        (["-m", "dalle", "sample", "ring", "--clu"], set(), {"--clusters"}),  # an option of another command
        (["-m", "eval", ""], {"score", "doctor"}, {"sample"}),
        (["-m", "eval", "score", "--bl"], {"--blur", "--blur-protocol"}, {"--weights"}),
    ],
)
def test_what_is_begun_is_completed(words: list[str], some: set[str], none: set[str]) -> None:
    completed = offered(*words)
    assert completed >= some
    assert not completed & none
