"""Each filter takes what its rule says and is asked in its turn; what it took is counted."""

import pandas as pd
import pytest

from dalle.config.data import Filters
from dalle.data.filters import account, filter_steps, sift


def table(*captions, sizes=(64, 64)):
    """One picture for each caption, or (picture, caption)."""
    rows = [caption if isinstance(caption, tuple) else (number, caption) for number, caption in enumerate(captions)]
    return pd.DataFrame(rows, columns=["picture", "caption"]).assign(width=sizes[0], height=sizes[1])


def taken(rows, **settings):
    return sift(rows, filter_steps(Filters(**settings)))["taken_by"].tolist()


def test_captions_have_a_least_and_a_greatest_length():
    rows = table("two words", "now three words", "a b c d e", "a b c d e f")
    assert taken(rows, words=(3, 5)) == ["caption length", "", "", "caption length"]


@pytest.mark.parametrize(
    ("size", "step"),
    [
        ((640, 320), ""),
        ((641, 320), "aspect ratio"),
        ((320, 640), ""),
        ((320, 641), "aspect ratio"),
        ((0, 0), ""),  # unknown: it cannot be opened, and that is counted elsewhere
    ],
)
def test_pictures_are_at_most_twice_as_long_as_wide(size, step):
    assert taken(table("a bird on a branch", sizes=size)) == [step]


def test_captions_are_ascii_unless_that_is_not_wanted():
    rows = table("ein Vogel über dem See", "a bird over the lake")
    assert taken(rows) == ["language", ""]
    assert taken(rows, ascii=False) == ["", ""]


def test_boilerplate_is_banned_whatever_the_case():
    rows = table("Photographed on 3 May 2007", "IMG_0042 at the lake", "see WWW.birds for more", "a photographed bird")
    assert taken(rows) == ["banned captions"] * 3 + [""]
    assert taken(rows, banned=("photographed bird$",)) == [""] * 3 + ["banned captions"]
    assert taken(rows, banned=()) == [""] * 4


def test_a_picture_without_a_caption_only_needs_its_shape():
    assert taken(table("")) == [""]
    assert taken(table("", sizes=(100, 20))) == ["aspect ratio"]


def test_the_account_adds_up_and_names_pictures_that_lost_their_last_caption():
    rows = table((0, "one"), (0, "a whole caption"), (1, "two"), (1, "über"), (2, "a third picture"), (3, ""))
    steps = filter_steps(Filters())
    found = account(sift(rows, steps), steps).set_index("step")
    assert found.index.tolist() == ["delivered", "aspect ratio", "caption length", "language", "banned captions"]
    assert found.loc["delivered", ["captions_left", "pictures_left"]].tolist() == [5, 4]
    # "über" is a single word and so is taken before its letters are looked at
    assert found.loc["caption length", ["captions", "pictures"]].tolist() == [
        3,
        1,
    ]
    assert found.loc["language", ["captions", "pictures"]].tolist() == [0, 0]
    assert found["captions"].sum() + found["captions_left"].iloc[-1] == 5
    assert "3 to 48 words" in found.loc["caption length", "rule"]


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="words: 9 is more than 3"):
        Filters(words=(9, 3))
    with pytest.raises(ValueError, match=r"banned: '\(' is no regular expression"):
        Filters(banned=("(",))
