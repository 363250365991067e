"""What the code reads beside settings: protocols, questionnaires, templates. A digest of what such a file means."""

import yaml

from dalle.provenance import ROOT, file_digest, values_digest

FOR_PEOPLE = ("about", "departures")  # fields of a protocol that no number follows from


def text_digest(name: str) -> str:
    """A digest of the file ``name`` of the project: of its values if it is YAML, without words for people; else of it.

    Raises FileNotFoundError if there is none.
    """
    path = ROOT / name
    if path.suffix != ".yaml":
        return file_digest(path)
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return values_digest({key: value for key, value in values.items() if key not in FOR_PEOPLE})
