"""From the values of a YAML file to typed settings; every mistake is one sentence that names the key."""

from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from dalle.config.experiment import Experiment


def load_config(values: dict[str, Any]) -> Experiment:
    """The experiment that ``values`` (a parsed YAML file) describes.

    Raises ValueError with one line for each mistake: the key, what was given, what is allowed, the nearest known key.
    """
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise ValueError("; ".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: dict[str, Any]) -> str:
    path = [str(part) for part in problem["loc"]]
    key = " ".join(["config key", ".".join(path)] if path else ["config"])
    if problem["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        near = get_close_matches(path[-1], known, n=1, cutoff=0.4)
        return f"{key} is unknown{f'; did you mean {near[0]}?' if near else ''} (allowed: {', '.join(known)})"
    given = "" if problem["type"] in ("missing", "value_error") else f", given {problem['input']!r}"
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}{given}"


def _keys_at(path: list[str]) -> list[str]:
    model: type[BaseModel] = Experiment
    for part in path:
        members = get_args(model)  # of dict[str, External], whose keys are the user's
        model = members[1] if members else model.model_fields[part].annotation
    return list(model.model_fields)
