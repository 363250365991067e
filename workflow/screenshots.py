"""``python -m workflow.screenshots results/scenes/report.html docs/pictures``: a report as three screens show it.

Needs Chromium. Each picture shows a few places of the page side by side, the last of them in the dark.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from dalle.provenance import atomic

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GAP, GREY = 12, (128, 128, 128)
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)  # where it is, if it is there


class Screen(NamedTuple):
    """A window's size in pixels, the sections that it is scrolled to, and the width of the picture of all of them."""

    width: int
    height: int
    sections: tuple[str, ...]
    shown: int


SCREENS = {
    "report_phone": Screen(380, 1200, ("results", "samples", "extremes"), 1164),
    "report_tablet": Screen(900, 1500, ("results", "samples"), 1200),
    "report_wide": Screen(1600, 1500, ("results", "figure9"), 1600),
}


def take(browser: "Browser", page: Path, screen: Screen) -> Image.Image:
    """The places of the page, side by side, each in a window of its own."""
    views = [
        _view(browser, page, screen, section, "dark" if section == screen.sections[-1] else "light")
        for section in screen.sections
    ]
    whole = Image.new("RGB", (len(views) * (screen.width + GAP) - GAP, screen.height), GREY)
    for number, view in enumerate(views):
        whole.paste(view, (number * (screen.width + GAP), 0))
    whole.thumbnail((screen.shown, screen.height), Image.Resampling.LANCZOS)
    return whole


def _view(browser: "Browser", page: Path, screen: Screen, section: str, scheme: str) -> Image.Image:
    size = {"width": screen.width, "height": screen.height}
    context = browser.new_context(viewport=size, color_scheme=scheme, offline=True, reduced_motion="reduce")
    opened = context.new_page()
    opened.goto(page.resolve().as_uri())
    opened.evaluate(f"scrollTo({{top: document.getElementById('{section}').offsetTop, behavior: 'instant'}})")
    if section == "results":
        opened.evaluate("scrollTo({top: 0, behavior: 'instant'})")  # it is the first: with the page's head
    data = opened.screenshot()
    context.close()
    return Image.open(BytesIO(data)).convert("RGB")


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes one PNG for each screen."""
    from playwright.sync_api import sync_playwright

    options = argparse.ArgumentParser("python -m workflow.screenshots", description="A report on three screens.")
    options.add_argument("page", type=Path, metavar="PAGE", help="report.html of a finished run")
    options.add_argument("folder", type=Path, metavar="FOLDER", help=f"gets {', '.join(SCREENS)} as PNG files")
    asked = options.parse_args(arguments)
    if CHROMIUM is None:
        sys.exit(f"Error: there is no Chromium here: looked for {', '.join(PROGRAMS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name, screen in SCREENS.items():
            with atomic(asked.folder / f"{name}.png") as temporary:
                take(browser, asked.page, screen).save(temporary, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
