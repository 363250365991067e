"""Weights are the ones that are meant, and networks are the ones that their libraries run."""

import hashlib
from urllib.error import URLError

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from dalle.models.contrastive import load_open_clip, open_clip_weights
from dalle.models.precision import full_precision
from eval.networks.network import Network
from eval.networks.table import NETWORKS, class_token, fold_batch_norm, image_tower, inception_2015
from eval.networks.weights import Source, find_weights, hub_file


def offline(*_args, **_kwargs):
    raise URLError("no route to host")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    return path


DIGEST = hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize("expected", [None, DIGEST[:8], DIGEST])
def test_a_given_file_is_taken_and_its_digest_told(file, expected):
    assert find_weights("net", Source("net.pth", offline), file, expected) == (file, DIGEST)


def test_without_one_the_librarys_file_is_taken_and_checked_alike(file):
    assert find_weights("net", Source("net.pth", lambda: str(file)), None, DIGEST[:8]) == (file, DIGEST)
    with pytest.raises(ValueError, match=r"the protocol means the file net\.pth with 12345678"):
        find_weights("net", Source("net.pth", lambda: str(file)), None, "12345678")


def test_another_file_is_refused_with_both_digests(file):
    with pytest.raises(ValueError, match=rf"weights of net: .*w\.pth has the SHA-256 {DIGEST[:16]}…, .* abcdef01…"):
        find_weights("net", Source("net.pth", offline), file, "abcdef01")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"weights of net: there is no file .*none\.pth"):
        find_weights("net", Source("net.pth", offline), tmp_path / "none.pth", None)


def test_offline_the_error_says_which_file_and_both_ways_to_get_it():
    with pytest.raises(ValueError) as error:
        find_weights("net", Source("net.pth", offline), None, "abcdef01")
    message = str(error.value)
    for part in ("net.pth", "abcdef01", "no route to host", "internet", "--weights net=PATH", "evaluation.weights"):
        assert part in message
    assert "\n" not in message


DOWNLOADS = {
    "inception-2015-12-05": "torch.hub.download_url_to_file",
    "inception-torchvision": "torch.hub.download_url_to_file",
    "ViT-L-14-336-quickgelu": "open_clip.pretrained.download_pretrained_from_url",
    "vit_large_patch14_dinov2": "huggingface_hub.hf_hub_download",
}


@pytest.mark.parametrize("name", DOWNLOADS)
def test_every_library_is_asked_for_its_own_download(name, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(DOWNLOADS[name], offline)
    source = NETWORKS[name].source
    with pytest.raises(ValueError, match=f"the file {source.file} .* no route to host"):
        find_weights(name, source, None, None)


def test_the_default_network_needs_no_download():
    path, digest = find_weights("efficientnet-lite0", NETWORKS["efficientnet-lite0"].source, None, "57934424")
    assert path.name == NETWORKS["efficientnet-lite0"].source.file
    assert digest.startswith("57934424")


def test_what_the_hub_has_is_not_downloaded_again(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda url, path: open(path, "x").close())
    first = hub_file("scheme://host/folder/a.pth")
    assert first == tmp_path / "checkpoints" / "a.pth"
    assert hub_file("scheme://host/folder/a.pth") == first  # a second download would find the file and fail


def test_openais_files_carry_the_digest_that_the_protocols_name():
    from eval.protocols.protocol import ClipProtocol, load_protocol, protocol_labels

    named = [load_protocol("fid.clip-l14-336")]
    named += [found for found in map(load_protocol, protocol_labels()) if isinstance(found, ClipProtocol)]
    for protocol in named:
        model = getattr(protocol, "model", None) or protocol.network
        if model != "own":
            assert open_clip.get_pretrained_cfg(model, "openai")["url"].split("/")[-2] == protocol.weights
            assert open_clip_weights(model, "openai").file.endswith(".pt")


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    torch.save({"trap": Trap()}, tmp_path / "w.pth")
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        inception_2015(tmp_path / "w.pth")
    assert not (tmp_path / "sprung").exists()


def test_a_network_gives_features_and_what_each_head_makes_of_them():
    head = nn.Linear(12, 5)
    layers = Network(nn.Flatten(), {"logits": head})(images := torch.rand(2, 3, 2, 2))
    torch.testing.assert_close(layers["features"], images.flatten(1))
    torch.testing.assert_close(layers["logits"], head(images.flatten(1)))
    assert Network(nn.Flatten())(images).keys() == {"features"}


def test_full_precision_holds_whatever_is_set_outside():
    left, right = torch.rand(64, 64), torch.rand(64, 64)
    exact = left @ right
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert (left @ right).dtype == torch.bfloat16
            with full_precision():
                assert torch.equal(left @ right, exact)
                assert torch.get_float32_matmul_precision() == "highest"
                assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_folding_keeps_the_function_and_leaves_no_batch_norm():
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(images)
        fold_batch_norm(network)
        torch.testing.assert_close(network(images), before, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_dinov2_gives_its_class_token_after_the_last_norm(tmp_path):
    """DINOv2's small sister, whose weights were made for 518 pixels."""
    torch.manual_seed(0)
    large = timm.create_model("vit_small_patch14_dinov2", num_classes=0)
    for parameter in large.parameters():
        nn.init.normal_(parameter, std=0.05)
    save_file(large.state_dict(), tmp_path / "model.safetensors")
    network = class_token("vit_small_patch14_dinov2", side=224)(tmp_path / "model.safetensors")
    large.set_input_size(img_size=224)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        tokens = large.eval().forward_features(images)
        torch.testing.assert_close(network(images)["features"], tokens[:, 0], rtol=1e-4, atol=1e-5)


def small_openai_clip():
    """A model in the shape of OpenAI's, whose numbers float16 can hold, as theirs."""
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 64}
    text = {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    model = open_clip.model.CLIP(32, vision, text, quick_gelu=True).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    return model


def archive(state):
    """A TorchScript module with these float16 tensors under their names, as OpenAI's files are."""
    root = nn.Module()
    for name, value in state.items():
        *folders, leaf = name.split(".")
        place = root
        for folder in folders:
            if not hasattr(place, folder):
                place.add_module(folder, nn.Module())
            place = getattr(place, folder)
        place.register_parameter(leaf, nn.Parameter(value.half()))
    return torch.jit.script(root)


def test_openais_archives_are_read_and_their_image_tower_is_a_network(tmp_path):
    model, images = small_openai_clip(), torch.rand(2, 3, 32, 32)
    archive(model.state_dict()).save(str(tmp_path / "openai.pt"))
    loaded = load_open_clip("ViT-B-32-quickgelu", tmp_path / "openai.pt")
    network = image_tower("ViT-B-32-quickgelu")(tmp_path / "openai.pt")
    with torch.inference_mode():
        expected = model.encode_image(images)
        torch.testing.assert_close(loaded.encode_image(images), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network(images)["features"], expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0.01
    assert not any(parameter.requires_grad or parameter.dtype != torch.float32 for parameter in loaded.parameters())
