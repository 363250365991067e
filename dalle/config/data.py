"""What an experiment learns from and is asked for: the embedded scenes, or captioned photographs from anywhere."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from dalle.config.settings import Above0, Positive, Settings, Share


class Scenes(Settings):
    """The embedded picture world: procedural, captioned, exactly gradable. No download."""

    kind: Literal["scenes"] = "scenes"
    image_size: int = Field(64, ge=32, description="side of the square pictures, pixels")
    lattice: Positive = Field(
        8, description="object centres lie on multiples of this many pixels (a concession to small code grids)"
    )
    train: Positive = Field(16_000, description="captioned training pictures")
    uncaptioned: Positive = Field(8_000, description="further pictures, of held-out pairs, without captions")
    held_out: tuple[str, ...] = Field(
        ("red triangle", "green ring", "blue square", "yellow circle"),
        description="colour×shape pairs that occur in no caption and no captioned picture of the training set",
    )
    val: int = Field(256, ge=2, description="captions of the suite 'val': unseen captions of seen pairs")
    zeroshot: int = Field(128, ge=2, description="captions of the suite 'zeroshot': each names a held-out pair")

    @property
    def suites(self) -> list[str]:
        """What is asked for, by name."""
        return ["val", "zeroshot"]

    @property
    def most_prompts(self) -> int | None:
        """The most captions that suite val can have, as far as the settings say."""
        return self.val


class Filters(Settings):
    """What training captions and pictures must be (paper appendix C). The suite's captions are never filtered."""

    words: tuple[Positive, Positive] = Field(
        (3, 48), description="fewest and most words of a caption (paper: not too short; at most 256 tokens)"
    )
    ascii: bool = Field(True, description="captions of ASCII characters only (paper: English, by cld3)")
    banned: tuple[str, ...] = Field(
        (r"photographed (on|by|in)", r"^(image|img|picture|photo|dsc)[ _#-]*\d+", r"https?://|www\."),
        description="regular expressions, whatever the case; a caption in which one is found goes (paper: boilerplate "
        "of the kind 'photographed on <date>')",
    )
    aspect: tuple[Above0, Above0] = Field(
        (0.5, 2.0), description="least and greatest width divided by height (paper: 1/2 to 2)"
    )

    @model_validator(mode="after")
    def _bounds_and_patterns(self) -> "Filters":
        import re

        for name in ("words", "aspect"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: {low} is more than {high}; the least stands first")
        for pattern in self.banned:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"banned: {pattern!r} is no regular expression ({error})") from None
        return self


class Overlap(Settings):
    """Which reference pictures count as seen in training (paper §3.1)."""

    max_distance: int = Field(12, ge=0, le=63, description="bits in which the perceptual hashes of copies may differ")
    min_likeness: float = Field(
        0.90,
        ge=-1,
        le=1,
        description="least correlation of two pictures' coarse colours, where the hashes are that near",
    )
    embedding: Literal["clip", "none"] = Field("clip", description="the experiment's reranker (see rerank), or none")
    min_cosine: float | None = Field(
        None, ge=-1, le=1, description="of two embeddings: as close as this is an overlap; null: for the sheet alone"
    )
    shown: Positive = Field(24, description="closest pairs on the contact sheet")


class Photographs(Settings):
    """What is common to all captioned photographs, wherever they lie."""

    image_size: int = Field(64, ge=32, description="side of the square pictures in every archive, pixels")
    train: tuple[str, ...] = Field(("train",), min_length=1, description="splits of the source that are trained on")
    val: str = Field("val", description="split of the source that the suite 'val' and its reference are made of")
    draw_val: Share = Field(
        0.0, description="where the source has no split val: this share of its pictures is drawn by seed (0: an error)"
    )
    captions: Literal["one", "all", "unique"] = Field(
        "one", description="the suite's prompts: one a picture, drawn by seed; all; or every distinct one once (CUB)"
    )
    prompts: Positive | None = Field(
        None, description="so many of these captions, drawn by seed; null takes all (paper: 30,000 of COCO)"
    )
    held_back: Share = Field(
        0.0,
        description="share of val's pictures that is neither prompt nor reference: system 'real' shows them; 0: it "
        "shows training pictures",
    )
    pictures: Positive | None = Field(None, description="so many training pictures, drawn by seed; null takes all")
    views: Positive = Field(
        1, description="crops of a captioned training picture, each under another of its captions; the first is centred"
    )
    dvae_views: Positive = Field(1, description="crops and flips of a training picture for the dVAE alone")
    crop: Literal["centre", "box"] = Field("centre", description="box: what AttnGAN cuts out around CUB's boxes, first")
    workers: Positive = Field(2, description="threads that decode")
    filters: Filters = Filters()
    overlap: Overlap = Overlap()

    @model_validator(mode="after")
    def _val_is_not_trained_on(self) -> "Photographs":
        if self.val in self.train:
            raise ValueError(f"val: {self.val!r} is among the splits to train on, {list(self.train)}")
        return self

    @property
    def suites(self) -> list[str]:
        """What is asked for, by name."""
        return ["val"]

    @property
    def most_prompts(self) -> int | None:
        """The most captions that suite val can have, as far as the settings say; None if only the source knows."""
        return self.prompts

    @property
    def files(self) -> list[str]:
        """The single files that decide what there is, for Snakemake; pictures are watched through ``folders``."""
        return []

    @property
    def folders(self) -> list[str]:
        """Folders of pictures, whose listing (names, sizes, times) stands for their content."""
        return []


