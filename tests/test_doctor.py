"""The doctor is content with this installation, and with no other: a wrong file, function or number is found."""

import json
import re
import socket

import numpy as np
import pytest
import torch

from dalle.images import write_archive
from eval import doctor
from eval.__main__ import main
from eval.golden import check, fixtures, installation, judges, pictures
from eval.golden import metrics as golden_metrics
from eval.golden.check import Check, NotAtHand, compare
from eval.networks.table import NETWORKS
from eval.pixels import KERNELS
from eval.protocols.protocol import load_protocol

SHIPPED = installation.SHIPPED


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A machine without downloads, results and connections."""

    def connect(*_):
        raise AssertionError("a check asks the network")

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(judges, "RESULTS", tmp_path / "results")


def outcome(name, weights=None):
    (found,) = [one for one in doctor.checks(weights or {}) if one.name == name]
    return found.outcome()


def test_this_installation_is_right(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "all green" in printed
    assert "✗" not in printed
    assert "\x1b" not in printed  # no colours into a pipe
    assert printed.count("✓") == 1 + 1 + 1 + 2 + len(KERNELS) + len(pictures.SIGMAS) + 6
    assert printed.count("│ not at hand: ") == 6
    assert "--weights NETWORK=PATH" in printed
    assert "not checked: no contrastive weights at hand" in printed


def test_another_version_is_named_beside_the_locked_one(monkeypatch, tmp_path):
    monkeypatch.setattr(installation, "LOCK", tmp_path / "requirements.lock")
    torch_version = torch.__version__.partition("+")[0]
    pins = [
        f"torch=={torch_version} \\\n    --hash=sha256:00",
        "pillow==1.2.3 \\\n    --hash=sha256:00",
        "timm==0.1 ; sys_platform == 'nowhere' \\",
        "open-clip-torch==9.9",
    ]
    installation.LOCK.write_text("\n".join(pins))
    is_right, reason = outcome("versions")
    assert is_right is False
    assert re.fullmatch(
        r"open_clip_torch \S+ is installed, wanted is 9\.9; pillow \S+ is installed, wanted is 1\.2\.3", reason
    )


def test_without_a_lock_torch_fidelity_must_still_be_the_known_one(monkeypatch, tmp_path):
    monkeypatch.setattr(installation, "LOCK", tmp_path / "requirements.lock")
    is_right, reason = outcome("versions")
    assert is_right
    assert reason.startswith("no requirements.lock here: torch ")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.5.0" if name == "torch-fidelity" else "1")
    assert outcome("versions") == (False, "torch-fidelity 0.5.0 is installed, wanted is 0.4.*")


@pytest.mark.parametrize(("installed", "is_right"), [("2.14.1+cpu", True), ("2.14.10", False), ("2.14.1rc1", False)])
def test_a_build_of_the_locked_version_is_that_version(monkeypatch, tmp_path, installed, is_right):
    monkeypatch.setattr(installation, "LOCK", tmp_path / "requirements.lock")
    installation.LOCK.write_text("torch==2.14.1 \\")
    monkeypatch.setattr("importlib.metadata.version", lambda _: installed)
    assert outcome("versions")[0] is is_right


def test_given_weights_of_another_network_fail_wherever_they_are_used(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"weights")
    given = {SHIPPED: str(tmp_path / "w.pth")}
    for name in (f"weights: {SHIPPED}", "features"):
        is_right, reason = outcome(name, given)
        assert is_right is False
        assert re.search(r"w\.pth has the SHA-256 [0-9a-f]{16}…, the protocol means .* 57934424…", reason)
    absent = {"ViT-B-32-quickgelu": str(tmp_path / "none.pt")}
    for name in ("weights: ViT-B-32-quickgelu", "CLIP: ViT-B-32-quickgelu"):
        is_right, reason = outcome(name, absent)
        assert is_right is False
        assert "there is no file" in reason


def test_weights_of_no_network_are_refused(capsys):
    assert main(["doctor", "--weights", "inception=w.pth"]) == 1
    error = capsys.readouterr().err
    assert "--weights inception: no protocol has this network; allowed are ViT-B-16-quickgelu, " in error


CACHES = {
    "inception-2015-12-05": "hub/checkpoints/weights-inception-2015-12-05-6726825d.pth",
    "inception-torchvision": "hub/checkpoints/inception_v3_google-0cc3c7bd.pth",
    "ViT-L-14-336-quickgelu": "home/.cache/clip/ViT-L-14-336px.pt",
    "ViT-B-32-quickgelu": "home/.cache/clip/ViT-B-32.pt",
}


@pytest.mark.parametrize("network", CACHES)
def test_what_a_library_keeps_is_checked_where_it_keeps_it(network, tmp_path):
    path = tmp_path / CACHES[network]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut")
    is_right, reason = outcome(f"weights: {network}")
    assert is_right is False
    assert f"{path} has the SHA-256" in reason


def test_timms_weights_are_found_too_and_their_digest_only_told(tmp_path):
    network = "vit_large_patch14_dinov2"
    path = tmp_path / "hf/models--timm--vit_large_patch14_dinov2.lvd142m/snapshots/0/model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert installation.at_hand(network, NETWORKS[network].source, None) == path
    is_right, reason = outcome(f"weights: {network}")
    assert is_right
    assert reason.endswith("of which the protocol takes any")


def swapped(monkeypatch):
    monkeypatch.setitem(KERNELS, "pil-bilinear", KERNELS["pil-bicubic"])


def without_antialiasing(monkeypatch):
    def plain(stack, side):
        levels = torch.from_numpy(stack).permute(0, 3, 1, 2).float()
        return torch.nn.functional.interpolate(levels, (side, side), mode="bilinear")

    monkeypatch.setitem(KERNELS, "torch-bilinear-antialias", plain)


def floor(monkeypatch):
    def to_uint8(images):
        return images.clamp(0, 1).mul(255).to(torch.uint8).permute(0, 2, 3, 1).numpy()

    monkeypatch.setattr(pictures, "to_uint8", to_uint8)


def wrap(monkeypatch):
    def to_uint8(images):
        return images.mul(255).round().to(torch.int32).to(torch.uint8).permute(0, 2, 3, 1).numpy()

    monkeypatch.setattr(pictures, "to_uint8", to_uint8)


def half_up(monkeypatch):
    def to_uint8(images):
        return (images.clamp(0, 1).mul(255) + 0.5).floor().to(torch.uint8).permute(0, 2, 3, 1).numpy()

    monkeypatch.setattr(pictures, "to_uint8", to_uint8)


def unturned(monkeypatch):
    monkeypatch.setattr("dalle.images._upright", lambda image: image)


def alpha_dropped(monkeypatch):
    monkeypatch.setattr("dalle.images._rgb", lambda image: np.array(image.convert("RGB")))


def all_lossless(monkeypatch):
    monkeypatch.setattr(pictures, "decode_picture", lambda data, name: (fixtures.picture(name), False))


def lafite_for_pil(monkeypatch):
    monkeypatch.setattr(pictures, "load_protocol", lambda *_: load_protocol("blur.lafite"))


def cut_at_whole_parts(monkeypatch):
    def truncated(logits, splits, seed):
        return score(logits[: len(logits) // splits * splits], splits, seed)

    score = fixtures.inception_score
    monkeypatch.setattr(fixtures, "inception_score", truncated)
    monkeypatch.setattr(golden_metrics, "inception_score", truncated)


def divisor_n(monkeypatch):
    fid = golden_metrics.frechet_distance
    monkeypatch.setattr(golden_metrics, "frechet_distance", lambda x, y: fid(x, y) * (1 - 1 / len(x)))


def biased_kid(monkeypatch):
    monkeypatch.setattr(golden_metrics.kernel, "mmd2", lambda x, y: golden_metrics.kernel.cmmd(x, y) / 1000)


def second_neighbour(monkeypatch):
    of = golden_metrics.ManifoldReference.of
    fewer = classmethod(lambda cls, y, **_: of(y, precision_recall=2, density_coverage=5))
    monkeypatch.setattr(golden_metrics.ManifoldReference, "of", fewer)


def another_generator(monkeypatch):
    monkeypatch.setattr(
        fixtures, "draw_counts", lambda n, b, seed: np.random.RandomState(seed).multinomial(n, np.full(n, 1 / n), b)
    )


FAULTS = [
    (swapped, "kernel: pil-bilinear"),
    (without_antialiasing, "kernel: torch-bilinear-antialias"),
    (floor, "uint8 path"),
    (wrap, "uint8 path"),
    (half_up, "uint8 path"),
    (unturned, "decoding"),
    (alpha_dropped, "decoding"),
    (all_lossless, "decoding"),
    (lafite_for_pil, "blur.pil"),
    (without_antialiasing, "features"),
    (cut_at_whole_parts, "inception score"),
    (divisor_n, "FID"),
    (biased_kid, "KID"),
    (second_neighbour, "precision, recall"),
    (another_generator, "bootstrap"),
]


@pytest.mark.parametrize(("fault", "checked"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_faulty_function_is_found(fault, checked, monkeypatch):
    assert outcome(checked)[0] is True
    fault(monkeypatch)
    is_right, reason = outcome(checked)
    assert is_right is False
    assert reason


def test_a_check_that_breaks_is_red_with_its_message():
    def broken():
        raise OSError("no such disk\nsecond line")

    def absent():
        raise NotAtHand("nothing here")

    assert Check("x", broken).outcome() == (False, "OSError: no such disk")
    assert Check("x", absent).outcome() == (None, "nothing here")


def test_nan_and_other_shapes_are_no_agreement():
    with pytest.raises(ValueError, match="x: up to nan away"):
        compare("x", np.array([np.nan]), np.array([0.0]), 1)
    with pytest.raises(ValueError, match=r"x: an array of \(2,\); expected is \(1,\)"):
        compare("x", np.zeros(2), np.zeros(1), 1)
    assert compare("x", np.array([3], np.uint8), np.array([4], np.uint8), 1) == 1
    assert check.committed("scores", {"sorted"}).keys() == {"sorted"}


class Seer:
    """A judge whose vectors say how bright a picture is, and that captions mean dark (or bright) ones."""

    def __init__(self, likes):
        self.likes = likes

    def embed_pictures(self, given):
        angles = np.array([picture.mean() / 255 for picture in given]) * np.pi / 2
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def embed_texts(self, texts):
        return np.tile([1.0, 0.0] if self.likes == "dark" else [0.0, 1.0], (len(texts), 1))


@pytest.mark.parametrize(("likes", "is_right"), [("dark", True), ("bright", False)])
def test_open_clips_models_must_prefer_the_photograph_to_its_negative(likes, is_right, tmp_path, monkeypatch):
    (tmp_path / "w.pt").write_bytes(b"weights")
    monkeypatch.setattr(judges, "load_judge", lambda *_: Seer(likes))
    names = [f"CLIP: {name}" for name in ("ViT-B-32-quickgelu", "ViT-L-14-336-quickgelu")]
    given = {name.removeprefix("CLIP: "): str(tmp_path / "w.pt") for name in names}
    assert [found.name for found in judges.judge_checks(given)] == names
    for name in names:
        found, reason = outcome(name, given)
        assert found is is_right
        assert re.search(r"cosine 0\.\d+ with the picture, 0\.\d+ with its negative$", reason)


def test_each_model_of_open_clip_is_asked_by_its_own_weights():
    found = {protocol.model: protocol.weights for protocol in judges.open_clip_protocols()}
    assert set(found) == {"ViT-B-32-quickgelu", "ViT-B-16-quickgelu", "ViT-L-14-336-quickgelu"}
    assert found["ViT-L-14-336-quickgelu"] == load_protocol("fid.clip-l14-336").weights
    assert found["ViT-B-16-quickgelu"] == load_protocol("clip.glide-b16").weights


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Weights of a little open_clip model, which for the doctor is the only one."""
    import open_clip
    from safetensors.torch import save_file as save

    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16, "head_width": 64}
    text = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    facts = {"embed_dim": 32, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "tiny-for-doctor.json").write_text(json.dumps(facts))
    open_clip.add_model_config(tmp_path / "tiny-for-doctor.json")
    save(open_clip.create_model("tiny-for-doctor").state_dict(), tmp_path / "tiny.safetensors")
    changes = {"model": "tiny-for-doctor", "pretrained": "none", "weights": None}
    protocol = load_protocol("clip.dalle3-b32").model_copy(update=changes)
    monkeypatch.setattr(judges, "open_clip_protocols", lambda: [protocol])
    return {"tiny-for-doctor": str(tmp_path / "tiny.safetensors")}


