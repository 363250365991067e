"""Protocols are complete, name what is there, and cannot change their meaning unnoticed."""

import hashlib
import json
import subprocess
import sys
from typing import get_args

import pytest

from dalle.provenance import ROOT
from eval.networks.table import NETWORKS
from eval.pixels import KERNELS, NORMALISATIONS
from eval.protocols.protocol import (
    FOLDER,
    BlurProtocol,
    FidProtocol,
    IsProtocol,
    load_protocol,
    protocol_labels,
    read_protocol,
)

# A number beside which stands a label of this list was computed by exactly these rules.
MEANINGS = {
    "blur.lafite@1": "014015b0a5a7b65b",
    "blur.pil@1": "492b520690b3f5ae",
    "clip.dalle3-b32@1": "0b9919983b541e8c",
    "clip.glide-b16@1": "7b99287f128a25c9",
    "clip.openai-b32@1": "8124ba771f193aa0",
    "clip.own@1": "6384e1fb28d3ce36",
    "fid.clean@1": "a1a8f719ce730348",
    "fid.clip-l14-336@1": "c85d80027f10b3bb",
    "fid.dalle1@1": "29be87d17783dfcb",
    "fid.dinov2-l14@1": "a563e2ad6faa3894",
    "fid.dmgan-2018@1": "47a899801a84f4d6",
    "fid.imagenet-lite@1": "ee9a5466be862d59",
    "fid.tf-compat@1": "c766983d0277785e",
    "is.dmgan-2018@1": "a5d8bb83d66ce636",
    "is.imagenet-lite@1": "c81ed6d0bfef9492",
    "is.tf-bias-free@1": "72823e8699bdea47",
}


def meaning(label):
    return hashlib.sha256(json.dumps(load_protocol(label).meaning, sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize("label", protocol_labels())
def test_a_label_keeps_its_meaning(label):
    assert MEANINGS.get(label) == meaning(label), (
        f"{label} means something else than before: raise its version, then write the new label and its digest "
        f"{meaning(label)!r} here"
    )


def test_every_label_of_the_list_is_there():
    assert sorted(MEANINGS) == protocol_labels()


def test_the_typed_names_are_those_of_the_tables():
    fields = FidProtocol.model_fields
    assert set(get_args(fields["network"].annotation)) == set(NETWORKS)
    assert set(get_args(fields["kernel"].annotation)) == set(KERNELS)
    assert set(get_args(fields["normalise"].annotation)) == set(NORMALISATIONS)


def test_inception_scores_point_to_spaces_that_are_there():
    scores = [protocol for protocol in map(load_protocol, protocol_labels()) if isinstance(protocol, IsProtocol)]
    assert {load_protocol(score.features_of, FidProtocol).label for score in scores} == {
        "fid.tf-compat@1",
        "fid.imagenet-lite@1",
    }


def test_a_name_without_version_is_the_current_one():
    assert load_protocol("fid.clean") == load_protocol("fid.clean@1")
    assert load_protocol("fid.clean").label == "fid.clean@1"


def test_an_unknown_label_is_answered_with_the_nearest_and_all():
    with pytest.raises(ValueError, match=r"'fid.tf_compat' is unknown; did you mean fid.tf-compat@1\? .*is.tf-bias"):
        load_protocol("fid.tf_compat")


@pytest.mark.parametrize("label", ["../protocols/fid.clean", "fid.clean.yaml", "", "@1"])
def test_a_label_is_no_path(label):
    with pytest.raises(ValueError, match="is unknown"):
        load_protocol(label)


@pytest.mark.parametrize("label", ["fid.clean@2", "fid.clean@", "fid.clean@01"])
def test_another_version_is_refused_with_the_one_there_is(label):
    with pytest.raises(ValueError, match=r"the version there is fid\.clean@1"):
        load_protocol(label)


def test_a_family_can_be_asked_for():
    with pytest.raises(ValueError, match=r"another family; allowed here are blur\.lafite@1, blur\.pil@1$"):
        load_protocol("fid.clean", BlurProtocol)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("version: 1", "version: 0\ncolour: red", r"version: .*; colour: "),
        ("kernel: pil-bicubic-float", "kernel: bicubic", r"kernel: .*'pil-bicubic'"),
        ("name: fid.clean", "name: fid.cleaner", r"'fid.cleaner' is not the file's"),
        ("infinity: {points: 15, smallest: 5000}", "", r"infinity: needed by fid_infinity"),
        ("kid]", "]", r"kid: none of the metrics needs it"),
        ("weights: 6726825d", "weights: 6726", r"weights: "),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, old, new, complaint):
    path = tmp_path / "fid.clean.yaml"
    text = (FOLDER / "fid.clean.yaml").read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"fid\.clean\.yaml: .*{complaint}") as error:
        read_protocol(path)
    assert "\n" not in str(error.value)


def test_reading_protocols_imports_nothing_heavy():
    code = (
        "import sys; from eval.protocols.protocol import protocol_labels as p; p(); "
        "sys.exit(bool({'torch', 'numpy', 'pandas'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
