"""The page in a real browser: what is clicked is what is downloaded, and nothing is asked of the network."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from eval.human.page import write_page
from eval.human.questionnaire import load_questionnaire
from eval.human.votes import read_votes
from workflow.benchmarks.human_panel import pretended_study
from workflow.screenshots import CHROMIUM

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (Debian: apt install chromium)")

CAPTIONS = ['a "quoted" dog, and a comma', "<img src=x onerror=alert(1)> & <b>bold</b>", "a cat 🐈", "قطة على حصيرة"]
DALLE1 = load_questionnaire("dalle1")
STUDY = replace(pretended_study(np.random.default_rng(0), pairs=4, gold=0), questionnaire=DALLE1, digest="d1")
QUESTIONS = 2 * len(CAPTIONS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What raters get, of four tasks."""
    (tmp_path / "images").mkdir()
    rows = []
    for place, caption in enumerate(CAPTIONS):
        row = {"task_id": f"task{place:04}", "caption": caption}
        for side, level in (("left", 40), ("right", 200)):
            row[f"{side}_image"] = f"images/task{place:04}-{side}.png"
            Image.new("RGB", (128, 128), (level, 20 * place, 90)).save(tmp_path / row[f"{side}_image"])
        rows.append(row)
    write_page(STUDY.digest, rows, DALLE1, tmp_path / "index.html")
    return tmp_path


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile of its own, without a network; it fails the test if the page asks for anything but files."""
    context = browser.new_context(offline=True, accept_downloads=True)
    context.set_default_timeout(10_000)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    yield context
    context.close()
    assert all(url.startswith(("file:", "blob:")) for url in asked), asked


def opened(context: BrowserContext, folder: Path) -> Page:
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page's script failed: {error}"))
    page.on("dialog", lambda dialog: pytest.fail(f"the page opened a dialog: {dialog.message}"))
    page.goto((folder / "index.html").as_uri())
    return page


def entered(context: BrowserContext, folder: Path, rater: str = "Anna") -> Page:
    page = opened(context, folder)
    page.keyboard.type(rater)
    page.keyboard.press("Enter")
    ready(page)
    return page


def ready(page: Page) -> None:
    """Waits until a question can be answered, or until there is none left."""
    page.wait_for_selector("#left:enabled:visible, #end:visible, #rescue:visible")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        ready(page)
        page.keyboard.press(key)
    ready(page)


def downloaded(page: Page) -> tuple[str, list[dict[str, str]]]:
    with page.expect_download() as started:
        page.locator(".download:visible").click()
    text = Path(started.value.path()).read_text(encoding="utf-8-sig")
    return started.value.suggested_filename, list(csv.DictReader(io.StringIO(text)))


def test_what_was_answered_is_what_is_downloaded_through_undo_and_reload(context, folder, tmp_path):
    page = entered(context, folder)
    press(page, "1", "2", "ArrowRight", "Backspace", "ArrowLeft")
    page.reload()
    page.get_by_role("button", name=f"Anna (3 of {QUESTIONS} answered)").click()
    press(page, "0", "2")
    page.get_by_role("button", name="Image 1").click()
    ready(page)
    page.get_by_role("button", name="Undo").click()
    press(page, "ArrowRight", "1", "ArrowDown")
    assert page.get_by_role("heading", name="Thank you").is_visible()
    name, rows = downloaded(page)
    assert name == "votes-Anna.csv"
    assert [row["answer"] for row in rows] == ["left", "right", "left", "tie", "right", "right", "left", "tie"]
    assert [row["task_id"] for row in rows] == [f"task{place:04}" for place in range(4) for _ in range(2)]
    assert [row["question"] for row in rows] == ["realism", "caption"] * 4
    assert {(row["study"], row["rater"]) for row in rows} == {("d1", "Anna")}


def test_the_file_is_read_as_votes_without_a_complaint(context, folder, tmp_path):
    page = entered(context, folder, rater='=cmd "Özge", Ltd')
    press(page, *"12121212")
    with page.expect_download() as started:
        page.locator(".download:visible").click()
    started.value.save_as(tmp_path / "votes.csv")
    votes = read_votes([tmp_path / "votes.csv"], STUDY)
    assert len(votes.rejected) == 0
    assert votes.rows["answer"].tolist() == ["left", "right"] * 4
    assert set(votes.rows["rater"]) == {'\'=cmd "Özge", Ltd'}  # disarmed: a spreadsheet would have run it


def test_captions_are_text_whatever_is_in_them(context, folder):
    page = entered(context, folder)
    shown, directions = [], []
    for _ in CAPTIONS:
        shown.append(page.locator("#caption").text_content())
        directions.append(page.locator("#caption").evaluate("it => getComputedStyle(it).direction"))
        press(page, "1", "1")
    assert shown == CAPTIONS
    assert directions == ["ltr", "ltr", "ltr", "rtl"]


def test_a_forced_choice_has_no_third_answer(context, folder):
    page = entered(context, folder)
    assert page.locator("#tie").is_hidden()
    press(page, "0", "ArrowDown")
    assert page.locator("#place").text_content() == f"1 of {QUESTIONS}"
    press(page, "1", "0")
    assert page.locator("#place").text_content() == f"3 of {QUESTIONS}"


def test_a_held_key_answers_once(context, folder):
    page = entered(context, folder)
    page.keyboard.down("1")
    ready(page)
    page.keyboard.down("1")  # the second time without letting go is a repetition
    ready(page)
    assert page.locator("#place").text_content() == f"2 of {QUESTIONS}"


def test_nothing_can_be_answered_before_both_images_are_there(context, folder):
    held = []
    context.route("**/task0000-right.png", lambda route: held.append(route))  # noqa: PLW0108 Playwright marks handlers
    page = opened(context, folder)
    page.keyboard.type("Anna")
    with page.expect_request("**/task0000-right.png"):
        page.keyboard.press("Enter")
    page.keyboard.press("1")
    assert page.locator("#left").is_disabled()
    assert page.locator("#left-image").is_hidden()
    held[0].continue_()
    ready(page)
    assert page.locator("#place").text_content() == f"1 of {QUESTIONS}"
    assert page.locator("#left-image").is_visible()


def test_a_missing_image_is_said_and_is_no_vote(context, folder, tmp_path):
    kept = (folder / "images/task0001-right.png").rename(tmp_path / "kept.png")
    page = entered(context, folder)
    press(page, "1", "1")
    assert "images/task0001-right.png" in page.get_by_role("alert").filter(visible=True).text_content()
    press(page, "1", "2")
    assert page.locator("#place").text_content() == f"3 of {QUESTIONS}"
    page.get_by_role("button", name="Go on without an answer").click()
    ready(page)
    kept.rename(folder / "images/task0001-right.png")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("#left:enabled")
    press(page, *"11111")
    with page.expect_download() as started:
        page.locator(".download:visible").click()
    started.value.save_as(tmp_path / "votes.csv")
    votes = read_votes([tmp_path / "votes.csv"], STUDY)
    assert votes.rejected[["line", "reason"]].to_numpy().tolist() == [["4", "an image was missing"]]
    assert len(votes.rows) == QUESTIONS - 1


def test_several_raters_answer_on_one_machine(context, folder):
    page = entered(context, folder, rater="Anna")
    press(page, *"11111111")
    page.get_by_role("button", name="Another person").click()
    page.keyboard.type("Bo")
    page.keyboard.press("Enter")
    press(page, *"22222222")
    assert {row["answer"] for row in downloaded(page)[1]} == {"right"}
    page.reload()
    page.get_by_role("button", name=f"Anna ({QUESTIONS} of {QUESTIONS} answered)").click()
    assert {row["answer"] for row in downloaded(page)[1]} == {"left"}


def test_another_study_in_the_same_browser_begins_anew(context, folder):
    press(entered(context, folder), "1")
    (folder / "index.html").write_text((folder / "index.html").read_text().replace('"d1"', '"d2"'), encoding="utf-8")
    page = opened(context, folder)
    assert page.locator("#known").is_hidden()


def test_a_question_takes_as_long_as_it_was_seen(context, folder):
    page = opened(context, folder)
    page.clock.install(time=0)
    page.reload()
    page.clock.pause_at(60_000)
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    ready(page)
    page.clock.run_for(3000)
    press(page, "1")
    page.clock.run_for(1000)
    press(page, "Backspace")  # a second look adds to the first
    page.clock.run_for(2500)
    press(page, "2")
    page.clock.run_for(4000)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    hide += "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hide % "true")
    page.clock.run_for(60_000)
    page.evaluate(hide % "false")
    page.clock.run_for(500)
    press(page, "0")
    seconds = [float(row["seconds"]) for row in downloaded(page)[1]]
    assert seconds == pytest.approx([5.5, 4.5], abs=0.1)


def test_it_can_be_used_by_keyboard_and_told_by_a_screen_reader(context, folder):
    page = entered(context, folder)
    press(page, "1")
    assert page.evaluate("document.activeElement.id") == "question"
    order = []
    for _ in range(5):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"))
    assert order == ["1 Image 1", "2 Image 2", "0 Neither 1 nor 2 match", "Undo", "Download so far"]
    heard = page.locator("[aria-live=polite]").text_content()
    assert heard == f"Question 2 of {QUESTIONS}. Caption: {CAPTIONS[0]}."
    assert page.get_by_role("progressbar", name="Progress").is_visible()
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")  # on "Image 1"
    ready(page)
    assert page.locator("#place").text_content() == f"3 of {QUESTIONS}"


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_both_images_fit_side_by_side(context, folder, width):
    page = entered(context, folder)
    page.set_viewport_size({"width": width, "height": 800})
    left, right = (page.locator(f"#{side}-image").bounding_box() for side in ("left", "right"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert left["width"] == pytest.approx(right["width"], abs=1) and left["width"] >= 0.4 * min(width, 1000)


def test_light_and_dark_follow_the_system(context, folder):
    page = entered(context, folder)
    colours = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours[scheme] = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).background]"
        )
    light, dark = colours["light"], colours["dark"]
    assert "rgb(255, 255, 255)" in light[1] and "rgb(22, 22, 22)" in dark[1]
    assert light[0] != dark[0]
