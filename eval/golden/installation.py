"""Is what numbers are made with the right thing: fixtures, packages, weights? Nothing is downloaded."""

import re
from functools import partial
from pathlib import Path

from dalle.models.contrastive import open_clip_weights
from dalle.provenance import ROOT, file_digest
from eval.golden import fixtures
from eval.golden.check import Check, NotAtHand
from eval.networks.table import NETWORKS
from eval.networks.weights import Source, find_weights
from eval.protocols.protocol import ClipProtocol, FidProtocol, load_protocol, protocol_labels

LOCK = ROOT / "requirements.lock"
DECISIVE = ("torch", "torchvision", "torch-fidelity", "open_clip_torch", "pillow", "scipy", "numpy", "timm")
SHIPPED = "efficientnet-lite0"  # a package of the requirements brings its weights along
ABSENT = "not at hand"


def check_fixtures() -> str:
    """The bytes that other checks rely on are the committed ones."""
    lines = fixtures.fixture(fixtures.SUMS).decode().splitlines()
    problems = [problem for line in lines if (problem := _problem(*line.split()))]
    if problems or not lines:
        raise ValueError("; ".join(problems) or f"{fixtures.SUMS} is empty")
    return f"{len(lines)} files are as committed"


def _problem(digest: str, name: str) -> str | None:
    path = fixtures.FOLDER / name
    if not path.is_file():
        return f"fixture {name} is missing"
    return None if file_digest(path) == digest else f"fixture {name} was changed"


def check_versions() -> str:
    """The packages that numbers depend on are those of the lock; without a lock, torch-fidelity is 0.4."""
    from importlib.metadata import version

    installed = {name: version(name) for name in DECISIVE}
    pins = locked() if LOCK.is_file() else {"torch-fidelity": "0.4.*"}
    problems = [
        f"{name} {installed[name]} is installed, wanted is {wanted}"
        for name, wanted in pins.items()
        if not re.fullmatch(wanted.replace(".", r"\.").replace("*", ".*") + r"(\+.*)?", installed[name])
    ]
    if problems:
        raise ValueError("; ".join(problems))
    return f"{'as locked' if LOCK.is_file() else f'no {LOCK.name} here'}: {', '.join(map(' '.join, installed.items()))}"


def locked() -> dict[str, str]:
    """The version of each decisive package that the lock has for this Python on this machine."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = re.findall(r"^([a-zA-Z0-9][^\\\n]*?)\s*\\?$", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    here = [line for line in map(Requirement, lines) if line.marker is None or line.marker.evaluate()]
    pins = {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in here}
    return {name: pins[canonicalize_name(name)] for name in DECISIVE if canonicalize_name(name) in pins}


def weights_checks(weights: dict[str, str]) -> list[Check]:
    """One for each network of the protocols. Raises ValueError for ``weights`` of a network that none of them has."""
    sources = _sources()
    known = sorted({network for network, _ in sources})
    if unknown := sorted(weights.keys() - known):
        raise ValueError(f"--weights {unknown[0]}: no protocol has this network; allowed are {', '.join(known)}")
    return [
        Check(f"weights: {network}", partial(check_weights, network, source, digest, weights.get(network)))
        for (network, digest), source in sources.items()
    ]


def _sources() -> dict[tuple[str, str | None], Source]:
    """Where the weights of the protocols' networks come from, by network and digest."""
    sources = {}
    for protocol in map(load_protocol, protocol_labels()):
        if isinstance(protocol, FidProtocol):
            sources[protocol.network, protocol.weights] = NETWORKS[protocol.network].source
        elif isinstance(protocol, ClipProtocol) and protocol.model != "own":
            sources[protocol.model, protocol.weights] = open_clip_weights(protocol.model, protocol.pretrained)
    return sources


def check_weights(network: str, source: Source, digest: str | None, given: str | None) -> str:
    """The file of a network's weights is the one that the protocols mean."""
    path, found = find_weights(network, source, at_hand(network, source, given), digest)
    return f"{path.name}: SHA-256 {found[:16]}…" + ("" if digest else ", of which the protocol takes any")


def at_hand(network: str, source: Source, given: str | None) -> str | Path:
    """The given file, or the one that the library keeps. Raises NotAtHand if there is neither."""
    if given is not None:
        return given
    if network == SHIPPED:
        return source.fetch()
    found = next((path for path in _places(source) if path.is_file()), None)
    if found is None:
        raise NotAtHand(f"{ABSENT}: {source.file}")
    return found


def _places(source: Source) -> list[Path]:
    """Where torchvision and torch-fidelity, open_clip, and timm keep what they have downloaded."""
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    hub, clip = Path(torch.hub.get_dir(), "checkpoints"), Path("~/.cache/clip").expanduser()
    places = [folder / source.file for folder in (hub, clip)]
    repository, comma, file = source.file.partition(", ")  # so eval.networks.table names a file in a timm repository
    return places + (sorted(Path(HF_HUB_CACHE).glob(f"models--timm--{repository}/snapshots/*/{file}")) if comma else [])
