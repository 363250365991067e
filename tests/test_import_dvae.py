"""OpenAI's pickles become safetensors of the same values; nothing that a pickle names is run."""

import hashlib
import io
import json
import tarfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from dall_e import Decoder, Encoder, map_pixels, unmap_pixels
from safetensors.torch import load_file
from torch import nn

from dalle.models.dvae import load_dvae
from dalle.models.import_dvae import import_published, read_tensors
from dalle.models.published_dvae import PublishedShape

WIDTH, CODES, CODE_WIDTH = 64, 512, 8


class Trap:
    """Unpickled in the ordinary way, it leaves a file behind."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


@pytest.fixture(scope="module")
def halves() -> dict[str, nn.Module]:
    """The package's modules as they were published: of a torch whose Upsample had one attribute less."""
    torch.manual_seed(0)
    modules = {
        "encoder": Encoder(n_hid=WIDTH, vocab_size=CODES),
        "decoder": Decoder(n_hid=WIDTH, vocab_size=CODES, n_init=CODE_WIDTH),
    }
    for module in modules["decoder"].modules():
        if isinstance(module, nn.Upsample):
            del module.recompute_scale_factor
    return modules


def published(folder: Path, halves: dict[str, nn.Module], zipped: bool = True) -> tuple[Path, Path]:
    for name, module in halves.items():
        torch.save(module, folder / f"{name}.pkl", _use_new_zipfile_serialization=zipped)
    return folder / "encoder.pkl", folder / "decoder.pkl"


def pickled(path: Path, thing: object) -> Path:
    torch.save(thing, path)
    return path


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_the_imported_dvae_is_the_published_one(tmp_path: Path, halves: dict[str, nn.Module], zipped: bool) -> None:
    import_published(*published(tmp_path, halves, zipped), tmp_path / "dvae")
    model = load_dvae(tmp_path / "dvae")
    assert model.shape == PublishedShape(CODES, WIDTH, CODE_WIDTH, 2)
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = halves["encoder"](map_pixels(images))
    assert torch.equal(model.logits(images), logits)
    one_hot = nn.functional.one_hot(logits.argmax(1), CODES).permute(0, 3, 1, 2).float()
    with pytest.raises(AttributeError, match="recompute_scale_factor"):  # the trap that the import goes round
        halves["decoder"](one_hot)
    healthy = Decoder(n_hid=WIDTH, vocab_size=CODES, n_init=CODE_WIDTH)
    healthy.load_state_dict(halves["decoder"].state_dict())
    torch.testing.assert_close(model.decode(logits.argmax(1)), unmap_pixels(torch.sigmoid(healthy(one_hot)[:, :3])))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_folder_says_where_it_comes_from(tmp_path: Path, halves: dict[str, nn.Module]) -> None:
    files = published(tmp_path, halves)
    import_published(*files, tmp_path / "dvae")
    facts = json.loads((tmp_path / "dvae" / "model.json").read_text(encoding="utf-8"))
    for file in files:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert facts["sources"][file.stem] == {"file": file.name, "sha256": digest}
    assert "MIT" in facts["licence"]
    names = load_file(tmp_path / "dvae" / "weights.safetensors").keys()
    assert len([name for name in names if name.startswith("encoder.")]) == 74
    assert len([name for name in names if name.startswith("decoder.")]) == 76


def test_the_tensors_are_the_state_dicts(tmp_path: Path, halves: dict[str, nn.Module]) -> None:
    encoder, _ = published(tmp_path, halves)
    tensors, state = read_tensors(encoder), halves["encoder"].state_dict()
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name], state[name]) for name in state)


def test_a_trap_inside_a_module_is_refused_by_its_name_and_does_not_spring(
    tmp_path: Path, halves: dict[str, nn.Module]
) -> None:
    halves["encoder"].trap = Trap(tmp_path / "sprung")
    files = published(tmp_path, halves)
    del halves["encoder"].trap
    with pytest.raises(ValueError, match=r"encoder\.pkl: holds \w+\.getattr; allowed are tensors"):
        import_published(*files, tmp_path / "dvae")
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "dvae").exists()
    torch.load(files[0], weights_only=False)  # and it would have sprung
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch.nn.modules.container", "Sequential.forward.__globals__")],
)
def test_any_other_name_is_refused_in_both_formats(tmp_path: Path, module: str, name: str) -> None:
    def short(text: str) -> bytes:
        return b"\x8c" + bytes([len(text)]) + text.encode()

    call = b"\x80\x04" + short(module) + short(name) + b"\x93)R."  # STACK_GLOBAL, no arguments, REDUCE
    zipped, bare = tmp_path / "zipped.pkl", tmp_path / "bare.pkl"
    archive = torch._C.PyTorchFileWriter(str(zipped))
    archive.write_record("data.pkl", call, len(call))
    archive.write_end_of_file()
    bare.write_bytes(call)
    for path in (zipped, bare):
        with pytest.raises(ValueError, match=rf"{path.name}: holds {module}\.{name}; allowed are"):
            read_tensors(path)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    scripted = tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), scripted)
    (tmp_path / "text.pkl").write_text("weights")
    with tarfile.open(tmp_path / "tar.pkl", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    state = pickled(tmp_path / "state.pkl", OrderedDict(w=torch.zeros(2)))
    for path, says in (
        (tmp_path / "missing.pkl", "there is no such file"),
        (scripted, "an archive of another kind"),
        (tmp_path / "tar.pkl", "an archive of another kind"),
        (tmp_path / "text.pkl", "no pickled module"),
        (state, "no pickled module"),
    ):
        with pytest.raises(ValueError, match=f"{path.name}: .*{says}"):
            read_tensors(path)


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, halves: dict[str, nn.Module]) -> None:
    encoder, decoder = published(tmp_path, halves)
    encoder.write_bytes(encoder.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"encoder\.pkl: this is no pickled module, or not a whole one"):
        import_published(encoder, decoder, tmp_path / "dvae")


def test_swapped_or_foreign_files_are_refused(tmp_path: Path, halves: dict[str, nn.Module]) -> None:
    encoder, decoder = published(tmp_path, halves)
    linear = pickled(tmp_path / "linear.pkl", nn.Linear(2, 2))
    for files, says in (
        ((decoder, encoder), "decoder.pkl: reads 512 channels, a picture has 3; is it the decoder?"),
        ((encoder, encoder), r"encoder.pkl: tensor blocks.group_1.block_1.id_path.bias is .*, the dVAE's"),
        ((linear, decoder), "linear.pkl: holds the tensor weight; the dVAE's end in w and b"),
        ((encoder, linear), "linear.pkl: holds the tensor weight"),
    ):
        with pytest.raises(ValueError, match=says):
            import_published(*files, tmp_path / "dvae")


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, halves: dict[str, nn.Module], change: str) -> None:
    conv = halves["encoder"].blocks.group_2.block_2.res_path.conv_3
    bias = conv._parameters["b"]
    try:
        if change == "missing":
            del conv.b
        elif change == "shape":
            conv.b = nn.Parameter(torch.zeros(3))
        else:
            conv.c = nn.Module()
            conv.c.b = nn.Parameter(torch.zeros(3))
        files = published(tmp_path, halves)
    finally:
        conv._modules.pop("c", None)
        conv._parameters["b"] = bias
    name = r"blocks\.group_2\.block_2\.res_path\.conv_3" + (r"\.c\.bias" if change == "extra" else r"\.bias")
    with pytest.raises(ValueError, match=f"encoder.pkl: tensor {name} is"):
        import_published(*files, tmp_path / "dvae")
