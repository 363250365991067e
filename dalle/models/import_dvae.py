"""OpenAI's published dVAE: from the two pickles to a folder of safetensors, without running anything they hold.

``encoder.pkl`` and ``decoder.pkl`` are whole pickled modules. Unpickling such a file in the ordinary way runs whatever
it names, and a current torch cannot run what comes out (its ``nn.Upsample`` lacks an attribute that torch has asked for
since 1.11). Here each module becomes an inert stand-in that only keeps what was stored in it. The tensors are taken
from there, and nothing else is.
"""

import json
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tarfile import is_tarfile
from types import SimpleNamespace
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dalle.models.contrastive import is_torchscript
from dalle.models.published_dvae import CHANNELS, Decoder, Encoder, PublishedShape
from dalle.provenance import atomic, file_digest

Tensors = dict[str, Float[Tensor, "..."]]
OURS = {"w": "weight", "b": "bias"}  # what the published convolutions call their tensors, and what torch's do
LICENCE = "openai/DALL-E, modified MIT License"


def import_published(encoder: str | Path, decoder: str | Path, folder: str | Path) -> None:
    """Write OpenAI's dVAE into ``folder``: weights.safetensors (float32) and model.json.

    model.json has the shape and, of each source file, name and SHA-256. Raises ValueError for a file that is no pickle
    of torch's, one that names anything but tensors and the modules around them (it says what), and for tensors that are
    missing, unknown or of another shape than the dVAE's.
    """
    from safetensors.torch import save_file

    sources = {"encoder": Path(encoder), "decoder": Path(decoder)}
    halves = {half: _renamed(read_tensors(path), path) for half, path in sources.items()}
    shape = _shape_of(halves, sources)
    with torch.device("meta"):
        modules = {"encoder": Encoder(shape), "decoder": Decoder(shape)}
    for half, module in modules.items():
        _check(halves[half], module, sources[half])
    folder = Path(folder)
    with atomic(folder / "weights.safetensors") as temporary:
        named = {f"{half}.{name}": value for half, tensors in halves.items() for name, value in tensors.items()}
        save_file(named, temporary)
    facts = {half: {"file": path.name, "sha256": file_digest(path)} for half, path in sources.items()}
    with atomic(folder / "model.json") as temporary:
        model = {"kind": "published", "shape": asdict(shape), "licence": LICENCE, "sources": facts}
        temporary.write_text(json.dumps(model, indent=2) + "\n", encoding="utf-8")


def read_tensors(path: str | Path) -> Tensors:
    """The tensors of a pickled module, on the CPU, by the names its ``state_dict`` would give them.

    Raises ValueError as :func:`import_published` does. Nothing of the file is run or imported.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    if is_torchscript(path) or is_tarfile(path):  # torch.load would run the one and unpack the other
        raise ValueError(
            f"{path}: this is an archive of another kind; allowed is a pickled module, as OpenAI published it"
        )
    try:
        with catch_warnings():
            simplefilter("ignore")  # that a stand-in's source is not the module's
            module = torch.load(path, map_location="cpu", pickle_module=TENSORS_ONLY, weights_only=False)
        if isinstance(module, StandIn):
            return dict(_tensors(module, ""))
    except _RefusedError as error:
        raise ValueError(f"{path}: holds {error}; allowed are tensors, and modules of dall_e and torch.nn") from None
    except Exception as error:  # as many kinds as there are ways for a file to be broken
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ValueError(f"{path}: this is no pickled module, or not a whole one ({reason})") from None
    raise ValueError(f"{path}: this is no pickled module, but a {type(module).__name__}")


class StandIn:
    """An object of a class that was not imported: what was stored in it, and no behaviour."""

    dump_patches = False  # torch.load asks this of a module whose source has changed

    def __init__(self, *_arguments: object) -> None:
        pass


class _RefusedError(Exception):
    """What a pickle names and must not have."""


def _parameter(data: Float[Tensor, "..."], _requires_grad: bool, _hooks: object) -> Float[Tensor, "..."]:
    return data


REBUILT: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "device"): StandIn,
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}
MODULES = ("dall_e.", "torch.nn.modules.")


class _TensorsOnly(pickle.Unpickler):
    """Knows how tensors are rebuilt, and takes every module for a stand-in. All other names are refused.

    torch.load derives a class from this one that resolves the kinds of storages itself and asks here for the rest.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in REBUILT:
            return REBUILT[module, name]
        # A dotted name would be looked up attribute by attribute; a stand-in has none worth reaching.
        if module.startswith(MODULES) and "." not in name:
            return StandIn
        raise _RefusedError(f"{module}.{name}")


def _load(file: Any, **options: Any) -> Any:
    return _TensorsOnly(file, **options).load()


TENSORS_ONLY = SimpleNamespace(__name__="tensors only", Unpickler=_TensorsOnly, load=_load)


def _tensors(module: StandIn, prefix: str) -> Iterator[tuple[str, Float[Tensor, "..."]]]:
    stored = vars(module)
    for name, value in stored.get("_parameters", {}).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
    for name, child in stored.get("_modules", {}).items():
        yield from _tensors(child, f"{prefix}{name}.")


def _renamed(tensors: Tensors, path: Path) -> Tensors:
    """Names as in :mod:`dalle.models.published_dvae`; float32, each with memory of its own."""
    named = {}
    for name, value in tensors.items():
        layer, _, last = name.rpartition(".")
        if last not in OURS:
            raise ValueError(f"{path}: holds the tensor {name}; the dVAE's end in {' and '.join(OURS)}")
        named[f"{layer}.{OURS[last]}"] = value.float().contiguous().clone()
    return named


def _shape_of(halves: dict[str, Tensors], sources: dict[str, Path]) -> PublishedShape:
    """The widths, from the convolutions at the ends of both halves, and the number of blocks by counting."""
    first, last = "blocks.input.weight", "blocks.output.conv.weight"
    for half, tensors in halves.items():
        for name in (first, last):
            if getattr(tensors.get(name), "ndim", 0) != 4:
                raise ValueError(
                    f"{sources[half]}: this is no {half} of OpenAI's dVAE, it lacks the convolution {name}"
                )
    width, channels = halves["encoder"][first].shape[:2]
    if channels != CHANNELS:
        raise ValueError(
            f"{sources['encoder']}: reads {channels} channels, a picture has {CHANNELS}; is it the decoder?"
        )
    counted = [name for name in halves["encoder"] if name.startswith("blocks.group_1.") and "conv_1.weight" in name]
    codes, code_width = len(halves["encoder"][last]), len(halves["decoder"][first])
    return PublishedShape(codes, width, code_width, len(counted))


def _check(tensors: Tensors, module: nn.Module, path: Path) -> None:
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            raise ValueError(
                f"{path}: tensor {name} is {given.get(name, 'missing')}, the dVAE's {wanted.get(name, 'is none')}"
            )
