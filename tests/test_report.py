"""The report: it says what the tables say, of any experiment, and in a browser it asks nobody for anything."""

import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from test_plots import FID, IS, metrics_table

from dalle.images import write_archive
from eval.report.drawings import read_svg
from eval.report.page import Files, write_report
from eval.report.pictures import LARGEST, tile
from eval.style import house_style, save_figure
from workflow.screenshots import CHROMIUM, GAP, Screen, take

HOSTILE = '<script>alert("x")</script> & <img src=http://example.org/x.png>'
CAPTIONS = [HOSTILE, "a red ring", "two blue squares", "a green circle"]
SETTINGS = {"experiment": "tiny", "seed": 0, "sampling": {"n_candidates": [1, 2]}}
WORST, BEST = 2, 1  # prompts


class Words(HTMLParser):
    """What a reader sees, what pictures say, and where the page could ask for something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.alts, self.addresses, self.tags = "", [], [], []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "action"):
                self.addresses.append(value)
            if name in ("alt", "aria-label"):
                self.alts.append(value)

    def handle_data(self, data: str) -> None:
        self.text += " ".join(data.split()) + " "


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A finished run of two suites, four captions each."""
    folder = tmp_path_factory.mktemp("run")
    metrics_with_warning().to_parquet(folder / "metrics.parquet")
    scores().to_parquet(folder / "image_scores.parquet")
    pd.DataFrame({"rule": ["prior", "scenes"], "jobs": [1, 1], "wall_s": [90.0, 30.0], "cpu_s": [80.0, np.nan]}).assign(
        max_rss_mb=[512.25, np.nan]
    ).to_parquet(folder / "cost.parquet")
    speed = {"rule": ["prior"], "unit": ["tokens"], "amount": [9000], "wall_s": [90.0], "per_second": [100.0]}
    pd.DataFrame(speed).to_parquet(folder / "throughput.parquet")
    pd.DataFrame(columns=["raters", "rate"]).to_parquet(folder / "human.parquet")
    (folder / "human.txt").write_text("a-b: a against b\n\n  Waiting for votes. 5 votes\n  are wanted.\n")
    write_reports(folder)
    for name in ("figure9", "candidates", "training", "human"):
        with house_style():
            figure = Figure(figsize=(3, 2))
            figure.subplots().plot([0, 1])
            save_figure(figure, folder / f"{name}.png")
    for stage in ("dvae", "prior"):
        (folder / stage).mkdir()
        pd.DataFrame({"step": [0, 10], "loss": [6.0, 1.5]}).to_csv(folder / stage / "log.csv", index=False)
    return Files(
        **{name: folder / f"{name}.parquet" for name in ("metrics", "image_scores", "cost", "throughput")},
        verdicts=folder / "human.parquet",
        verdicts_text=folder / "human.txt",
        clip_report=folder / "clip.json",
        data_report=folder / "data.json",
        overlap=folder / "overlap.parquet",
        **{name: folder / f"{name}.svg" for name in ("figure9", "candidates", "training", "human")},
        logs=[folder / stage / "log.csv" for stage in ("dvae", "prior")],
        real=[archive(folder / f"real/{suite}.parquet", 1) for suite in ("val", "zeroshot")],
        pictures=[archive(folder / f"dalle1/{suite}.parquet", 2) for suite in ("val", "zeroshot")],
        selections=[selection(folder / f"dalle1/{suite}.selection.parquet") for suite in ("val", "zeroshot")],
        reference=archive(folder / "val.parquet", 1),
        dvae_start=archive(folder / "dvae_start.parquet", 1),
        dvae=archive(folder / "dvae.parquet", 1),
        completions=archive(folder / "completions.parquet", 2),
        provenance=record(folder / "provenance.json"),
    )


def write_reports(folder: Path) -> None:
    clip = {"retrieval": {"accuracy": 0.5, "n": 4}, "colour": {"accuracy": 0.75, "n": 4}}
    (folder / "clip.json").write_text(json.dumps(clip))
    overlap = {"val": {"captions": 0.0, "contents": 0.125, "pictures": 0.25}}
    (folder / "data.json").write_text(json.dumps({"pictures": {"train": 12345}, "overlap": overlap, "held_out": ["x"]}))
    twins = pd.DataFrame({"suite": ["val", "val", "zeroshot"], "overlap": [True, False, False]})
    twins.to_parquet(folder / "overlap.parquet")


def record(path: Path) -> Path:
    places = [{"commit": "abc123", "gpu": None}, {"commit": "def456", "gpu": None}, {"commit": "abc123"}]
    facts = {"environments": places, "digests": {"weights": {"prior": "d1g3st"}}}
    path.write_text(json.dumps(facts))
    return path


def metrics_with_warning() -> pd.DataFrame:
    return (
        metrics_table()
        .assign(blur_protocol="blur.pil@1", warning="too few <pictures>")
        .replace({"protocol": {"scenes": "grounded.scenes@1"}})
    )


