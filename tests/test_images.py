"""Pixels go into a network and into files and come back as they were; what is not a picture is named."""

import struct
import zlib
from io import BytesIO
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dalle.images import (
    ROW_COLUMNS,
    ROW_GROUP,
    archive_writer,
    decode_picture,
    iter_archive,
    psnr,
    read_archive,
    read_rows,
    to_float,
    to_uint8,
    write_archive,
)

PHOTO = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(12) * 9, np.arange(16) * 7)[..., None].repeat(3, 2).astype(np.uint8)
LEVELS = np.array([[0, 1, 128, 129, 384, 386, 32767, 65407, 65408, 65535]])  # of 16 bits


def make(num=5, size=6):
    rng = np.random.default_rng(num)
    rows = pd.DataFrame({"prompt_id": range(num), "candidate": 2, "caption": "a ring, “red”", "scene": ""})
    return rows, rng.integers(0, 256, (num, size, size, 3), dtype=np.uint8)


def test_every_level_comes_back():
    levels = np.arange(256 * 3, dtype=np.uint16).astype(np.uint8).reshape(1, 16, 16, 3)
    assert np.array_equal(to_uint8(to_float(levels)), levels)


def test_inside_a_picture_is_channels_first_and_at_most_one():
    pixels = np.zeros((1, 4, 5, 3), np.uint8)
    pixels[0, 1, 2] = (255, 51, 0)
    image = to_float(pixels)
    assert image.shape == (1, 3, 4, 5)
    assert image[0, :, 1, 2].tolist() == pytest.approx([1, 0.2, 0])
    assert image.sum().item() == pytest.approx(1.2)


def test_levels_are_clamped_and_rounded_to_the_nearest():
    values = torch.tensor([-3, 0.4 / 255, 0.6 / 255, 99.6 / 255, 1.2]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_uint8(values)[0, 0, :, 0].tolist() == [0, 0, 1, 100, 255]


def test_psnr_in_closed_form():
    truth = np.full((4, 3, 5, 3), 100, np.uint8)
    pixels = truth.copy()
    pixels[1] += 10
    pixels[2] -= 10  # as uint8, a difference the other way round would wrap
    pixels[3, :, :, 0] += 30  # one channel of three
    assert psnr(pixels, truth) == pytest.approx([np.inf, *[20 * np.log10(25.5)] * 2, 10 * np.log10(255**2 / 300)])
    assert psnr(np.full((1, 2, 2, 3), 255, np.uint8), np.zeros((1, 2, 2, 3), np.uint8)) == pytest.approx(0)


def test_an_archive_gives_back_rows_and_pixels(tmp_path):
    rows, pixels = make()
    write_archive(tmp_path / "new" / "a.parquet", rows.assign(score=0.5), pixels)
    read, seen = read_archive(tmp_path / "new" / "a.parquet")
    assert np.array_equal(seen, pixels)
    pd.testing.assert_frame_equal(read, rows, check_dtype=False)
    pd.testing.assert_frame_equal(read_rows(tmp_path / "new" / "a.parquet"), read)


def test_strangers_read_an_archive_with_datasets_alone(tmp_path):
    from datasets import Dataset

    rows, pixels = make()
    write_archive(tmp_path / "a.parquet", rows, pixels)
    first = Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))[0]
    assert list(first) == [*ROW_COLUMNS, "lossy", "image"]
    assert np.array_equal(np.asarray(first["image"]), pixels[0])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda rows: rows.drop(columns="scene"), r"columns missing: \['scene'\]"),
        (lambda rows: rows.iloc[1:], "5 pictures for 4 rows"),
        (lambda rows: rows.assign(prompt_id=3), r"a \(prompt_id, candidate\) occurs twice"),
    ],
    ids=["column", "number", "twice"],
)
def test_rows_that_do_not_fit_are_refused_and_leave_nothing(tmp_path, spoil, says):
    rows, pixels = make()
    with pytest.raises(ValueError, match=says):
        write_archive(tmp_path / "a.parquet", spoil(rows), pixels)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    write_archive(tmp_path / "a.parquet", *make())
    table = pd.read_parquet(tmp_path / "a.parquet")
    table.at[3, "image"] = {"bytes": b"no picture", "path": None}
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet, row 3: the picture cannot be read"):
        read_archive(tmp_path / "a.parquet")


