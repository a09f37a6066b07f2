"""`stop_when: {terminator: true}`: a study ends when less is left to gain than the noise of its best score."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
import stand_in_training
import yaml
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from small_studies import MakeStudy, small_space

from hrm_sweep.errors import SpaceError
from hrm_sweep.evaluation.share import Share
from hrm_sweep.runs import MetricRow, MetricsWriter, Owner
from hrm_sweep.sweep import attributes, terminator
from hrm_sweep.sweep.budget import Claim, Nothing, account, claim
from hrm_sweep.sweep.conduct import Conducted, conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.space import space_from_mapping
from hrm_sweep.sweep.space_proposal import Proposal
from hrm_sweep.sweep.space_text import space_text
from hrm_sweep.sweep.status import study_status
from hrm_sweep.sweep.stop_when import StopWhen, Terminator
from hrm_sweep.sweep.study import Study, open_study
from hrm_sweep.sweep.study_report import study_report
from hrm_sweep.sweep.terminator import Lookout, Verdict, known_verdict, look, require_terminator

US = Owner.this_process()
PARAMETERS = {"lr": {"min": 1e-4, "max": 1e-2, "log": True}, "weight_decay": {"min": 0.1, "max": 1.0}}
DISTRIBUTIONS = {"lr": FloatDistribution(1e-4, 1e-2, log=True), "weight_decay": FloatDistribution(0.1, 1.0)}
ASKED = {"terminator": {"min_trials": 12}}

Score = Callable[[Mapping[str, Any]], float]


def converged(values: Mapping[str, Any]) -> float:
    """All alike, but for less than the noise of 100 puzzles."""
    return float(0.9 - 0.001 * values["weight_decay"])


def steep(values: Mapping[str, Any]) -> float:
    """Everything depends on the parameters, in waves that a dozen trials cannot know."""
    return float(0.5 + 0.2 * math.sin(9 * math.log10(values["lr"])) + 0.2 * math.sin(20 * values["weight_decay"]))


@pytest.fixture
def needs_scipy() -> None:
    pytest.importorskip("scipy", reason="no scipy here; the extra [terminator] has it")


def asking(make_study: MakeStudy, **changes: Any) -> Study:
    return make_study(**{"parameters": PARAMETERS, "budget": {"trials": 60}, "stop_when": ASKED, **changes})


def taken(study: Study) -> Claim:
    one = claim(study, US)
    assert isinstance(one, Claim), one
    return one


def run(study: Study, score: Score, trials: int, *, puzzles: int = 100) -> None:
    """So many more trials that have completed, each evaluated on so many puzzles."""
    chance = Random(len(study.trials()))
    for number in range(len(study.trials()), len(study.trials()) + trials):
        drawn = {"lr": 10 ** chance.uniform(-4, -2), "weight_decay": chance.uniform(0.1, 1.0)}
        done = create_trial(params=drawn, distributions=DISTRIBUTIONS, value=score(drawn))
        study.storage.create_new_trial(study.id, template_trial=done)
        evaluated(study, number, puzzles)


def end(study: Study, one: Claim, value: float) -> None:
    evaluated(study, one.number, 100)
    study.optuna.tell(one.trial, value)


def evaluated(study: Study, number: int, puzzles: int) -> None:
    directory = study.run_directory(number)
    directory.path.mkdir(parents=True, exist_ok=True)
    with MetricsWriter(directory.metrics) as metrics:
        metrics.write(MetricRow("eval", 10, 4, 1.0, {"count": puzzles}))


@pytest.mark.parametrize(
    ("share", "puzzles", "error"),
    [
        (0.5, 100, 0.05),
        (0.9, 1000, 0.3 / math.sqrt(1000)),
        (0.01, 100, math.sqrt(0.0099 / 100)),
        (1.0, 98, math.sqrt(0.99 * 0.01 / 98)),  # 99 of 100 by Laplace
        (0.0, 98, math.sqrt(0.99 * 0.01 / 98)),
    ],
)
def test_the_noise_of_a_score_is_its_standard_error(share: float, puzzles: int, error: float) -> None:
    assert Share(share, puzzles).standard_error == pytest.approx(error)


@pytest.mark.usefixtures("needs_scipy")
def test_a_study_ends_when_less_is_left_to_gain_than_the_noise_of_its_score(make_study: MakeStudy) -> None:
    study = asking(make_study)
    run(study, converged, 12)
    verdict = look(study)
    assert verdict is not None
    assert (verdict.trials, verdict.is_enough) == (12, True)
    assert 0 <= verdict.regret_bound < verdict.error == pytest.approx(0.03, abs=1e-3)
    again = open_study(study.storage_url, study.name)  # as another worker, or after a restart
    now = account(again)
    assert (now.enough, now.is_reached, claim(again, US)) == (verdict, True, Nothing.FOR_GOOD)
    said = study_status(again).enough
    assert said == (
        f"what is left to gain is estimated at most {verdict.regret_bound:.4f}, below the score's own noise "
        f"{verdict.error:.4f} (stop_when: terminator)"
    )


@pytest.mark.usefixtures("needs_scipy")
def test_a_study_with_much_left_to_gain_goes_on(make_study: MakeStudy) -> None:
    study = asking(make_study)
    run(study, steep, 12)
    verdict = look(study)
    assert verdict is not None
    assert (verdict.trials, verdict.is_enough) == (12, False)
    assert verdict.regret_bound > verdict.error
    assert known_verdict(study) == verdict
    assert account(study).enough is None
    taken(study)


@pytest.mark.usefixtures("needs_scipy")
def test_more_puzzles_make_less_worth_a_trial(make_study: MakeStudy) -> None:
    """The same scores, of which chance explains less and less."""
    verdicts = []
    for puzzles in (100, 100_000_000):
        study = asking(make_study, name=f"of-{puzzles}")
        run(study, converged, 12, puzzles=puzzles)
        verdicts.append(look(study))
    few, many = verdicts
    assert few is not None
    assert many is not None
    assert few.regret_bound == many.regret_bound, "the seed is that of the study"
    assert (few.is_enough, many.is_enough) == (True, False)


@pytest.mark.usefixtures("needs_scipy")
def test_there_is_one_look_for_each_number_of_completed_trials(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = asking(make_study, stop_when={"terminator": {"min_trials": 2}})
    asked: list[int] = []

    def bound(trials: Any, error: float, **_: Any) -> tuple[float, bool]:
        asked.append(len(trials))
        return 0.5, False

    monkeypatch.setattr(terminator, "left_to_gain", bound)
    said: list[str] = []
    lookout, other = Lookout(study, said.append), Lookout(open_study(study.storage_url, study.name), said.append)
    for _ in range(3):
        run(study, converged, 1)
        lookout.look()
        other.look()
    study.optuna.tell(taken(study).trial, state=TrialState.PRUNED)
    lookout.look()
    assert asked == [2, 3]
    assert [line.partition(" completed")[0] for line in said] == ["after 2", "after 3"]


@pytest.mark.usefixtures("needs_scipy")
def test_what_rests_on_more_trials_stands(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = asking(make_study)
    more = Verdict(trials=14, regret_bound=0.5, error=0.1, is_enough=False)

    def overtaken(*_: Any, **__: Any) -> tuple[float, bool]:
        """While this one looks, a worker that began later has done."""
        study.optuna.set_user_attr(attributes.TERMINATOR, dataclasses.asdict(more))
        return 0.01, True

    monkeypatch.setattr(terminator, "left_to_gain", overtaken)
    run(study, converged, 12)
    look(study)
    assert known_verdict(study) == more
    assert account(study).enough is None


@pytest.mark.usefixtures("needs_scipy")
def test_a_running_trial_that_turns_out_better_lets_the_study_go_on(make_study: MakeStudy) -> None:
    study = asking(make_study)
    running = taken(study)
    run(study, converged, 12)
    look(study)
    assert claim(study, US) is Nothing.FOR_NOW
    end(study, running, 1.0)
    verdict = look(study)
    assert verdict is not None
    assert (verdict.trials, verdict.is_enough) == (13, False)
    taken(study)


@pytest.mark.usefixtures("needs_scipy")
def test_nothing_is_said_of_a_study_that_has_not_solved_a_puzzle(make_study: MakeStudy) -> None:
    study = asking(make_study)
    run(study, lambda values: 0.0, 13)
    assert look(study) is None
    assert account(study).enough is None


@pytest.mark.usefixtures("needs_scipy")
def test_of_very_many_trials_the_best_are_looked_at(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminator, "MOST_TRIALS", 5)
    study = asking(make_study)
    run(study, steep, 12)
    seen: list[float] = []
    real = terminator.left_to_gain

    def watched(trials: Any, error: float, **options: Any) -> tuple[float, bool]:
        seen.extend(trial.value for trial in trials)
        return real(trials, error, **options)

    monkeypatch.setattr(terminator, "left_to_gain", watched)
    verdict = look(study)
    assert seen == sorted((trial.value for trial in study.trials()), reverse=True)[:5]
    assert verdict is not None
    assert (verdict.trials, verdict.is_enough) == (12, False)
    assert verdict.regret_bound > 0


@pytest.mark.usefixtures("needs_scipy")
def test_a_study_that_solves_everything_is_done(make_study: MakeStudy) -> None:
    study = asking(make_study)
    run(study, lambda values: 1.0, 12)
    look(study)
    assert claim(study, US) is Nothing.FOR_GOOD


@pytest.mark.usefixtures("needs_scipy")
def test_trials_outside_of_the_space_or_of_the_constraints_do_not_count(make_study: MakeStudy) -> None:
    study = asking(make_study, constraints={"parameters": "<= 10M"})
    run(study, converged, 12)
    violating, remedy = taken(study), taken(study)
    violating.trial.set_constraint("parameters", 1.0)
    remedy.trial.set_user_attr(attributes.OVERRIDES, {"epochs": 8})
    for one in (violating, remedy):
        end(study, one, 0.99)
    verdict = look(study)
    assert verdict is not None
    assert verdict.trials == 12
    assert verdict.error == pytest.approx(0.03, abs=1e-3), "of the best that counts"


@pytest.mark.usefixtures("needs_scipy")
def test_a_parameter_that_not_all_trials_have_is_left_out(make_study: MakeStudy) -> None:
    parameters = {**PARAMETERS, "lr_warmup_steps": {"min": 20, "max": 40, "when": {"lr": "> 1e-3"}}}
    study = asking(make_study, parameters=parameters)
    for _ in range(12):
        one = taken(study)
        end(study, one, converged(one.values))
    assert {len(trial.params) for trial in study.trials()} == {2, 3}
    verdict = look(study)
    assert verdict is not None
    assert verdict.is_enough


@pytest.mark.usefixtures("needs_scipy")
def test_what_ends_a_study_may_change_when_it_goes_on(make_study: MakeStudy) -> None:
    run(asking(make_study), converged, 12)
    study = asking(make_study)
    look(study)
    assert claim(study, US) is Nothing.FOR_GOOD
    for stop_when in ({}, {"terminator": False}, {"terminator": {"min_trials": 13}}, {"no_improvement": 50}):
        taken(asking(make_study, stop_when=stop_when))


def test_either_way_to_stop_is_enough(make_study: MakeStudy) -> None:
    study = asking(make_study, stop_when={**ASKED, "no_improvement": 2})
    run(study, lambda values: 0.5, 3)
    assert "no_improvement is 2" in str(account(study).enough)
    assert study_report(study, measure=False, next_commands=[], now=datetime(2026, 1, 2)).setting[-1] == (
        "budget",
        "60 trials, or 2 without improvement, or when the terminator finds nothing left to gain",
    )


def test_a_look_that_fails_costs_nobody_a_trial(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminator, "_has_scipy", lambda: True)
    study = asking(make_study)
    run(study, converged, 12)
    for chain in study.chains():
        study.run_directory(chain.first.number).metrics.unlink()
    said: list[str] = []
    Lookout(study, said.append).look()
    (line,) = said
    assert line.endswith("says on how many puzzles its run was evaluated")
    assert known_verdict(study) is None


def test_how_it_is_asked_for() -> None:
    def read(given: Any) -> StopWhen:
        return small_space(stop_when=given).stop_when

    assert read({"terminator": True}) == read({"terminator": {}}) == StopWhen(terminator=Terminator(min_trials=20))
    assert read({"terminator": False}) == read({"terminator": None}) == read({}) == StopWhen()
    assert read({**ASKED, "no_improvement": 3}) == StopWhen(no_improvement=3, terminator=Terminator(min_trials=12))


@pytest.mark.parametrize("given", [{"terminator": True}, {**ASKED, "no_improvement": 3}])
def test_a_space_as_a_file_keeps_it(given: dict[str, Any]) -> None:
    space = small_space(stop_when=given)
    text = space_text(Proposal(space, (), ()), "from a test")
    assert space_from_mapping(yaml.safe_load(text), "next.yaml") == space
    assert space_from_mapping(space.model_dump(mode="json"), "stored") == space


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stop_when": {"terminator": 20}}, "expected true, or keys and values such as {min_trials: 20}, found 20"),
        ({"stop_when": {"terminator": {"min_trials": 1}}}, ".min_trials: expected greater than or equal to 2, found 1"),
        (
            {"stop_when": {"terminator": {"min_trial": 5}}},
            ".min_trial: unknown key; the nearest valid key is min_trials",
        ),
        (
            {"objective": [{"metric": "exact_accuracy"}, {"metric": "seconds"}]},
            "works with one goal, and this space has 2; leave it out, or all goals but the first",
        ),
        (
            {"objective": {"metric": "loss"}},
            "needs a share of puzzles as the goal, whose error is known; expected objective {metric: exact_accuracy, "
            "goal: maximize}, found loss, minimize; leave it out, or change the objective",
        ),
        ({"objective": {"metric": "accuracy"}}, "needs a share of puzzles as the goal"),
        ({"objective": {"metric": "exact_accuracy", "goal": "minimize"}}, "found exact_accuracy, minimize"),
        (
            {"parameters": {"lr": {"values": [1e-3]}, "eval_puzzles": {"values": [10, 20]}}},
            "needs scores of one error, and parameters.eval_puzzles gives each trial its own",
        ),
    ],
)
def test_a_space_in_which_it_cannot_work_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        small_space(**{"stop_when": {"terminator": True}, **changes})
    (line,) = str(caught.value).splitlines()
    assert line.startswith("small.yaml: stop_when.terminator")
    assert said in line


HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "scipy":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture
def without_scipy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For processes that are started."""
    (folder / "hidden").mkdir()
    (folder / "hidden" / "sitecustomize.py").write_text(HIDE)
    monkeypatch.setenv("PYTHONPATH", str(folder / "hidden"), prepend=os.pathsep)


