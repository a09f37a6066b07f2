"""The dashboard's own pages on a study with several goals and constraints, in a real browser."""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import Watched
from dashboard_process import served
from playwright.sync_api import expect

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from three_goals_study import make_three_goals_study

from hrm_sweep.sweep.goals import front, is_feasible

expect.set_options(timeout=180_000)  # a busy machine is no failure


def test_the_front_is_drawn_with_those_that_violate_a_constraint_apart_and_stands_in_the_note(
    folder: Path, watched: Watched
) -> None:
    study = make_three_goals_study("sqlite:///trials/optuna.db")
    on_front = front(study.space.objective, study.trials())
    infeasible = [trial for trial in study.trials() if trial.values and not is_feasible(trial)]
    with served(folder, "--study", "two-goals") as address:
        page = watched.page
        page.goto(address)
        page.locator("#graph-pareto-front .main-svg").first.wait_for(state="attached")
        page.wait_for_function("() => document.getElementById('graph-pareto-front').data?.length > 0")
        drawn = dict(
            page.evaluate(
                "() => document.getElementById('graph-pareto-front').data.map(one => [one.hovertemplate, one.x.length])"
            )
        )
        assert drawn["%{text}<extra>Infeasible Trial</extra>"] == len(infeasible)
        assert drawn["%{text}<extra>Best Trial</extra>"] == len(on_front)
        page.goto(f"{address}/analytics")
        expect(page.get_by_text("Hyperparameter Relationships")).to_be_visible()
        page.goto(f"{address}/note")
        expect(page.get_by_text("trials that no other one beats at")).to_be_visible()
        page.goto(f"{address}/trials?numbers=0")
        expect(page.get_by_role("heading", name="Trial 0 (trial_id=")).to_be_visible()
        page.goto("about:blank")
