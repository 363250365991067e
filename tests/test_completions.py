"""Completions keep the upper half of a picture's codes, and each is a function of its picture and number alone."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from dalle.completions import write_completions
from dalle.config.models import DVAE
from dalle.config.models import Tokenizer as Settings
from dalle.config.sampling import Sampling
from dalle.images import read_archive, write_archive
from dalle.models import transformer
from dalle.models.dvae import DiscreteVAE, decode_codes, encode_pictures
from dalle.tokenizer import Tokenizer, train_tokenizer

CONTEXT, GRID, SIDE, CODES = 8, 4, 32, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Untrained models whose logits and pictures differ from code to code, and three noisy pictures."""
    folder = tmp_path_factory.mktemp("results")
    rows = pd.DataFrame({"prompt_id": [3, 5, 9], "candidate": 0, "caption": "a red ring", "scene": ""})
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    write_archive(folder / "val.parquet", rows, pictures)
    train_tokenizer(folder / "val.parquet", folder / "tokenizer.json", Settings(vocab_size=60))
    torch.manual_seed(0)
    settings = DVAE(codes=CODES, width=8, blocks=1)
    dvae = DiscreteVAE(settings)
    torch.nn.init.normal_(dvae.decoder.interface[0].weight)
    shape = transformer.Shape(32, 2, 3, 5, CONTEXT, Tokenizer(folder / "tokenizer.json").vocab_size, GRID, CODES)
    prior = transformer.Transformer(shape)
    torch.nn.init.normal_(prior.image_head.weight, std=0.3)
    for name, model in (("dvae", dvae), ("prior", prior)):
        (folder / name).mkdir()
        save_file(model.state_dict(), folder / name / "weights.safetensors")
    (folder / "dvae/model.json").write_text(settings.model_dump_json())
    transformer.write_shape(folder / "prior/model.json", prior.shape)
    return folder, dvae, pictures


def completed(folder, out, **how):
    parts = [folder / name for name in ("val.parquet", "prior", "tokenizer.json", "dvae")]
    write_completions(*parts, out, Sampling(), 0, **how)
    return read_archive(out)


def test_the_upper_half_is_the_pictures_and_the_rest_differs(folder, tmp_path):
    place, dvae, originals = folder
    rows, pictures = completed(place, tmp_path / "a.parquet", num_pictures=2, num_completions=3)
    assert rows[["prompt_id", "candidate"]].to_numpy().tolist() == [[p, k] for p in (3, 5) for k in range(3)]
    codes = encode_pictures(dvae, originals)
    for prompt, its in enumerate(pictures.reshape(2, 3, SIDE, SIDE, 3)):
        assert len({each.tobytes() for each in its}) == 3
        # The decoder of one block looks one cell far, so the first of the two kept rows knows nothing of the rest.
        whole = decode_codes(dvae, codes[prompt].reshape(1, -1))[0]
        for each in its:
            np.testing.assert_array_equal(each[: SIDE // GRID], whole[: SIDE // GRID])


def test_a_completion_does_not_depend_on_how_many_there_are(folder, tmp_path):
    _, many = completed(folder[0], tmp_path / "many.parquet", num_pictures=3, num_completions=4)
    _, few = completed(folder[0], tmp_path / "few.parquet", num_pictures=1, num_completions=2)
    np.testing.assert_array_equal(few, many[:2])
