"""A judge gives what its model gives for the picture as its protocol prepares it, and for the caption as it is cut."""

import json
from urllib.error import URLError

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dalle.config.data import Scenes
from dalle.config.models import Clip, Tokenizer
from dalle.images import to_float
from dalle.models.clip import clip_shape, make_clip, write_shape
from eval.contrastive import load_judge
from eval.protocols.protocol import load_protocol

OWN, OPENAI = load_protocol("clip.own"), load_protocol("clip.openai-b32")
TINY = OPENAI.model_copy(update={"model": "tiny-for-tests", "pretrained": "none", "weights": None, "prefix": ""})


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Folder and tokenizer of an untrained reranker for pictures of 32 pixels and captions of 8 tokens."""
    from dalle.data.archives import write_scenes
    from dalle.tokenizer import Tokenizer as Words
    from dalle.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("own")
    write_scenes(Scenes(train=64, uncaptioned=1, val=8, zeroshot=8), 0, folder)
    train_tokenizer(folder / "train.parquet", folder / "tokenizer.json", Tokenizer())
    settings = Clip(width=32, heads=2, depth=1, text_depth=1, stem=8, embed_dim=16)
    vocabulary = Words(folder / "tokenizer.json").vocab_size
    shape = clip_shape(settings, image_size=32, text_context=8, text_vocab=vocabulary)
    torch.manual_seed(0)
    write_shape(folder / "model.json", shape)
    model = make_clip(shape).requires_grad_(False)
    model.visual.conv1[-1].weight.mul_(100)  # untrained, it would see the positions and hardly the picture
    save_file(model.state_dict(), folder / "weights.safetensors")
    return folder, folder / "tokenizer.json"


@pytest.fixture(scope="module")
def own_judge(own):
    return load_judge(OWN, own=own[0], tokenizer=own[1])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A file of weights for an open_clip model of 32 pixels and 12 tokens, which open_clip from now on knows."""
    folder = tmp_path_factory.mktemp("tiny")
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 64}
    text = {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    facts = {"embed_dim": 32, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (folder / "tiny-for-tests.json").write_text(json.dumps(facts))
    open_clip.add_model_config(folder / "tiny-for-tests.json")
    torch.manual_seed(0)
    save_file(open_clip.create_model("tiny-for-tests").state_dict(), folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


@pytest.fixture(scope="module")
def tiny_judge(tiny):
    return load_judge(TINY, tiny)


@pytest.fixture(params=["own_judge", "tiny_judge"])
def judge(request):
    return request.getfixturevalue(request.param)


def test_own_pictures_and_captions_go_to_the_model_as_in_its_training(own, own_judge):
    from dalle.tokenizer import Tokenizer as Words

    pictures, texts = [picture(32, 32, 1), picture(32, 32, 2)], ["a red dot", "a blue box"]
    tokens = torch.from_numpy(Words(own[1]).encode(texts, 8))
    with torch.inference_mode():
        seen = own_judge.model.encode_image(to_float(np.stack(pictures)), normalize=True)
        read = own_judge.model.encode_text(tokens, normalize=True)
    np.testing.assert_allclose(own_judge.embed_pictures(pictures), seen, atol=1e-6)
    np.testing.assert_allclose(own_judge.embed_texts(texts), read, atol=1e-6)


def test_open_clips_pictures_and_captions_go_through_its_own_preprocessing(tiny, tiny_judge):
    model, _, preprocess = open_clip.create_model_and_transforms("tiny-for-tests", pretrained=str(tiny))
    pictures, texts = [picture(40, 60, 1), picture(32, 32, 2)], ["a red dot", "a blue box"]
    with torch.inference_mode():
        images = torch.stack([preprocess(Image.fromarray(pixels)) for pixels in pictures])
        seen = model.eval().encode_image(images, normalize=True)
        read = model.encode_text(open_clip.get_tokenizer("tiny-for-tests")(texts), normalize=True)
    np.testing.assert_allclose(tiny_judge.embed_pictures(pictures), seen, atol=1e-6)
    np.testing.assert_allclose(tiny_judge.embed_texts(texts), read, atol=1e-6)
    assert tiny_judge.scale == pytest.approx(model.logit_scale.exp().item())


def test_a_picture_is_not_its_negative(judge):
    pixels = picture(48, 40)
    pixels[:24] = 255
    own, negative = judge.embed_pictures([pixels, 255 - pixels])
    assert own @ negative < 0.999


def test_vectors_have_unit_length_and_do_not_depend_on_their_batch(judge, monkeypatch):
    pictures = [picture(*size, seed) for seed, size in enumerate([(32, 32), (50, 40), (32, 32), (64, 32), (33, 32)])]
    texts = ["red", "a red dot", "two", "a blue box", "three green"]
    for embed, items in ((judge.embed_pictures, pictures), (judge.embed_texts, texts)):
        whole = embed(items)
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(embed(items[::-1])[::-1], whole, atol=1e-5)
        with monkeypatch.context() as patch:
            patch.setattr("dalle.models.contrastive.BATCH", 2)
            np.testing.assert_allclose(embed(items), whole, atol=1e-5)
        assert np.abs(whole - whole[:1]).max(axis=1)[1:].min() > 1e-3


def test_a_long_caption_is_cut_and_said_to_be(judge):
    words = "red dot " * 20
    assert judge.truncated(["red dot", words, words + "and a blue box"]).tolist() == [False, True, True]
    short, cut, same = judge.embed_texts(["red dot", words, words + "and a blue box"])
    np.testing.assert_allclose(cut, same, atol=1e-6)
    assert np.abs(short - cut).max() > 1e-3


def test_a_caption_that_just_fits_is_whole(tiny_judge, own_judge):
    ten = " ".join(["red"] * 10)  # and start and end: 12
    assert tiny_judge.truncated([ten, ten + " red"]).tolist() == [False, True]
    fitting = "red" + " red" * 7
    assert own_judge.count_tokens(fitting) == 8
    assert own_judge.truncated([fitting, fitting + " red"]).tolist() == [False, True]


def test_the_prefix_stands_before_every_caption(tiny, tiny_judge):
    judge = load_judge(TINY.model_copy(update={"prefix": "A photo depicts "}), tiny)
    np.testing.assert_allclose(judge.embed_texts(["red"]), tiny_judge.embed_texts(["A photo depicts red"]), atol=1e-6)
    eight = " ".join(["red"] * 8)
    assert (judge.truncated([eight]).tolist(), tiny_judge.truncated([eight]).tolist()) == ([True], [False])
    assert judge.digest != tiny_judge.digest


def test_the_digest_stands_for_the_weights_and_the_tokenizer(own, own_judge, tmp_path):
    weights = {name: tensor.clone() for name, tensor in own_judge.model.state_dict().items()}
    weights["logit_scale"] += 1
    save_file(weights, tmp_path / "weights.safetensors")
    (tmp_path / "model.json").write_bytes((own[0] / "model.json").read_bytes())
    (tmp_path / "tokenizer.json").write_bytes(own[1].read_bytes() + b"\n")
    changed = [
        load_judge(OWN, own=folder, tokenizer=tokenizer)
        for folder, tokenizer in ((own[0], own[1]), (tmp_path, own[1]), (own[0], tmp_path / "tokenizer.json"))
    ]
    assert changed[0].digest == own_judge.digest
    assert len({judge.digest for judge in changed}) == 3
    assert changed[1].scale == pytest.approx(np.e * own_judge.scale, rel=1e-5)


def test_numbers_do_not_depend_on_the_precision_outside(judge):
    pictures = [picture(32, 32)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = judge.embed_pictures(pictures)
    np.testing.assert_array_equal(inside, judge.embed_pictures(pictures))


def test_own_needs_a_model_and_its_tokenizer(own):
    for given in ({}, {"own": own[0]}, {"tokenizer": own[1]}):
        with pytest.raises(ValueError, match=r"clip\.own@1 needs the folder of a trained model and its tokenizer"):
            load_judge(OWN, **given)


def test_weights_are_openais_or_refused(tiny):
    with pytest.raises(ValueError, match=r"tiny\.safetensors has the SHA-256 .* ViT-B-32\.pt with 40d365715913"):
        load_judge(OPENAI, tiny)


def test_offline_the_error_says_what_is_needed(monkeypatch):
    def offline(*_args, **_kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("open_clip.pretrained.download_pretrained_from_url", offline)
    with pytest.raises(ValueError, match=r"ViT-B-32\.pt \(SHA-256 40d3.*no route.*--weights ViT-B-32-quickgelu=PATH"):
        load_judge(OPENAI)


def test_weights_that_open_clip_does_not_know_must_be_given():
    with pytest.raises(ValueError, match=r"open_clip knows no weights 'none'"):
        load_judge(TINY)