def test_open_clips_models_are_really_run(tiny):
    (found,) = judges.judge_checks(tiny)
    is_right, reason = found.outcome()
    own, negative = map(float, re.findall(r"cosine (\S+) with the picture, (\S+) with its negative", reason)[0])
    assert is_right is (own > negative)  # untrained, it prefers either


@pytest.fixture
def experiment(tmp_path):
    """An experiment with a report and validation pictures: 15 dark ones and a bright one, and 4 that are not seen."""
    import pandas as pd

    folder = tmp_path / "results" / "mine"
    (folder / "clip").mkdir(parents=True)
    (folder / "clip" / "weights.safetensors").write_bytes(b"weights")
    (folder / "clip" / "report.json").write_text(json.dumps({"picture colour": {"accuracy": 0.99, "n": 256}}))
    rows = pd.DataFrame({"prompt_id": range(20), "candidate": 0, "caption": "a dark picture", "scene": ""})
    shades = [20] * 15 + [220] * 5
    write_archive(folder / "data" / "val.parquet", rows, np.stack([np.full((8, 8, 3), s, np.uint8) for s in shades]))
    return folder


@pytest.mark.parametrize(("likes", "is_right", "share"), [("dark", True, "94%"), ("bright", False, "6%")])
def test_experiments_models_must_prefer_most_pictures_to_their_negatives(
    likes, is_right, share, experiment, monkeypatch
):
    asked = []
    monkeypatch.setattr(judges, "load_judge", lambda protocol, **places: asked.append(places) or Seer(likes))
    found, reason = outcome("CLIP: results/mine")
    assert found is is_right
    assert reason.startswith(f"prefers {share} of 16 pictures to their negatives")
    assert asked == [{"own": experiment / "clip", "tokenizer": experiment / "tokenizer" / "tokenizer.json"}]


def test_a_model_that_has_not_learnt_colours_says_nothing(experiment):
    (experiment / "clip" / "report.json").write_text(json.dumps({"picture colour": {"accuracy": 0.55, "n": 256}}))
    is_right, reason = outcome("CLIP: results/mine")
    assert is_right is None
    assert reason == "not checked: by its report the model tells colours in 55% (chance is 50%)"


def test_a_broken_experiment_is_red(experiment):
    is_right, reason = outcome("CLIP: results/mine")
    assert is_right is False
    assert "model.json" in reason