def scores() -> pd.DataFrame:
    rows = []
    for suite in ("val", "zeroshot"):
        for prompt in range(len(CAPTIONS)):
            for candidate in range(2):
                row = {"suite": suite, "prompt_id": prompt, "candidate": candidate, "system": "dalle1"}
                right, cosine = float(prompt != WORST), 0.9 if prompt == BEST else 0.5
                rows.append(row | {"metric": "grounded", "protocol": "grounded.scenes@1", "value": right})
                rows.append(row | {"metric": "clip_cos", "protocol": "clip.own@1", "value": cosine})
            for system, quality in (("dvae_start", 20.5), ("dvae", 35.25)):
                row = {"suite": suite, "prompt_id": prompt, "candidate": 0, "system": system}
                rows.append(row | {"metric": "psnr", "protocol": "psnr.rgb@1", "value": quality + prompt})
    return pd.DataFrame(rows)


def archive(path: Path, num_candidates: int) -> Path:
    num = len(CAPTIONS) * num_candidates
    rows = pd.DataFrame(
        {
            "prompt_id": np.repeat(range(len(CAPTIONS)), num_candidates),
            "candidate": np.tile(range(num_candidates), len(CAPTIONS)),
            "caption": np.repeat(CAPTIONS, num_candidates),
            "scene": "",
        }
    )
    path.parent.mkdir(exist_ok=True)
    write_archive(path, rows, np.random.default_rng(0).integers(0, 256, (num, 16, 16, 3), dtype=np.uint8))
    return path


def selection(path: Path) -> Path:
    rows = [(prompt, n, n - 1) for prompt in range(len(CAPTIONS)) for n in (1, 2)]
    pd.DataFrame(rows, columns=["prompt_id", "n_candidates", "candidate"]).to_parquet(path)
    return path


def written(files: Files, out: Path) -> Words:
    write_report(files, SETTINGS, out)
    return Words(out.read_text(encoding="utf-8"))


def test_it_says_what_the_tables_say(files: Files, tmp_path: Path) -> None:
    page = written(files, tmp_path / "report.html")
    ours = metrics_table().query("suite == 'val' and system == 'dalle1' and n_candidates == 32 and blur == 0")
    ours = ours[ours["reference"] == "all"].set_index("protocol")["value"]
    for word in (
        f"{ours[FID]:.1f}",
        f"{ours[IS]:.2f}",
        FID,
        IS,
        "grounded.scenes@1",
        "12,345",
        "12.5",
        "50.0",
        "20.5 dB",
    ):
        assert word in page.text, word
    assert "100 tokens" in page.text and "2.0 minutes" in page.text
    assert "Suite val: 1 of 4 captions have a wrong picture." in page.text
    assert "Waiting for votes." in page.text and "5 votes are wanted." in page.text
    assert "too few <pictures>" in page.text  # text, not a tag
    assert any("FID 85 at 1" in alt or "FID" in alt for alt in page.alts)


def test_the_best_come_first_and_failures_are_as_many(files: Files, tmp_path: Path) -> None:
    page = written(files, tmp_path / "report.html")
    extremes = page.text[page.text.index("Suite val, best of 2: the best 2") :]
    best, worst = extremes.split("the worst 2 captions")[:2]
    assert CAPTIONS[BEST] in best and CAPTIONS[WORST] not in best
    places = [worst.find(caption) for caption in CAPTIONS]
    assert 0 <= places[WORST] == min(place for place in places if place >= 0)


def test_every_picture_has_words_and_nothing_is_asked_for(files: Files, tmp_path: Path) -> None:
    page = written(files, tmp_path / "report.html")
    assert page.tags.count("img") == sum(address.startswith("data:image/webp") for address in page.addresses)
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert page.tags.count("script") == 1  # its own, none from a caption
    assert all(page.alts)


