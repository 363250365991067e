"""From the values of a YAML file to typed settings; every mistake is one sentence that names the key."""

from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dalle.config.experiment import Experiment

# A few lines of YAML can describe a value of gigabytes, by anchors within anchors: of what was given, so much is shown.
SHOWN = Repr()
SHOWN.maxlevel, SHOWN.maxlist, SHOWN.maxdict, SHOWN.maxstring, SHOWN.maxlong, SHOWN.maxother = 3, 20, 20, 200, 60, 200


def read_yaml(path: str | Path) -> Any:
    """What a YAML file says: plain values; whatever else it asks for is an error. Nothing in it runs.

    Raises ValueError that names the file and the reason, in one line.
    """
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: it is no YAML ({' '.join(str(error).split())})") from None


def load_config(values: dict[str, Any]) -> Experiment:
    """The experiment that ``values`` (a parsed YAML file) describes.

    Raises ValueError with one line for each mistake: the key, what was given, what is allowed, the nearest known key.
    """
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise ValueError("; ".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: dict[str, Any]) -> str:
    path, group = _keys_and_group(problem["loc"])
    key = " ".join(["config key", ".".join(path)] if path else ["config"])
    if problem["type"] == "extra_forbidden":
        known = list(group.model_fields)
        near = get_close_matches(path[-1], known, n=1, cutoff=0.4)
        return f"{key} is unknown{f'; did you mean {near[0]}?' if near else ''} (allowed: {', '.join(known)})"
    if problem["type"] == "union_tag_invalid":
        given, allowed = problem["ctx"]["tag"], problem["ctx"]["expected_tags"].replace("'", "")
        near = get_close_matches(given, allowed.split(", "), n=1, cutoff=0.4)
        return f"{key}.kind: {given!r} is unknown{f'; did you mean {near[0]}?' if near else ''} (allowed: {allowed})"
    given = "" if problem["type"] in ("missing", "value_error") else f", given {SHOWN.repr(problem['input'])}"
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}{given}"


def _keys_and_group(place: tuple[str | int, ...]) -> tuple[list[str], type[BaseModel]]:
    """The keys of a YAML file that lead to a mistake, and the group of settings that the last of them is in.

    Where a group is one of several kinds, pydantic puts the kind between the keys; no file has it there.
    """
    keys: list[str] = []
    inside: Any = Experiment
    group = Experiment
    for part in place:
        kinds = _kinds(inside)
        if part in kinds:
            inside = kinds[part]
            continue
        keys.append(str(part))
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            group = inside
            inside = _present(group.model_fields[part].annotation) if part in group.model_fields else None
        else:
            inside = next(iter(get_args(inside)[1:]), None)  # of dict[str, External], whose keys are the user's
    return keys, group


def _kinds(annotation: Any) -> dict[str, type[BaseModel]]:
    """The kinds of a group that is one of several, by their names."""
    members = [each for each in get_args(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
    return {each.model_fields["kind"].default: each for each in members if "kind" in each.model_fields}


def _present(annotation: Any) -> Any:
    """What a key that may be null holds if it is not."""
    members = [member for member in get_args(annotation) if member is not NoneType]
    return members[0] if len(members) == 1 else annotation
