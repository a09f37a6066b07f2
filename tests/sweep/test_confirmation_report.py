"""What is said of a confirmation, and that its score stands beside the search's wherever that is shown."""

from __future__ import annotations

import io
import json
from datetime import datetime

import pytest
from optuna.trial import TrialState
from rich.console import Console
from small_studies import STORAGE, MakeStudy, small_space
from test_confirmation_race import BAD, GOOD, NEARLY, US, confirming, finish

from hrm_sweep.diagnosis import Verdict as FindingVerdict
from hrm_sweep.diagnosis import diagnose_study
from hrm_sweep.report.confirmation import ConfirmationReport, Verdict
from hrm_sweep.report.confirmation_sections import confirmation_sections, confirmation_words
from hrm_sweep.report.study_report_page import report_page
from hrm_sweep.report.study_report_text import print_sections, report_json, report_markdown
from hrm_sweep.runs import MetricRow, MetricsWriter
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.confirm.kept import confirmation_of, keep_confirmation, known_confirmation
from hrm_sweep.sweep.confirm.results import confirmation_report
from hrm_sweep.sweep.housekeeping import list_studies
from hrm_sweep.sweep.status import study_status
from hrm_sweep.sweep.study import Study, create_or_continue
from hrm_sweep.sweep.study_attributes import system_attributes
from hrm_sweep.sweep.study_evidence import gather_study_evidence
from hrm_sweep.sweep.study_page import refresh_study_page
from hrm_sweep.sweep.study_report import study_report

LRS = {"trial 1": GOOD, "trial 2": NEARLY, "baseline": BAD}


def run_all(study: Study, most: int = 100) -> Study:
    for _ in range(most):
        if not isinstance(one := claim(study, US), Claim):
            break
        finish(study, one)
    return study


def printed(study: Study) -> str:
    out = io.StringIO()
    print_sections(confirmation_sections(confirmation_report(study)), Console(file=out, width=80, highlight=False))
    return out.getvalue()


@pytest.fixture
def confirmed(make_study: MakeStudy) -> tuple[Study, Study]:
    """A search whose trial 1 had 0.95, and its confirmation, which lets trial 1 and 2 tie at about 0.9."""
    search = make_study(name="search", budget={"trials": 3})
    for score in (0.5, 0.95, 0.94):
        one = claim(search, US)
        assert isinstance(one, Claim)
        search.optuna.tell(one.trial, score)
    content = confirming(LRS)
    for candidate, (trial, score) in zip(content["confirm"]["candidates"], ((1, 0.95), (2, 0.94)), strict=False):
        candidate |= {"trial": trial, "score": score}
    space = small_space(name="sure", **content)
    confirming_study = run_all(create_or_continue(STORAGE, "sure", space))
    keep_confirmation(search, confirmation_report(confirming_study))
    return search, confirming_study


def test_seeds_of_one_configuration_are_not_compared_as_configurations(confirmed: tuple[Study, Study]) -> None:
    _, study = confirmed
    for chain in study.chains():
        directory = study.run_directory(chain.first.number)
        directory.path.mkdir(parents=True, exist_ok=True)
        with MetricsWriter(directory.metrics) as writer:
            writer.write(MetricRow("eval", 8, 1, 1.0, {"exact_accuracy": 0.9, "count": 50.0}))
    evidence = gather_study_evidence(study)
    assert (evidence.evaluated_puzzles, evidence.parameters) == (50, ())
    told = {one.rule: one for one in diagnose_study(evidence).findings}
    assert told["no_clear_winner"].verdict is FindingVerdict.UNKNOWN
    assert told["no_clear_winner"].explanation == (
        "Needs a search, whose trials are configurations; here they differ by their seeds, and the verdict of the "
        "confirmation compares the configurations (`hrm-sweep report search`)."
    )
    assert not [one.rule for one in told.values() if one.verdict is FindingVerdict.FIRED]
    report = study_report(study, measure=False, next_commands=[], now=datetime(2026, 1, 2))
    assert report.best is not None
    assert report.best.ties is None


def test_a_tie_says_who_cannot_be_told_apart_and_how_many_seeds_it_takes(confirmed: tuple[Study, Study]) -> None:
    report = confirmation_report(confirmed[1])
    words = list(confirmation_words(report))
    assert words[0] == (
        "Tie: trial 1 and trial 2 cannot be told apart with 5 seeds (level 5% for all comparisons and looks together)."
    )
    assert words[1] == "trial 1 and trial 2 score alike."
    assert words[2].startswith(
        "trial 1: 95.0% in the search, 50.0% on its puzzles with fresh seeds, and 90.0% (88.0 to 92.0)"
    )
    assert words[3] == "A run of it beats one of the baseline with a chance of 100%."  # three seeds have no interval
    assert words[4] == (
        "13 of 13 runs have ended, each measured on 100 puzzles that no choice was made by; the race spared 2."
    )


def test_it_fits_into_eighty_columns(confirmed: tuple[Study, Study]) -> None:
    text = printed(confirmed[1])
    assert "…" not in text
    assert text.index("Confirmed on fresh seeds") < 200  # before anything about the luckiest seed
    assert max(map(len, text.splitlines())) <= 80
    assert "  baseline: lr=0.0001; beaten by trial 1 after 3 seeds (p < 0.0001)\n" in text