def test_pictures_of_different_sizes_are_no_archive(tmp_path):
    write_archive(tmp_path / "a.parquet", *make(size=6))
    write_archive(tmp_path / "b.parquet", *make(size=7))
    pd.concat([pd.read_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet")]).to_parquet(tmp_path / "c")
    with pytest.raises(ValueError, match=r"pictures of 2 sizes \[\(6, 6, 3\), \(7, 7, 3\)\]"):
        read_archive(tmp_path / "c")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    pd.DataFrame({"caption": ["a ring"]}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    for name in ("rows.parquet", "text.parquet"):
        for reading in (read_archive, read_rows):
            with pytest.raises(ValueError, match=f"{name} is no image archive: needed is parquet with columns"):
                reading(tmp_path / name)


def encoded(picture, kind="PNG", **options):
    buffer = BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data):
    return decode_picture(data, "x")[0]


def png_of_16_bits(levels, colour_type, between=b""):
    """A PNG by the letter of its standard; Pillow writes 16 bits of grey alone."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = levels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in levels)
    chunks = chunk(b"IHDR", head), between and chunk(b"tRNS", between), chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_file_is_its_pixels(kind):
    pixels, lossy = decode_picture(encoded(PHOTO, kind, **LOSSLESS[kind]), "x")
    assert np.array_equal(pixels, PHOTO)
    assert not lossy
    assert pixels.flags.writeable


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "MPO"])
def test_a_lossy_file_is_called_so_and_is_nearly_its_pixels(kind):
    pixels, lossy = decode_picture(encoded(SMOOTH, kind, quality=95), "x")
    assert lossy
    assert abs(pixels.astype(int) - SMOOTH).mean() < 3


@pytest.mark.parametrize(("options", "is_lossy"), [({"lossless": True}, False), ({"quality": 90}, True)])
def test_webp_tells_its_kind_behind_profile_exif_and_alpha_too(options, is_lossy):
    alpha = Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]]))
    data = encoded(alpha, "WEBP", icc_profile=b"VP8L VP8, odd", exif=orientation(1), **options)
    assert b"ICCP" in data
    assert decode_picture(data, "x")[1] is is_lossy


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


UPRIGHT = {  # how the stored picture is turned and mirrored, by the standard's words for row 0 and column 0
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("number", UPRIGHT)
@pytest.mark.parametrize("kind", LOSSLESS)
def test_the_orientation_of_exif_is_applied(kind, number):
    data = encoded(PHOTO, kind, exif=orientation(number), **LOSSLESS[kind])
    assert np.array_equal(decoded(data), UPRIGHT[number](PHOTO))


def test_a_jpeg_is_turned():
    turned, upright = (decoded(encoded(SMOOTH, "JPEG", exif=orientation(number))) for number in (6, 1))
    assert np.array_equal(turned, np.rot90(upright, -1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_turns_nothing(kind):
    data = encoded(SMOOTH, kind, exif=b"Exif\0\0XX\0*" + orientation(6).tobytes()[10:])
    assert np.array_equal(decoded(data), decoded(encoded(SMOOTH, kind)))


def test_grey_of_16_bits_is_scaled_and_rounded():
    expected = [round(level / 257) for level in LEVELS[0].tolist()]
    assert expected[2:6] == [0, 1, 1, 2]
    for data in (encoded(LEVELS.astype(np.uint16)), png_of_16_bits(LEVELS, 0)):
        assert decoded(data).tolist() == [[[level] * 3 for level in expected]]


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4), (4, 2)], ids=["RGB", "RGBA", "LA"])
def test_colour_of_16_bits_keeps_the_high_byte(colour_type, channels):
    levels = LEVELS[..., None].repeat(channels, 2)
    levels[..., 3:] = levels[..., 1:2] = 65535  # opaque
    pixels = decoded(png_of_16_bits(levels, colour_type))
    assert pixels[..., 0].tolist() == (LEVELS >> 8).tolist()
    assert abs(pixels[..., 0] - LEVELS / 257).max() < 1


def test_16_bits_with_a_transparent_colour_are_refused():
    grey, colour = (LEVELS, 0, b"\1\1"), (LEVELS[..., None].repeat(3, 2), 2, b"\1\1" * 3)
    for levels, colour_type, transparent in (grey, colour):
        with pytest.raises(ValueError, match=r"x: the picture cannot be read .*16 bits with a transparent colour"):
            decoded(png_of_16_bits(levels, colour_type, transparent))


def test_what_is_transparent_lies_over_white():
    alpha = np.arange(192, dtype=np.uint8).reshape(12, 16)
    share = alpha[..., None] / 255
    over_white = PHOTO * share + 255 * (1 - share)
    for kind, options in LOSSLESS.items():
        exact = {"exact": True} if kind == "WEBP" else {}
        pixels = decoded(encoded(np.dstack([PHOTO, alpha]), kind, **options, **exact))
        assert abs(pixels - over_white).max() <= 1
    grey = decoded(encoded(np.dstack([PHOTO[..., 0], alpha])))
    assert abs(grey - over_white[..., :1].repeat(3, 2)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P"])
def test_a_transparent_colour_is_white(mode):
    picture = Image.new(mode, (2, 1))
    picture.putpixel((1, 0), (9, 9, 9) if mode == "RGB" else 1)
    if mode == "P":
        picture.putpalette([0, 0, 0, 9, 9, 9])
    transparent = (0, 0, 0) if mode == "RGB" else 0
    other = {"L": 1, "1": 255}.get(mode, 9)
    assert decoded(encoded(picture, transparency=transparent)).tolist() == [[[255] * 3, [other] * 3]]


def test_palettes_with_partial_transparency_lie_over_white():
    picture = Image.new("P", (2, 1))
    picture.putpalette([100, 0, 0, 0, 50, 0])
    picture.putpixel((1, 0), 1)
    assert decoded(encoded(picture, transparency=bytes([255, 51]))).tolist() == [[[100, 0, 0], [204, 214, 204]]]


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_and_palettes_become_rgb(mode):
    picture = Image.fromarray(SMOOTH).convert(mode)
    assert np.array_equal(decoded(encoded(picture)), np.asarray(picture.convert("RGB")))


def test_cmyk_is_taken_as_adobe_stores_it_with_and_without_its_marker():
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    assert b"Adobe" in data
    for file in (data, data.replace(b"Adobe", b"Other")):
        assert abs(decoded(file)[0, 0].astype(int) - (255, 0, 0)).max() <= 3


MOVING = {"save_all": True, "append_images": [Image.fromarray(SMOOTH)]}
BAD = {
    "empty": (b"", "no PNG, JPEG or WebP"),
    "text": (b"a text", "no PNG, JPEG or WebP"),
    "gif": (encoded(PHOTO, "GIF"), "no PNG, JPEG or WebP"),
    "png cut": (encoded(PHOTO)[:300], "truncated"),
    "jpeg cut": (encoded(PHOTO, "JPEG")[:-40], "truncated"),
    "webp cut": (encoded(PHOTO, "WEBP")[:-40], "could not"),
    "head alone": (encoded(PHOTO)[:20], "Truncated"),
    "no pixels": (encoded(PHOTO).replace(b"IDAT", b"IDOT"), ""),
    "moving png": (encoded(PHOTO, **MOVING), "it moves; allowed are still pictures"),
    "moving webp": (encoded(PHOTO, "WEBP", **MOVING), "it moves; allowed are still pictures"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_still_picture_is_refused_in_a_line_with_its_name(kind):
    data, reason = BAD[kind]
    with pytest.raises(ValueError, match=rf"^folder/a\.png: the picture cannot be read \(.*{reason}.*\)$") as raised:
        decode_picture(data, "folder/a.png")
    assert "\n" not in str(raised.value)


def test_a_jpeg_with_a_second_picture_behind_it_is_its_first():
    data = encoded(PHOTO, "MPO", **MOVING)
    assert Image.open(BytesIO(data)).n_frames == 2
    pixels, lossy = decode_picture(data, "x")
    assert np.array_equal(pixels, decoded(encoded(PHOTO, "JPEG")))
    assert lossy


@pytest.mark.parametrize("limit", [191, 50], ids=["Pillow warns", "Pillow raises"])
def test_a_picture_of_too_many_pixels_is_refused(monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError, match=r"x: the picture cannot be read \(Image size \(192 pixels\) exceeds limit"):
        decoded(encoded(PHOTO))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 192)
    assert np.array_equal(decoded(encoded(PHOTO)), PHOTO)


@pytest.mark.parametrize("batch", [1, 3, 64, 1000])
def test_reading_in_batches_is_reading_the_whole(tmp_path, batch):
    rows, pixels = make(num=ROW_GROUP + 30)
    write_archive(tmp_path / "a.parquet", rows, pixels)
    parts = list(iter_archive(tmp_path / "a.parquet", batch))
    assert max(len(part) for part, _ in parts) == min(batch, len(rows))
    assert all(len(part) == len(pictures) for part, pictures in parts)
    assert np.array_equal(np.stack([picture for _, pictures in parts for picture in pictures]), pixels)
    whole = pd.concat([part for part, _ in parts], ignore_index=True)
    pd.testing.assert_frame_equal(whole, read_rows(tmp_path / "a.parquet").assign(lossy=False))


def test_reading_in_batches_reads_no_further_than_asked(tmp_path):
    write_archive(tmp_path / "a.parquet", *make())
    table = pd.read_parquet(tmp_path / "a.parquet")
    table.at[3, "image"] = {"bytes": b"no picture", "path": None}
    table.to_parquet(tmp_path / "a.parquet")
    parts = iter_archive(tmp_path / "a.parquet", 2)
    assert len(next(parts)[1]) == 2
    with pytest.raises(ValueError, match=r"a\.parquet, row 3: the picture cannot be read"):
        next(parts)


def test_sizes_and_lossy_files_are_kept(tmp_path):
    rows, _ = make(num=3)
    pictures = [PHOTO, PHOTO[:5, :7], PHOTO[:1, :1]]
    write_archive(tmp_path / "a.parquet", rows.assign(lossy=[False, True, False]), pictures)
    ((read, seen),) = iter_archive(tmp_path / "a.parquet", 10)
    assert all(map(np.array_equal, seen, pictures))
    assert read["lossy"].tolist() == [False, True, False]
    with pytest.raises(ValueError, match="pictures of 3 sizes"):
        read_archive(tmp_path / "a.parquet")


def test_an_archive_of_before_lossy_has_no_lossy_pictures(tmp_path):
    rows, pixels = make()
    write_archive(tmp_path / "a.parquet", rows, pixels)
    pd.read_parquet(tmp_path / "a.parquet").drop(columns="lossy").to_parquet(tmp_path / "old.parquet")
    ((read, _),) = iter_archive(tmp_path / "old.parquet", 10)
    assert read["lossy"].tolist() == [False] * 5
    assert np.array_equal(read_archive(tmp_path / "old.parquet")[1], pixels)


def test_an_archive_can_be_written_bit_by_bit(tmp_path):
    rows, pixels = make(num=7)
    with archive_writer(tmp_path / "a.parquet") as append:
        for part in (slice(0, 3), slice(3, 3), slice(3, 7)):
            append(rows[part], pixels[part])
    write_archive(tmp_path / "b.parquet", rows, pixels)
    bits, whole = (chain(*read_archive(tmp_path / name)[1]) for name in ("a.parquet", "b.parquet"))
    assert all(map(np.array_equal, bits, whole))
    assert read_rows(tmp_path / "a.parquet").equals(read_rows(tmp_path / "b.parquet"))


def test_a_row_that_comes_again_later_leaves_no_archive(tmp_path):
    rows, pixels = make()
    with (
        pytest.raises(ValueError, match=r"a \(prompt_id, candidate\) occurs twice"),
        archive_writer(tmp_path / "a.parquet") as append,
    ):
        append(rows, pixels)
        append(rows[4:], pixels[4:])
    assert list(tmp_path.iterdir()) == []
