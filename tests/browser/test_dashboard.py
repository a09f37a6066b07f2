"""The dashboard in a real browser, on a study of real trials: one that learns, one that is pruned, one that fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Watched
from dashboard_process import served
from playwright.sync_api import Page, expect

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))

from bulk_studies import fill

from hrm_sweep.sweep.study import open_study
from hrm_sweep.sweep.study_page import refresh_study_page

expect.set_options(timeout=180_000)  # a busy machine is no failure

LEARNS, PRUNED, FAILED = 0, 1, 2
SPACE: dict[str, Any] = {
    "name": "three-ends",
    "base": "hrm_v1_tiny",
    "objective": {"metric": "accuracy", "goal": "maximize"},
    "parameters": {"lr": {"min": 1e-7, "max": 1e37, "log": True}, "arch.halt_max_steps": {"values": [2, 4]}},
    "first": [
        {"lr": 3e-3, "arch.halt_max_steps": 4},
        {"lr": 1e-7, "arch.halt_max_steps": 2},
        {"lr": 1e37, "arch.halt_max_steps": 2},
    ],
    "pruner": {"threshold": {"lower": 0.35}},
    "budget": {"trials": 3},
}
SMALL = ["arch.hidden_size=32", "arch.num_heads=2", "epochs=8", "eval_interval=4", "eval_puzzles=40", "log_interval=5"]
FIGURES = {
    "learning-curves": {"complete", "pruned"},
    "accuracy-and-compute": {"best at its cost", "complete", "pruned"},
    "accuracy-and-act-steps": {"complete", "pruned"},
    "where-trials-fail": {None},
}


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory, sudoku_4x4: Path) -> Path:
    """A folder with a finished study of three real trials."""
    folder = tmp_path_factory.mktemp("a dashboard's folder")
    (folder / "space.yaml").write_text(json.dumps(SPACE))
    command = [sys.executable, "-m", "hrm_sweep", "run", "space.yaml", "--jobs", "1", f"data_path={sudoku_4x4}", *SMALL]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def enlarged(studied: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study with 5,000 trials."""
    folder = tmp_path_factory.mktemp("large") / "copy"
    shutil.copytree(studied, folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        study = open_study("sqlite:///trials/optuna.db", "three-ends")
        fill(study, 5000 - 3)
        assert refresh_study_page(open_study("sqlite:///trials/optuna.db", "three-ends"), every_s=0.0)
    finally:
        os.chdir(before)
    return folder


@contextmanager
def opened(folder: Path, watched: Watched) -> Iterator[str]:
    """The address of the study, while its dashboard runs; the page is left before that ends, for it asks for news."""
    with served(folder, "--study", "three-ends") as address:
        try:
            yield address
        finally:
            watched.page.goto("about:blank")


def go_to_trial(page: Page, study: str, number: int) -> None:
    page.goto(f"{study}/trials?numbers={number}")
    expect(page.get_by_role("heading", name=f"Trial {number} (trial_id=")).to_be_visible()


def wait_for_pictures(page: Page, least: int) -> None:
    """Until so many images are there and drawn, none broken."""
    page.wait_for_function(
        "least => document.images.length >= least && [...document.images].every(one => one.naturalWidth > 100)",
        arg=least,
    )


def drawn_traces(page: Page, name: str) -> list[dict[str, Any]]:
    """The traces of a figure, once the browser has drawn it: how many points each has."""
    place = f'[id="user-defined-plot:{name}"]'
    page.locator(f"{place} .main-svg").first.wait_for(state="attached")
    traces: list[dict[str, Any]] = page.evaluate(
        "place => document.querySelector(place).data.map(one => ({name: one.name ?? null, points: one.x.length}))",
        place,
    )
    return traces


def check_study_pages(page: Page, address: str) -> None:
    """List, history with the figures, and the study's note."""
    page.goto(address.split("/studies")[0])
    expect(page.get_by_text("three-ends").first).to_be_visible()
    page.goto(address)
    expect(page.get_by_text("Hyperparameter Importance")).to_be_visible()
    page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for(state="attached")
    for name, expected in FIGURES.items():
        traces = drawn_traces(page, name)
        assert {trace["name"] for trace in traces} >= expected, name
        assert all(trace["points"] for trace in traces), name
    page.goto(f"{address}/analytics")
    expect(page.get_by_text("Hyperparameter Relationships")).to_be_visible()


def check_pruned_trial(page: Page, address: str) -> None:
    """Its page says why, with the curves beside it, and its metrics open as a table."""
    go_to_trial(page, address, PRUNED)
    expect(page.get_by_text("threshold at epoch 4").first).to_be_visible()
    expect(page.get_by_text("Sick:").first).to_be_visible()
    expect(
        page.get_by_role("cell", name="threshold").or_(page.get_by_text("threshold", exact=True)).first
    ).to_be_visible()
    expect(page.get_by_text("hrm-sweep diagnose trials/three-ends/0001").first).to_be_visible()
    wait_for_pictures(page, 2)  # in the note and among the artifacts
    expect(page.get_by_text("metrics.csv")).to_be_visible()


def test_a_study_list_its_history_its_figures_and_its_note(studied: Path, watched: Watched) -> None:
    with opened(studied, watched) as address:
        assert address.endswith("/dashboard/studies/1")
        check_study_pages(watched.page, address)
        watched.page.goto(f"{address}/note")
        expect(watched.page.get_by_text("3 of 3 trials have ended")).to_be_visible()
        expect(watched.page.get_by_text("On puzzles that selection never saw")).to_be_visible()
        watched.page.get_by_role("link", name=str(PRUNED), exact=True).click()
        expect(watched.page.get_by_role("heading", name=f"Trial {PRUNED} (trial_id=")).to_be_visible()


def test_the_page_of_a_pruned_trial_says_why_beside_its_curves(studied: Path, watched: Watched) -> None:
    with opened(studied, watched) as address:
        check_pruned_trial(watched.page, address)
        watched.page.locator("button:has(svg[data-testid=FullscreenIcon])").first.click()
        expect(watched.page.get_by_text("exact_accuracy").first).to_be_visible()


def test_the_pages_of_a_trial_that_learned_and_of_one_that_failed(studied: Path, watched: Watched) -> None:
    with opened(studied, watched) as address:
        go_to_trial(watched.page, address, LEARNS)
        expect(watched.page.get_by_text("complete: accuracy").first).to_be_visible()
        wait_for_pictures(watched.page, 2)
        go_to_trial(watched.page, address, FAILED)
        expect(watched.page.get_by_text("failed, cause nan").first).to_be_visible()
        wait_for_pictures(watched.page, 2)


def test_the_report_opens_from_the_note(studied: Path, watched: Watched) -> None:
    with opened(studied, watched) as address:
        go_to_trial(watched.page, address, PRUNED)
        report = watched.page.get_by_role("link", name="report").get_attribute("href")
        watched.page.goto(f"{address.split('/dashboard')[0]}{report}")
        expect(watched.page.locator("h1")).to_contain_text("Sick:")


@pytest.mark.proof
def test_the_same_with_5000_trials(enlarged: Path, watched: Watched) -> None:
    with opened(enlarged, watched) as address:
        check_study_pages(watched.page, address)
        check_pruned_trial(watched.page, address)
        go_to_trial(watched.page, address, 4999)
        watched.page.goto(f"{address}/note")
        expect(watched.page.get_by_text("5,000 of 3 trials have ended")).to_be_visible()  # they came past the budget
