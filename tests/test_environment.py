"""requirements.lock and environment.yml hold the same pins, and the lock can be installed by anybody."""

import re
from importlib.metadata import version

import yaml
from packaging.requirements import Requirement

from dalle.provenance import ROOT
from workflow.scripts.conda_twin import pins, twin

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_the_conda_twin_is_what_the_lock_says() -> None:
    assert (ROOT / "environment.yml").read_text(encoding="utf-8") == twin(LOCK)


def test_the_conda_twin_holds_every_pin_that_linux_needs() -> None:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    installed = dict(pin.split("==") for pin in dependencies[-1]["pip"])
    assert installed["torch"] == "2.14.1"
    assert installed["torchvision"] == "0.29.1"
    assert "colorama" not in installed  # Windows
    direct = re.findall(r"^([a-z0-9_.-]+)==", LOCK, flags=re.MULTILINE)
    assert set(installed) <= set(direct)
    assert dependencies[0] == "python=3.11"


def test_a_pin_is_kept_only_where_its_marker_applies() -> None:
    lock = (
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:00\n"
        "numpy==2.5.5 ; python_full_version >= '3.12' \\\n    --hash=sha256:00\n"
        "colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
        "zipp==4.1.2 \\\n    --hash=sha256:00\n"
    )
    assert pins(lock) == ["numpy==2.4.6", "zipp==4.1.2"]


def test_every_pin_has_a_hash_and_no_registry_is_named() -> None:
    assert "://" not in LOCK
    blocks = re.split(r"\n(?=[a-zA-Z])", LOCK.strip())
    assert [block.split("\n")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_what_pyproject_asks_for_is_locked_and_installed() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]
    locked = {pin.split("==")[0].replace("_", "-").lower() for pin in pins(LOCK)}
    assert {requirement.name.replace("_", "-").lower() for requirement in wanted} <= locked
    assert [str(requirement) for requirement in wanted if version(requirement.name) not in requirement.specifier] == []