def test_without_scipy_run_says_what_to_install_before_anything_starts(
    folder: Path, sudoku_4x4: Path, without_scipy: None
) -> None:
    space = small_space(base={"data_path": str(sudoku_4x4), "epochs": 60}, stop_when={"terminator": True})
    (folder / "mine.yaml").write_text(yaml.safe_dump(space.model_dump(mode="json", exclude_defaults=True)))
    command = [sys.executable, "-m", "hrm_sweep", "run", "mine.yaml"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2, refused.stderr
    assert " ".join(refused.stderr.split()) == (
        "error: mine.yaml: stop_when.terminator: needs scipy, which is not installed; install it with `pip install "
        "'hrm-sweep[terminator]'`, or leave it out"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["hidden", "mine.yaml"]
    require_terminator(small_space(), "a space that does not ask for it")


def conducted(study: Study, jobs: int) -> Conducted:
    engine = LocalEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME))
    try:
        return conduct(study, engine, jobs)
    finally:
        engine.kill()
        engine.close()


def test_a_worker_without_scipy_leaves_the_look_to_others_and_says_so_once(
    make_study: MakeStudy, without_scipy: None, folder: Path
) -> None:
    study = asking(make_study, stop_when={"terminator": {"min_trials": 2}}, budget={"trials": 3})
    assert conducted(study, 1).account.ended == 3
    log = (study.folder / "worker-0.log").read_text()
    assert log.count("stop_when.terminator: needs scipy") == 1
    assert "Traceback" not in log
    assert known_verdict(study) is None


@pytest.mark.usefixtures("needs_scipy")
def test_two_workers_end_a_study_together(make_study: MakeStudy) -> None:
    solves_all = {"lr": {"min": 2e-3, "max": 1e-2, "log": True}}
    study = asking(make_study, parameters=solves_all, stop_when={"terminator": {"min_trials": 4}})
    ended = conducted(study, 2).account
    assert ended.is_reached
    assert isinstance(ended.enough, Verdict)
    assert ended.given_out in (4, 5)  # while one looks at four the other may be at one more
    assert {trial.state for trial in study.trials()} == {TrialState.COMPLETE}


def test_nothing_of_it_is_loaded_for_a_study_that_does_not_ask() -> None:
    """By a worker, before its first look."""
    program = "import sys, hrm_sweep.sweep.worker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "hrm_sweep.sweep.terminator" in loaded
    assert not {"optuna.terminator", "scipy", "torch"} & set(loaded)
