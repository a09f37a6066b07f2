"""What the dashboard costs: seconds to write a trial's page, and until a trial's page is there in a study of 5,000.

    python tests/benchmarks/dashboard_pages.py [--trials 5000]

The first part writes the pages of thirty trials that ran as tests/fixtures/runs/healthy did. The second opens the page
of a pruned trial in chromium against a `hrm-sweep dashboard` that has just started (cold) and again (warm), until its
note is on the screen. It ends with the load of the machine, without which the figures say little.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sweep"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "browser"))

from bulk_studies import fill
from dashboard_process import served
from optuna.trial import TrialState
from playwright.sync_api import sync_playwright
from small_studies import STORAGE, small_space
from sweep_scale import PARAMETERS

from hrm_sweep.diagnosis import diagnose_run
from hrm_sweep.report.diagnosis_page import write_report
from hrm_sweep.runs import Owner
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.outcome import Outcome
from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study, create_or_continue
from hrm_sweep.sweep.study_page import refresh_study_page
from hrm_sweep.sweep.trial_page import write_trial_page

TESTS = Path(__file__).resolve().parents[1]
HEALTHY = TESTS / "fixtures" / "runs" / "healthy"
PAGES, VISITS = 30, 5


@contextmanager
def timed() -> Iterator[list[float]]:
    """Seconds, and seconds on the processor, once the block has ended."""
    found: list[float] = []
    began, began_cpu = time.monotonic(), time.process_time()
    yield found
    found += [time.monotonic() - began, time.process_time() - began_cpu]


def study_of(name: str, trials: int) -> Study:
    return create_or_continue(STORAGE, name, small_space(name=name, parameters=PARAMETERS, budget={"trials": trials}))


def write_pages() -> None:
    study, taken = study_of("pages", PAGES + 1), []
    for _ in range(PAGES + 1):
        one = claim(study, Owner.this_process())
        assert isinstance(one, Claim)
        shutil.copytree(HEALTHY, one.directory.path)
        diagnosis = diagnose_run(one.directory.path)
        write_report(diagnosis)
        outcome = Outcome(TrialState.PRUNED, pruned_by="median at epoch 20: below the median")
        with timed() as spent:
            write_trial_page(study, one, outcome, diagnosis, print)
        taken.append(spent)
        study.optuna.tell(one.trial, state=TrialState.PRUNED)
    (first, first_cpu), others = taken[0], taken[1:]
    print(f"a trial's page, the first of a worker: {first:.2f} s, {first_cpu:.2f} s on the processor")
    print(
        f"a trial's page, median of {PAGES}: {statistics.median(one[0] for one in others):.3f} s, "
        f"{statistics.median(one[1] for one in others):.3f} s on the processor, "
        f"at most {max(one[0] for one in others):.2f} s"
    )


def visit_pages(trials: int) -> None:
    study = study_of("large", trials)
    fill(study, trials)
    with timed() as spent:
        refresh_study_page(study, every_s=0.0)
    print(f"the page of a study of {trials:,}: {spent[0]:.2f} s, {spent[1]:.2f} s on the processor")
    executable = shutil.which("chromium")
    with sync_playwright() as playwright, served(Path.cwd()) as address:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(300_000)
        page_of_trial = f"{address}/studies/{study.id}/trials?numbers=4"
        times = []
        for _ in range(VISITS + 1):
            began = time.monotonic()
            page.goto(page_of_trial)
            page.get_by_text("Sick").first.wait_for()
            times.append(time.monotonic() - began)
        began = time.monotonic()
        with urllib.request.urlopen(f"{address.removesuffix('/dashboard')}/api/studies/{study.id}?after=0") as answer:
            size = len(answer.read())
        asked = time.monotonic() - began
        browser.close()
    print(f"a trial's page among {trials:,}: cold {times[0]:.2f} s; warm, best of {VISITS}: {min(times[1:]):.2f} s")
    print(f"  of which the server takes {asked:.2f} s for {size / 1e6:.1f} MB")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--trials", type=int, default=5000)
    trials = arguments.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_pages()
        visit_pages(trials)
        os.chdir(TESTS)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    quiet_optuna()
    main()
