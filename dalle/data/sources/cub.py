"""CUB-200-2011 in its own layout, with the ten captions a picture of Reed et al. as AttnGAN and its kin pack them."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

from dalle.data.crops import Box
from dalle.data.sources.table import OTHERS, Source, differences, file_reader, listed, make_source, read_lines, refuse
from dalle.listing import files_below
from dalle.manifest import read_csv

CAPTIONS = 10  # a picture
LOST = "\ufffd\ufffd"  # what is left of a space of two bytes; AttnGAN's loaders put a space there, too
REPAIRED = "captions with U+FFFD pairs, now spaces"
SPARE = f"captions of a picture after its first {CAPTIONS}, left out"


def read_cub(folder: str | Path, captions: str, split: str, test_names: str) -> Source:
    """``images.txt``, ``classes.txt``, ``images/`` and ``bounding_boxes.txt`` if it is there; other names are below
    ``folder`` too.

    - ``captions``: a folder with ten lines for each picture (of more, the first ten), or a CSV file with the columns
      image and caption. A class may have none at all; its pictures stay without.
    - ``split``: of "classes", the pictures in the list ``test_names`` (.txt, or AttnGAN's .pickle) are "test" and the
      rest "train"; no class is in both. Of "pictures", it is that of ``train_test_split.txt``.

    prompt_id is ten times the picture's number and the caption's place, category the class without its number. Raises
    ValueError where the files do not have the same pictures, and for a described class with too few captions.
    """
    folder, name = Path(folder), f"CUB in {folder}"
    notes: Counter[str] = Counter()
    files = _numbered(folder / "images.txt")
    refuse(name, differences(files.values(), listed(folder / "images", notes), "images.txt"))
    known = set(_numbered(folder / "classes.txt").values())
    refuse(name, {"classes that are not in classes.txt": sorted({_class_of(file) for file in files.values()} - known)})
    said = _captions(folder / captions, list(files.values()), name, notes)
    splits = _splits(folder, files, split, test_names, name, notes)
    notes[REPAIRED] = sum(LOST in caption for lines in said.values() for caption in lines)
    rows: list[dict[str, Any]] = []
    for picture, (number, file) in enumerate(files.items()):
        place = {"image_id": number, "split": splits[number], "category": _class_of(file).partition(".")[2]}
        place |= {"file": f"images/{file}", "picture": picture}
        lines = enumerate(said.get(file, [""]))
        rows += [
            place | {"prompt_id": CAPTIONS * number + line, "caption": caption.replace(LOST, " ")}
            for line, caption in lines
        ]
    read = file_reader(folder / "images", list(files.values()))
    return make_source(name, rows, read, boxes=_boxes(folder / "bounding_boxes.txt", files), notes=notes)


def _class_of(file: str) -> str:
    return file.partition("/")[0]


def _numbered(path: Path) -> dict[int, str]:
    """The lines "number rest" of a file."""
    parts = [line.split(maxsplit=1) for line in read_lines(path)]
    strange = [" ".join(part) for part in parts if len(part) < 2 or not part[0].isdecimal()]
    refuse(str(path), {"lines that are not a number and what it stands for": strange})
    times = Counter(int(number) for number, _ in parts)
    refuse(str(path), {"numbers more than once": [str(number) for number, num in times.items() if num > 1]})
    return {int(number): rest.strip() for number, rest in parts}


def _captions(path: Path, files: list[str], name: str, notes: Counter[str]) -> dict[str, list[str]]:
    """The ten captions of every picture of the classes that have any. Counts what it leaves alone."""
    said = _captions_of_table(path) if path.suffix == ".csv" else _captions_of_folder(path, notes)
    described = {_class_of(file) for file in said}
    few = [f"{file}: {len(lines)}" for file, lines in said.items() if len(lines) < CAPTIONS]
    of_these = [file for file in files if _class_of(file) in described]
    missing = differences(of_these, said, "images.txt")
    refuse(
        f"{name}, captions of {path.name}",
        {
            "pictures without captions, of classes that have some": missing.pop("missing pictures"),
            "captions of pictures that are not in images.txt": sorted(set(said) - set(files)),
            f"fewer captions than {CAPTIONS}": few,
        },
    )
    notes[SPARE] = sum(len(lines) - CAPTIONS for lines in said.values())
    return {file: lines[:CAPTIONS] for file, lines in said.items()}


def _captions_of_folder(folder: Path, notes: Counter[str]) -> dict[str, list[str]]:
    files = files_below(folder)
    names = [name for name in files if name.endswith(".txt")]
    notes[OTHERS] += len(files) - len(names)
    return {f"{name.removesuffix('.txt')}.jpg": read_lines(folder / name) for name in names}


def _captions_of_table(path: Path) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for line in read_csv(path, "image", "caption")[1]:
        said.setdefault(line["image"], []).append(line["caption"])
    return said


def _splits(
    folder: Path, files: dict[int, str], split: str, test_names: str, name: str, notes: Counter[str]
) -> dict[int, str]:
    """train or test for the number of every picture. Counts how many pictures of a whole CUB are not here."""
    if split == "pictures":
        is_train = _numbered(folder / "train_test_split.txt")
        missing = [file for number, file in files.items() if number not in is_train]
        refuse(name, {"pictures without a line in train_test_split.txt": missing})
        notes["lines of train_test_split.txt for pictures that are not here"] = len(is_train.keys() - files.keys())
        return {number: "train" if is_train[number] == "1" else "test" for number in files}
    test = [f"{each.removesuffix('.jpg')}.jpg" for each in _names(folder / test_names)]
    here = Counter(map(_class_of, files.values()))
    tested = Counter(_class_of(each) for each in set(test) & set(files.values()))
    absent = [each for each in test if _class_of(each) in here and each not in files.values()]
    torn = [f"{each}: {num} of {here[each]}" for each, num in tested.items() if num < here[each]]
    refuse(f"{name}, {test_names}", {"missing pictures": absent, "classes that are in both splits": torn})
    notes[f"names in {test_names} of classes that are not here"] = sum(_class_of(each) not in here for each in test)
    return {number: "test" if _class_of(file) in tested else "train" for number, file in files.items()}


def _names(path: Path) -> list[str]:
    if path.suffix != ".pickle":
        return read_lines(path)
    try:
        with open(path, "rb") as stream:
            names = _Plain(stream, encoding="latin1").load()
    except Exception as error:  # as many kinds as there are ways for a file to be no pickle
        raise ValueError(f"{path}: the list cannot be read ({error})") from None
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise ValueError(f"{path}: it is no list of names")
    return names


class _Plain(pickle.Unpickler):
    """Reads lists, texts and numbers; a pickle that wants to run something is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}; a list of names needs no code")


def _boxes(path: Path, files: dict[int, str]) -> dict[int, Box]:
    """The box of every picture by its position; none at all where there is no such file."""
    if not path.exists():
        return {}
    boxes = {number: _numbers(rest) for number, rest in _numbered(path).items()}
    strange = [file for number, file in files.items() if len(boxes.get(number, ())) != 4]
    refuse(str(path), {"pictures without a box of four numbers": strange})
    return {picture: boxes[number] for picture, number in enumerate(files)}


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split()))
    except ValueError:
        return ()
