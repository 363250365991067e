"""Writes environment.yml, the conda twin of requirements.lock: the same pins, for people who use conda.

Run from the project's root: ``python workflow/scripts/conda_twin.py``. No rule calls it; ``make lock`` does.
"""

import re
from pathlib import Path

from packaging.requirements import Requirement

PYTHON = "3.11"
# The machines the twin is for; pins of other systems (colorama on Windows, …) stay out.
LINUX = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "os_name": "posix",
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "extra": "",
}


def pins(lock: str) -> list[str]:
    """``name==version`` of every pin in the text of a lock that applies to Linux and our Python, in its order."""
    lines = re.findall(r"^([a-zA-Z0-9][^\\\n]*?)\s*\\?$", lock, flags=re.MULTILINE)
    requirements = [Requirement(line) for line in lines]
    return [
        f"{requirement.name}{requirement.specifier}"
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(LINUX)
    ]


def twin(lock: str) -> str:
    """The text of environment.yml for the text of a lock."""
    header = "# Written by workflow/scripts/conda_twin.py from requirements.lock: the same pins. Do not edit.\n"
    channels = f"name: dalle-bench\nchannels:\n  - conda-forge\ndependencies:\n  - python={PYTHON}\n  - pip\n  - pip:\n"
    return header + channels + "".join(f"      - {pin}\n" for pin in pins(lock))


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    (root / "environment.yml").write_text(twin(lock), encoding="utf-8")