def test_how_much_the_search_flattered_is_its_score_less_the_confirmed_one(confirmed: tuple[Study, Study]) -> None:
    best, *_, baseline = confirmation_report(confirmed[1]).candidates
    assert best.search is not None
    assert best.confirmed is not None
    assert best.optimism is not None
    assert best.optimism.value == pytest.approx(0.95 - best.confirmed.value)
    assert best.optimism.low == pytest.approx(0.95 - (best.confirmed.high or 0))
    assert (baseline.search, baseline.optimism) == (None, None)


def test_the_search_shows_both_scores_everywhere(confirmed: tuple[Study, Study]) -> None:
    search, _ = confirmed
    known = known_confirmation(search)
    assert known is not None
    assert [found.name for one in confirmed if (found := confirmation_of(one)) is not None] == ["sure", "sure"]
    head, first, *_ = known.lines()
    assert head == "confirmed by sure: tie: trial 1, trial 2"
    assert first.startswith("  trial 1: 95.0% in the search, 90.0% confirmed")
    assert study_status(search).confirmed[:2] == (head, first)
    listed = {line.name: line.confirmed for line in list_studies(STORAGE)}
    assert listed == {"search": ("0.900", "tie: trial 1, trial 2"), "sure": None}

    report = study_report(search, measure=False, next_commands=[], now=datetime(2026, 1, 1))
    assert json.loads(report_json(report))["confirmation"]["leading"] == ["trial 1", "trial 2"]
    for text in (report_page(report), report_markdown(report)):
        assert "Scores of the search beside confirmed scores" in text
        assert "90.0% (88.0 to 92.0)" in text
    assert refresh_study_page(search, every_s=0.0)
    (note,) = (str(text) for text in system_attributes(search, "dashboard:note_str:%").values())
    assert "**Confirmed by sure: tie: trial 1, trial 2**" in note
    assert "- trial 1: 95.0% in the search, 90.0% confirmed (95 % interval " in note


def test_a_confirmation_that_goes_on_is_undecided(make_study: MakeStudy) -> None:
    study = run_all(make_study(**confirming(LRS)), most=4)
    report = confirmation_report(study)
    assert (report.verdict, report.ended, report.planned) == (Verdict.UNDECIDED, 4, 15)
    assert next(confirmation_words(report)) == "Not decided: 11 runs are still to end."
    assert "baseline" in printed(study)


def test_a_confirmation_in_which_every_run_failed_confirms_nothing(make_study: MakeStudy) -> None:
    study = make_study(**confirming(LRS, retry={"oom": 0}))
    while isinstance(one := claim(study, US), Claim):
        one.trial.set_user_attr("cause", "oom")
        study.optuna.tell(one.trial, state=TrialState.FAIL)
    report = confirmation_report(study)
    assert (report.verdict, len(study.trials()), report.spared) == (Verdict.NOTHING, 9, 6)
    assert next(confirmation_words(report)) == "No run gave a score, so nothing was compared, and nothing is confirmed."
    assert "trial 2 seed 1000001: oom" in printed(study).replace("\n  ", " ")


def test_a_loss_is_better_where_it_is_lower(make_study: MakeStudy) -> None:
    """The stand-in has no loss on unseen puzzles but this: one less its share of cells."""
    study = make_study(objective={"metric": "loss"}, **confirming({"trial 1": BAD, "baseline": GOOD}))
    while isinstance(one := claim(study, US), Claim):
        loss = (2.0 if one.values["lr"] == BAD else 1.0) + 0.01 * (one.seed % 3)
        one.trial.set_user_attr("unseen", {"loss": loss, "puzzles": 100})
        study.optuna.tell(one.trial, loss)
    report = confirmation_report(study)
    assert (report.verdict, report.leading) == (Verdict.WINNER, ["baseline"])
    leader = report.candidates[0]
    assert leader.confirmed is not None
    assert leader.confirmed.value == pytest.approx(1.01, abs=0.01)
    (pair,) = report.pairs
    assert pair.difference.value == pytest.approx(-1.0, abs=0.01)
    assert "  trial 1  +0.99" in printed(study)  # ahead, because its loss is lower
    assert pair.puzzles is None
    assert "That is the baseline: the search has found nothing that is known to be better." in printed(study).replace(
        "\n  ", " "
    ).replace("  ", " ")


def confirmed_but(study: Study, failing: set[float]) -> ConfirmationReport:
    """After a confirmation in which the storage failed the runs with these learning rates."""
    while isinstance(one := claim(study, US), Claim):
        if one.values["lr"] in failing:
            one.trial.set_user_attr("cause", "storage")
            study.optuna.tell(one.trial, state=TrialState.FAIL)
        else:
            finish(study, one)
    return confirmation_report(study)


def test_who_gave_no_score_was_not_beaten(make_study: MakeStudy) -> None:
    report = confirmed_but(make_study(**confirming(LRS, retry={"storage": 0})), {NEARLY})
    assert (report.verdict, report.leading) == (Verdict.WINNER, ["trial 1"])
    assert next(confirmation_words(report)) == (
        "Winner: trial 1; every other one that gave a score (not trial 2) is beaten (level 5% for all comparisons and "
        "looks together)."
    )


def test_who_is_alone_in_having_a_score_has_won_nothing(make_study: MakeStudy) -> None:
    report = confirmed_but(make_study(**confirming(LRS, retry={"storage": 0})), {NEARLY, BAD})
    assert (report.verdict, report.leading, report.pairs) == (Verdict.NOTHING, ["trial 1"], [])
    assert next(confirmation_words(report)) == (
        "Only trial 1 gave a score, so nothing was compared, and nothing is confirmed."
    )