def test_equal_files_give_an_equal_page(files: Files, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_report(files, SETTINGS, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_photographs_have_no_grades_and_one_suite_and_it_says_so(files: Files, tmp_path: Path) -> None:
    metrics = metrics_with_warning().query("suite == 'val' and not metric.str.startswith('grounded')")
    metrics.to_parquet(tmp_path / "metrics.parquet")
    scores().query("metric == 'clip_cos'").to_parquet(tmp_path / "image_scores.parquet")
    (tmp_path / "clip.json").write_text(json.dumps({"retrieval": {"accuracy": 0.5, "n": 4}}))
    (tmp_path / "data.json").write_text(json.dumps({"delivered": {"train": {"pictures": 4}}}))
    table = {"section": ["sizes"], "item": ["width"], "value": ["640"], "note": [""]}
    pd.DataFrame(table).to_csv(tmp_path / "data.csv", index=False)
    Image.new("RGB", (2000, 900), "white").save(tmp_path / "data.png")
    pd.DataFrame({"suite": ["val"], "overlap": [False]}).to_parquet(tmp_path / "overlap.parquet")
    page = written(
        replace(
            files,
            overlap=tmp_path / "overlap.parquet",
            metrics=tmp_path / "metrics.parquet",
            image_scores=tmp_path / "image_scores.parquet",
            clip_report=tmp_path / "clip.json",
            data_report=tmp_path / "data.json",
            data_table=tmp_path / "data.csv",
            data_figure=tmp_path / "data.png",
            **{name: getattr(files, name)[:1] for name in ("real", "pictures", "selections")},
        ),
        tmp_path / "report.html",
    )
    for sentence in ("There is no share of right pictures", "This experiment has one suite, val", "Nobody could plant"):
        assert sentence in page.text
    assert "zeroshot" not in page.text and "✗" not in page.text and "right, %" not in page.text
    assert "Suite val, best of 2: the best 2 captions by the reranker's cosine" in page.text
    assert "640" in page.text and "Sheet: What the source delivered and the filters took." in page.alts


def test_votes_and_digests_are_shown_when_they_are_there(files: Files, tmp_path: Path) -> None:
    verdict = {"first": "ours", "second": "dvae", "question": "realism", "raters": "kept", "rate": 0.75}
    pd.DataFrame([verdict]).to_parquet(tmp_path / "human.parquet")
    (tmp_path / "human.txt").write_text("a-b\n\n  People prefer ours.\n")
    told = replace(files, verdicts=tmp_path / "human.parquet", verdicts_text=tmp_path / "human.txt")
    page = written(told, tmp_path / "report.html")
    assert "People prefer ours." in page.text and "Waiting" not in page.text
    assert any("ours against dvae, realism: 75 %" in alt for alt in page.alts)
    assert "commit abc123 / def456 gpu none" in " ".join(page.text.split()) and "d1g3st" in page.text


def test_small_pictures_keep_every_pixel_and_large_ones_are_made_small() -> None:
    from base64 import b64decode
    from io import BytesIO

    def shown(picture: np.ndarray) -> np.ndarray:
        return np.asarray(Image.open(BytesIO(b64decode(tile(picture, "x").uri.partition(",")[2]))).convert("RGB"))

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(shown(noise), noise)
    assert shown(noise.repeat(8, axis=0).repeat(6, axis=1)).shape == (LARGEST, LARGEST * 6 // 8, 3)


def test_what_is_no_svg_is_named(tmp_path: Path) -> None:
    for text in ("<html></html>", "no markup"):
        (tmp_path / "figure.svg").write_text(text)
        with pytest.raises(ValueError, match=r"figure\.svg: "):
            read_svg(tmp_path / "figure.svg")


# In a browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture
def page(browser: Browser, files: Files, tmp_path: Path) -> Iterator[Page]:
    """The page, opened from disk without a network; any request or complaint fails the test."""
    write_report(files, SETTINGS, tmp_path / "report.html")
    context, asked, complaints = browser.new_context(offline=True), [], []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto((tmp_path / "report.html").as_uri())
    yield page
    context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert complaints == []


@pytest.mark.parametrize("width", [380, 900, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_every_screen_and_its_words_stand_out(page: Page, width: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = page.evaluate(
        "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
    )
    levels = [int(colour.removeprefix("rgb(").split(",")[0]) for colour in (ink, paper)]
    assert (levels[0] < levels[1]) == (scheme == "light") and abs(levels[0] - levels[1]) > 180
    line = page.locator(".drawing [style*='fill: #1a1a1a']").first.evaluate("it => getComputedStyle(it).fill")
    assert (line == "rgb(26, 26, 26)") == (scheme == "light")


def test_a_click_on_a_heading_sorts_by_number_and_puts_the_empty_last(page: Page) -> None:
    table = page.locator("table").filter(has_text="What each rule took")
    rules = table.locator("tbody td:first-child")
    assert rules.all_text_contents() == ["prior", "scenes"]
    table.get_by_role("button", name="time sum").click()
    assert rules.all_text_contents() == ["scenes", "prior"]
    table.get_by_role("button", name="memory").click()
    assert rules.all_text_contents() == ["prior", "scenes"]
    table.get_by_role("button", name="memory").click()
    assert rules.all_text_contents() == ["prior", "scenes"]  # the memory of scenes is not known
    assert table.locator("th[aria-sort=descending]").count() == 1


def test_captions_are_text(page: Page) -> None:
    assert HOSTILE in page.locator("h3").all_text_contents()


def test_it_prints_on_white_with_everything_unfolded(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0


def test_screenshots_show_a_page_by_day_and_by_night(browser: Browser, files: Files, tmp_path: Path) -> None:
    write_report(files, SETTINGS, tmp_path / "report.html")
    picture = take(browser, tmp_path / "report.html", Screen(380, 500, ("results", "samples"), 1000))
    assert picture.size == (2 * 380 + GAP, 500)
    day, night = (max(picture.crop((x, 0, x + 380, 500)).getcolors(10**6))[1] for x in (0, 380 + GAP))
    assert min(day) > 240 and max(night) < 40