class Coco(Photographs):
    """MS-COCO in its own layout: ``annotations/captions_{train,val}{year}.json`` beside ``{train,val}{year}/``."""

    kind: Literal["coco"] = "coco"
    folder: str = Field(description="where annotations/ and the folders of pictures lie")
    year: Literal[2014, 2017] = Field(2017, description="which edition; the paper's is 2014")
    karpathy: str | None = Field(
        None, description="dataset_coco.json with Karpathy's splits train, restval, val, test, over the 2014 pictures"
    )

    @property
    def files(self) -> list[str]:
        names = [f"{self.folder}/annotations/captions_{split}{self.year}.json" for split in (*self.train, self.val)]
        return [self.karpathy] if self.karpathy else names

    @property
    def folders(self) -> list[str]:
        return [f"{self.folder}/{split}{self.year}" for split in ("train", "val")]


class Cub(Photographs):
    """CUB-200-2011 in its own layout, with the ten captions a picture of Reed et al. (by default 150/50 classes)."""

    kind: Literal["cub"] = "cub"
    folder: str = Field(description="where images.txt and images/ lie")
    captions_from: str = Field("text", description="folder of ten-line files, or .csv (image, caption); below folder")
    split: Literal["classes", "pictures"] = Field(
        "classes", description="classes: 150 to train on, 50 others; pictures: the set's own, each class in both"
    )
    test_names: str = Field(
        "test/filenames.pickle",
        description="of split classes: list of test pictures, .pickle or .txt, below folder",
    )
    val: str = Field("test", description="split of the source that the suite 'val' and its reference are made of")
    captions: Literal["one", "all", "unique"] = Field(
        "unique", description="the suite's prompts: one a picture, all, or every distinct one once (paper: unique)"
    )

    @property
    def files(self) -> list[str]:
        names = ["images.txt", "classes.txt"]
        names += [self.test_names] if self.split == "classes" else ["train_test_split.txt"]
        names += [self.captions_from] if self.captions_from.endswith(".csv") else []
        names += ["bounding_boxes.txt"] if self.crop == "box" else []
        return [f"{self.folder}/{name}" for name in names]

    @property
    def folders(self) -> list[str]:
        text = [] if self.captions_from.endswith(".csv") else [f"{self.folder}/{self.captions_from}"]
        return [f"{self.folder}/images", *text]


class Columns(Settings):
    """Which columns of a table are meant."""

    caption: str = Field("caption", description="text, or a list of texts")
    category: str | None = Field(None, description="class of the picture; null: the table has none")
    image_id: str | None = Field(
        None, description="rows with the same id are one picture with several captions; null: each row is its own"
    )


class Folder(Photographs):
    """``datasets``' imagefolder: pictures, metadata.csv (file_name, caption) beside them, perhaps train/ and val/."""

    kind: Literal["imagefolder"] = "imagefolder"
    folder: str = Field(description="where the pictures lie")
    columns: Columns = Columns()

    @property
    def folders(self) -> list[str]:
        return [self.folder]


class Parquet(Photographs):
    """Parquet files with a column of pictures, a list of files for each split."""

    kind: Literal["parquet"] = "parquet"
    paths: dict[str, tuple[str, ...]] = Field(description="the files of each split")
    columns: Columns = Columns()

    @property
    def files(self) -> list[str]:
        return [path for paths in self.paths.values() for path in paths]


class Shards(Photographs):
    """webdataset shards: tar files with NAME.jpg and NAME.txt or NAME.json side by side."""

    kind: Literal["webdataset"] = "webdataset"
    paths: dict[str, tuple[str, ...]] = Field(description="the shards of each split, as they are read")
    columns: Columns = Columns()

    @property
    def files(self) -> list[str]:
        return [path for paths in self.paths.values() for path in paths]


class Hub(Photographs):
    """A data set on the hub (or a local folder of one), as ``datasets.load_dataset`` finds it, without running code."""

    kind: Literal["hub"] = "hub"
    hub: str = Field(description="name of the data set")
    revision: str = Field("main", description="commit of the data set: only a commit gives the same pictures for ever")
    columns: Columns = Columns()


PHOTOGRAPHS = (Coco, Cub, Folder, Parquet, Shards, Hub)


def _scenes_unless_said(values: Any) -> Any:
    return {"kind": "scenes", **values} if isinstance(values, dict) else values


Data = Annotated[
    Scenes | Coco | Cub | Folder | Parquet | Shards | Hub,
    Field(discriminator="kind"),
    BeforeValidator(_scenes_unless_said),
]
data_from = TypeAdapter(Data).validate_python  # plain values, as a rule hands them on
