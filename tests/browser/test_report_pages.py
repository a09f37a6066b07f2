"""Pages that are sent around: opened from disk in a real browser, on a phone and on a desk."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chromium import opened
from mixed_study import make_mixed_study

from hrm_sweep.config import load_config
from hrm_sweep.data import open_folder
from hrm_sweep.diagnosis import diagnose_run
from hrm_sweep.diagnosis.comparison import compare_runs
from hrm_sweep.evaluation.watch import watch_checkpoint
from hrm_sweep.report.comparison import comparison_page
from hrm_sweep.report.diagnosis_page import diagnosis_page
from hrm_sweep.report.html import write_page
from hrm_sweep.report.solving import solving
from hrm_sweep.report.solving_page import solving_page
from hrm_sweep.report.study_report_page import report_page
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study_report import study_report

FIXTURES = Path(__file__).parents[1] / "fixtures"
SUDOKU = FIXTURES / "sudoku-4x4"
OURS = FIXTURES / "runs" / "healthy"
OFFICIAL = FIXTURES / "official_runs" / "healthy"
PHONE, DESK = 390, 1280
PAGES = ("report", "compare", "show", "diagnose")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The address of each page that a verb writes."""
    folder = tmp_path_factory.mktemp("pages")
    quiet_optuna()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = make_mixed_study("sqlite:///optuna.db")
        report = study_report(
            study, measure=False, next_commands=[("hrm-sweep studies", "all")], now=datetime(2026, 1, 2)
        )
    split = open_folder(SUDOKU).test
    watched = watch_checkpoint(load_config(OFFICIAL), OFFICIAL / "step_936", split, np.array([0, 7]))
    puzzles = [
        solving(
            n,
            *(
                part[n]
                for part in (watched.inputs, watched.labels, watched.predictions, watched.q_halt, watched.q_continue)
            ),
            6,
        )
        for n in range(2)
    ]
    content = {
        "report": report_page(report),
        "compare": comparison_page(
            compare_runs([OURS, FIXTURES / "runs" / "recorded" / "dead" / "lr_out_of_range-lr1"], SUDOKU)
        ),
        "show": solving_page("Puzzles", str(OFFICIAL), puzzles),
        "diagnose": diagnosis_page([diagnose_run(OURS, data=SUDOKU, write=False)]),
    }
    for name, page in content.items():
        write_page(folder / f"{name}.html", page)
    return {name: (folder / f"{name}.html").as_uri() for name in content}


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", PAGES)
def test_no_error_no_request_and_nothing_wider_than_the_page(
    browser: Any, pages: dict[str, str], name: str, width: int
) -> None:
    with opened(browser, pages[name], width=width) as seen:
        assert seen.errors == []
        assert seen.requests == [pages[name]]
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert (
            seen.page.locator("svg[role=img] > title").count() == seen.page.locator("svg[role=img] > desc").count() > 0
        )


def column(page: Any, number: int) -> list[str]:
    found: list[str] = page.locator(f"#trials tbody td:nth-child({number})").all_text_contents()
    return found


def test_a_press_on_a_heading_sorts_the_table_and_says_so(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["report"], width=DESK) as seen:
        page = seen.page
        scores = column(page, 3)
        assert len(scores) == 70
        heading = page.locator("#trials th", has_text="score")
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
        upwards = column(page, 3)
        assert upwards != scores
        assert [float(text) for text in upwards if text] == sorted(float(text) for text in scores if text)
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "descending"
        assert [float(text) for text in column(page, 3) if text] == sorted(
            (float(t) for t in scores if t), reverse=True
        )
        page.locator("#trials th", has_text="state").locator("button").click()
        assert heading.get_attribute("aria-sort") is None
        assert column(page, 2) == sorted(column(page, 2))
        assert seen.errors == []


def shown_steps(page: Any) -> list[str]:
    found: list[str] = page.locator(".puzzle >> nth=0").locator(".step:visible figcaption").all_text_contents()
    return [text.split(":")[0] for text in found]


def test_a_puzzle_is_stepped_by_buttons_and_by_arrow_keys(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["show"], width=PHONE) as seen:
        page = seen.page
        assert shown_steps(page) == ["step 1"]
        page.get_by_label("Next step").first.click()
        assert shown_steps(page) == ["step 2"]
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert shown_steps(page) == ["step 4"]
        page.keyboard.press("End")
        assert shown_steps(page) == ["step 8"]
        page.keyboard.press("ArrowRight")
        assert shown_steps(page) == ["step 8"]
        page.get_by_label("Show all steps").first.click()
        assert len(shown_steps(page)) == 8
        page.get_by_label("Play or pause").first.click()
        page.wait_for_function("document.querySelector('.puzzle output').textContent.startsWith('step 2')")
        page.get_by_label("Play or pause").first.click()
        assert seen.errors == []


def test_where_little_motion_is_wanted_nothing_plays(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["show"], width=DESK, reduced_motion="reduce") as seen:
        assert seen.page.get_by_label("Play or pause").count() == 0
        assert seen.page.get_by_label("Next step").count() == 2


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_everything_is_there(browser: Any, pages: dict[str, str], name: str) -> None:
    with opened(browser, pages[name], width=794) as seen:  # A4 at 96 dots an inch
        seen.page.emulate_media(media="print")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 794
        assert seen.page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        if name == "show":
            assert len(shown_steps(seen.page)) == 8


def test_without_its_script_a_page_shows_everything(browser: Any, pages: dict[str, str]) -> None:
    with opened(browser, pages["show"], width=DESK, java_script_enabled=False) as seen:
        assert len(shown_steps(seen.page)) == 8
    with opened(browser, pages["report"], width=DESK, java_script_enabled=False) as seen:
        assert len(column(seen.page, 1)) == 70
