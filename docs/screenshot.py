"""Takes a picture of a page of the dashboard, in chromium: those of the documentation come from here.

    python docs/screenshot.py docs/images/dashboard_trial.png --study quickstart --page "trials?numbers=1"

Run it in the folder that holds trials/. Without --page it is the first page of the study.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "browser"))

from dashboard_process import served
from PIL import Image
from playwright.sync_api import sync_playwright

COLOURS = 256  # what a screen shows fits into so many, and a third of the bytes


def screenshot(file: Path, study: str, page_name: str, width: int, height: int) -> None:
    with sync_playwright() as playwright, served(Path.cwd(), "--study", study) as address:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(f"{address}/{page_name}".rstrip("/"), wait_until="networkidle")
        least = 2 if page_name.startswith("trials?") else 0  # the curves, in the note and among the artifacts
        page.wait_for_function(
            "least => document.images.length >= least && [...document.images].every(one => one.naturalWidth > 0)",
            arg=least,
        )
        page.screenshot(path=file)
        browser.close()
    Image.open(file).convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE).save(file, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--study", required=True)
    parser.add_argument("--page", default="")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1000)
    arguments = parser.parse_args()
    screenshot(arguments.file, arguments.study, arguments.page, arguments.width, arguments.height)


if __name__ == "__main__":
    main()
