"""Every shipped experiment loads; a mistake is answered with the key, what was given and what is allowed."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from dalle.config.data import PHOTOGRAPHS, Coco, Scenes, data_from
from dalle.config.experiment import Experiment
from dalle.config.models import Prior
from dalle.config.reading import load_config
from dalle.config.sampling import Sampling
from dalle.provenance import ROOT

COCO = {"kind": "coco", "folder": "coco"}
SHIPPED = sorted((ROOT / "workflow/config").glob("*.yaml"))


def settings(**groups: object) -> dict:
    return {"experiment": "mine", **groups}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_experiments_load_and_have_their_own_folder(path: Path) -> None:
    assert load_config(yaml.safe_load(path.read_text(encoding="utf-8"))).experiment == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_experiments_say_only_what_departs_from_the_defaults(path: Path) -> None:
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert repeated(said, load_config(said)) == []


def repeated(said: dict, group: BaseModel, prefix: str = "") -> list[str]:
    """Keys of ``said`` that repeat a default of their group; not the kind of a group, nor anything within
    ``optimisation``, which is replaced as a whole."""
    found = []
    for key, value in said.items():
        known = type(group).model_fields[key].default
        if isinstance(value, dict) and key != "optimisation":
            found += repeated(value, getattr(group, key), f"{prefix}{key}.")
        elif key != "kind" and value == (list(known) if isinstance(known, tuple) else known):
            found.append(prefix + key)
    return found


def test_the_default_experiment_is_the_one_described() -> None:
    default = load_config(settings())
    assert default.sampling.n_candidates[-1] == 32
    assert default.evaluation.blur[0] == 0
    assert default.grid == 8


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ({"dvea": {}}, r"config key dvea is unknown; did you mean dvae\? \(allowed: .*prior.*\)"),
        ({"prior": {"dept": 3}}, r"config key prior\.dept is unknown; did you mean depth\? \(allowed: .*heads.*\)"),
        ({"prior": {"optimisation": {"steps": 1, "lr": 1}}}, r"prior\.optimisation\.lr is unknown.*learning_rate"),
        ({"experiment": None}, r"config key experiment: .*string, given None"),
        ({"experiment": "../up"}, r"config key experiment: .*pattern.*given '\.\./up'"),
        ({"prior": {"depth": "three"}}, r"config key prior\.depth: .*integer.*given 'three'"),
        ({"prior": {"depth": 0}}, r"config key prior\.depth: .*greater than 0, given 0"),
        ({"prior": 3}, r"config key prior: .*given 3"),
        ({"prior": {"optimisation": {"steps": -1}}}, r"config key prior\.optimisation\.steps: .*given -1"),
        ({"prior": {"optimisation": {}}}, r"config key prior\.optimisation\.steps: Field required"),
        (
            {"sampling": {"n_candidates": [1, 2, 3]}},
            r"sampling\.n_candidates: \[1, 2, 3\] .*allowed are \[1\], ",
        ),
        ({"sampling": {"n_candidates": [2, 4]}}, r"sampling\.n_candidates: \[2, 4\] .*begins with 1"),
        ({"sampling": {"n_candidates": []}}, r"sampling\.n_candidates: \[\] .*allowed"),
        ({"sampling": {"n_candidates": [1, 2]}}, r"config key sampling: block: 32 does not divide .*n_candidates, 2"),
        ({"sampling": {"block": 3}}, r"config key sampling\.block: 3 is not a power of two; allowed are 1, 2, 4"),
        ({"sampling": {"temperature": 0}}, r"config key sampling\.temperature: .*greater than 0, given 0"),
        ({"evaluation": {"blur": [0, -1]}}, r"config key evaluation: blur: .*-1.* must be distinct radii ≥ 0"),
        ({"evaluation": {"blur": [0, 2, 2]}}, r"config key evaluation: blur: .*distinct"),
        ({"evaluation": {"blur": []}}, r"config key evaluation: blur: \[\] must be"),
        (
            {"evaluation": {"protocols": []}},
            r"evaluation\.protocols: .*at least 1 item",
        ),
        ({"data": {"image_size": 60}}, r"dvae\.downsample: 8 does not divide data\.image_size = 60"),
        ({"prior": {"heads": 5}}, r"prior\.width: 96 is not a multiple of prior\.heads = 5"),
        ({"prior": {"depth": True}}, r"config key prior: depth: True is no allowed value"),
        ({"prior": {"optimisation": {"steps": 1, "learning_rate": float("inf")}}}, r"learning_rate: .*finite"),
        ({"evaluation": {"blur": [0, 1, 1.0000001]}}, r"config key evaluation: blur: .*distinct"),
        ({"evaluation": {"replicates": 10}}, r"evaluation\.replicates: .*greater than or equal to 50, given 10"),
        ({"data": {"train": 20}}, r"prior\.optimisation\.batch_size: 32 is more than the 19 examples"),
        ({"dvae": {"optimisation": {"steps": 1, "optimiser": "muon"}}}, r"dvae\.optimisation\.optimiser: .*adamw"),
        ({"human": {"pairs": 1000}}, r"human\.pairs: 1000 is more than data\.val = \d+ captions"),
        (
            {"data": {"lattise": 8}},
            r"config key data\.lattise is unknown; did you mean lattice\? \(allowed: .*zeroshot\)",
        ),
        ({"data": {"overlap": {}}}, r"config key data\.overlap is unknown"),  # scenes know their own
        (
            {"data": {"kind": "coca"}},
            r"config key data\.kind: 'coca' is unknown; did you mean coco\? \(allowed: scenes, ",
        ),
        ({"data": {"kind": "coco"}}, r"config key data\.folder: Field required"),
        ({"data": COCO | {"filtres": {}}}, r"config key data\.filtres is unknown; did you mean filters\?"),
        ({"data": COCO | {"filters": {"word": 1}}}, r"config key data\.filters\.word is unknown; did you mean words\?"),
        ({"data": COCO | {"year": 2015}}, r"config key data\.year: .*2014 or 2017, given 2015"),
        ({"data": COCO | {"image_size": 60}}, r"dvae\.downsample: 8 does not divide data\.image_size = 60"),
        ({"data": COCO | {"prompts": 10}}, r"human\.pairs: 64 is more than data\.prompts = 10 captions"),
        ({"data": 3}, r"config key data: .*given 3"),
        (
            {"data": COCO, "systems": {"a": {"path": "a.parquet", "suite": "zeroshot"}}},
            r"systems\.a\.suite: 'zeroshot' is no suite of these data; allowed: \['val'\]",
        ),
        ({"systems": {"original": {"path": "a.parquet"}}}, r"'original' is no free name"),
    ],
)
def test_a_mistake_is_named(mistake: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says) as raised:
        load_config(settings() | mistake)
    assert "\n" not in str(raised.value)


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=re.compile(r"prior\.depth.*; .*clip\.width")):
        load_config(settings(prior={"depth": 0}, clip={"width": 0}))


def test_data_without_a_kind_are_scenes_and_a_kind_finds_its_settings() -> None:
    assert load_config(settings(data={"train": 2000})).data == Scenes(train=2000)
    found = load_config(settings(data=COCO)).data
    assert found == Coco(folder="coco")
    assert found == data_from(found.model_dump(mode="json"))  # the way through a rule
    assert (Scenes().suites, found.suites) == (["val", "zeroshot"], ["val"])


def test_a_missing_name_is_missed() -> None:
    with pytest.raises(ValueError, match="config key experiment: Field required"):
        load_config({})


def test_settings_survive_the_way_through_a_rule() -> None:
    prior = load_config(settings(prior={"depth": 2})).prior
    assert Prior.model_validate(prior.model_dump(mode="json")) == prior


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Sampling().block = 4


def test_every_setting_says_what_it_means() -> None:
    groups = [Experiment, *PHOTOGRAPHS]
    for group in groups:
        for name, field in group.model_fields.items():
            if isinstance(field.default, BaseModel):
                groups.append(type(field.default))
            elif name not in ("kind", "optimisation"):
                assert field.description, f"{group.__name__}.{name} has no description"


def test_blocks_cover_the_largest_n() -> None:
    assert Sampling(n_candidates=(1, 2, 4, 8), block=4).blocks == 2
