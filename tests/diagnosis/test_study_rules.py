"""Every study rule fires on its fault, stays clear on a study without it, and says unknown where trials are missing.

A rule that is missing in a table fails the test: a new rule needs its three cases.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from made_up_studies import (
    LR,
    PARAMETERS,
    STEPS,
    Values,
    completed,
    environment,
    failed,
    pruned,
    study,
)

from hrm_sweep.diagnosis import Finding, Severity, StudyEvidence, Verdict, all_study_rules, diagnose_study
from hrm_sweep.diagnosis.edges import edges
from hrm_sweep.diagnosis.regions import concentrations
from hrm_sweep.diagnosis.study_evidence import End, StudyParameter
from hrm_sweep.runs import Cause


def quality(values: Values, rng: random.Random) -> float:
    """An honest objective with its best at lr 1e-3, in the middle of nowhere near an end, and some noise."""
    return round(0.8 - 0.2 * abs(math.log10(values["lr"] / 3e-4)) + rng.gauss(0, 0.02), 3)


def plain(values: Values, rng: random.Random) -> dict[str, Any]:
    return completed(quality(values, rng), environment=environment())


def nan_above(values: Values, rng: random.Random) -> dict[str, Any]:
    return failed(Cause.NAN) if values["lr"] > 3e-3 else plain(values, rng)


def fails_anywhere(values: Values, rng: random.Random) -> dict[str, Any]:
    return failed(Cause.STORAGE) if rng.random() < 0.2 else plain(values, rng)


def dead_below(values: Values, rng: random.Random) -> dict[str, Any]:
    return pruned(leading="lr_out_of_range") if values["lr"] < 1e-4 else plain(values, rng)


def fails_mostly(values: Values, rng: random.Random) -> dict[str, Any]:
    return failed(Cause.DATA) if rng.random() < 0.7 else plain(values, rng)


def better_with_lr(values: Values, rng: random.Random) -> dict[str, Any]:
    return completed(0.5 + 0.1 * math.log10(values["lr"] / 1e-5))


def solves_nothing(values: Values, rng: random.Random) -> dict[str, Any]:
    return completed(0.0)


def other_machine(values: Values, rng: random.Random) -> dict[str, Any]:
    other = {"packages": {"hrm-sweep": "0.1.0", "torch": "2.7.1"}, "device": "cuda:1"}
    return {**plain(values, rng), "environment": environment(**(other if rng.random() < 0.3 else {}))}


FIRES = {
    "failing_region": study(nan_above),
    "fruitless_region": study(dead_below),
    "too_many_failures": study(fails_mostly),
    "best_at_edge": study(better_with_lr),
    "sampler_blind": study(solves_nothing),
    "environment_drift": study(other_machine),
    "no_clear_winner": study(plain, evaluated_puzzles=100),
}
CLEAR = {
    "failing_region": study(fails_anywhere),
    "fruitless_region": study(plain),
    "too_many_failures": study(fails_anywhere),
    "best_at_edge": study(plain),
    "sampler_blind": study(plain),
    "environment_drift": study(plain),
    "no_clear_winner": study(better_with_lr, trials=8, evaluated_puzzles=10**7),
}
UNKNOWN = {
    "failing_region": study(nan_above, trials=9),
    "fruitless_region": study(dead_below, trials=9),
    "too_many_failures": study(fails_mostly, trials=4),
    "best_at_edge": study(better_with_lr, trials=9),
    "sampler_blind": study(solves_nothing, trials=9),
    "environment_drift": study(solves_nothing),
    "no_clear_winner": study(plain, metric="loss", maximize=False, evaluated_puzzles=100),
}
RULES = [rule.id for rule in all_study_rules()]


def finding(evidence: StudyEvidence, rule: str) -> Finding:
    return next(each for each in diagnose_study(evidence).findings if each.rule == rule)


@pytest.mark.parametrize("rule", RULES)
def test_it_fires_on_its_fault(rule: str) -> None:
    found = finding(FIRES[rule], rule)
    assert found.verdict is Verdict.FIRED
    assert found.evidence
    assert found.explanation


@pytest.mark.parametrize("rule", RULES)
def test_it_stays_clear_without_it(rule: str) -> None:
    found = finding(CLEAR[rule], rule)
    assert found.verdict is Verdict.CLEAR, found
    assert found.explanation


@pytest.mark.parametrize("rule", RULES)
def test_it_says_what_is_missing(rule: str) -> None:
    found = finding(UNKNOWN[rule], rule)
    assert found.verdict is Verdict.UNKNOWN
    assert found.explanation.startswith("Needs ")


def test_a_healthy_study_is_called_healthy_by_its_first_line() -> None:
    diagnosis = diagnose_study(study(plain))
    assert diagnosis.exit_code == 0
    assert diagnosis.verdict.startswith(
        "Healthy: no rule fired at warning or above after 24 trials, best exact_accuracy "
    )


def test_a_study_that_goes_on_is_healthy_so_far() -> None:
    assert diagnose_study(study(plain, budget=30)).verdict.startswith("Healthy so far: ")


def test_a_study_that_has_hardly_begun_cannot_be_told() -> None:
    assert diagnose_study(study(plain, trials=3)).verdict == (
        "Cannot tell: 3 trials ended, and 6 of 7 rules need more (most of them 10)."
    )
    assert diagnose_study(study(plain, trials=0)).exit_code == 0


def test_a_sick_study_names_its_leading_fault_first() -> None:
    diagnosis = diagnose_study(study(nan_above))
    assert diagnosis.exit_code == 1
    assert diagnosis.verdict == (
        "Sick: trials fail for one cause in one region of the search space (failing_region, warning), after 24 trials."
    )


def test_the_region_is_told_with_its_counts() -> None:
    lrs = [*(4e-3 + 1e-4 * n for n in range(7)), *(1e-4 + 1.5e-4 * n for n in range(17))]
    evidence = study(plain)
    trials = (
        replace(trial, values={**trial.values, "lr": lr}, **(failed() if lr > 3e-3 else {}))
        for trial, lr in zip(evidence.trials, lrs, strict=True)
    )
    (found,) = concentrations(replace(evidence, trials=tuple(trials)))
    assert str(found) == "failed (nan) only where lr > 0.003: 7 of 7, elsewhere 0 of 17"


def test_both_ends_of_a_range_may_be_dead() -> None:
    def fate(values: Values, rng: random.Random) -> dict[str, Any]:
        return plain(values, rng) if 1e-4 < values["lr"] < 2e-3 else pruned()

    (found,) = concentrations(study(fate, trials=40))
    assert found.region.contains(2e-5)
    assert found.region.contains(8e-3)
    assert not found.region.contains(5e-4)
    assert found.outside[0] == 0


@pytest.mark.parametrize(
    ("fate", "region"),
    [
        (lambda values, rng: values["arch.halt_max_steps"] >= 8, "arch.halt_max_steps >= 8"),
        (lambda values, rng: values["arch.H_cycles"] == 1, "arch.H_cycles <= 1"),
        (lambda values, rng: values["arch.pos_encodings"] == "learned", "arch.pos_encodings = learned"),
    ],
)
def test_a_region_is_named_by_values_that_can_be_drawn(fate: Any, region: str) -> None:
    evidence = study(lambda values, rng: failed() if fate(values, rng) else completed(0.5), trials=40)
    assert [str(found.region) for found in concentrations(evidence)] == [region]


def test_an_ending_that_comes_with_another_is_named_once() -> None:
    def fate(values: Values, rng: random.Random) -> dict[str, Any]:
        return {**failed(), "leading": "non_finite"} if values["lr"] > 3e-3 else plain(values, rng)

    assert [str(found.ending) for found in concentrations(study(fate, trials=40))] == ["failed (nan)"]


def test_a_trial_that_failed_and_came_back_still_marks_the_region_but_is_no_failure() -> None:
    def fate(values: Values, rng: random.Random) -> dict[str, Any]:
        again = {"failures": (Cause.OOM,)} if values["arch.halt_max_steps"] == 16 else {}
        return {**plain(values, rng), **again}

    evidence = study(fate, trials=40)
    assert finding(evidence, "failing_region").verdict is Verdict.FIRED
    assert finding(evidence, "too_many_failures").verdict is Verdict.CLEAR


def test_a_conditional_parameter_is_judged_among_the_trials_that_have_it() -> None:
    def fate(values: Values, rng: random.Random) -> dict[str, Any]:
        having = values["lr"] > 1e-4
        kept = dict(values) if having else {name: value for name, value in values.items() if name != "arch.H_cycles"}
        return {**(failed() if having and values["arch.H_cycles"] == 4 else completed(0.5)), "values": kept}

    (found,) = concentrations(study(fate, trials=60))
    assert str(found.region) == "arch.H_cycles >= 4"
    assert found.inside[1] + found.outside[1] < 60


def no_structure(values: Values, rng: random.Random) -> dict[str, Any]:
    dice = rng.random()
    if dice < 0.25:
        return failed(rng.choice((Cause.NAN, Cause.OOM)))
    return pruned(rng.choice(("median", "zero_accuracy"))) if dice < 0.5 else completed(rng.random())


def test_studies_without_structure_hardly_ever_have_a_region() -> None:
    """Holm's correction over all splits holds the chance that any fires to 5 %, whatever the number of thresholds."""
    studies = [study(no_structure, trials=12 + seed % 50, seed=seed) for seed in range(200)]
    assert sum(bool(concentrations(each)) for each in studies) <= 10


def test_studies_without_structure_hardly_ever_have_an_edge() -> None:
    studies = [study(no_structure, trials=20 + seed % 50, seed=seed) for seed in range(200)]
    assert sum(any(edge.is_edge for edge in edges(each)) for each in studies) <= 10


def test_a_planted_region_is_found_nearly_always() -> None:
    found = [str(one) for seed in range(40) for one in concentrations(study(nan_above, trials=50, seed=seed))]
    assert sum(one.startswith("failed (nan) only where lr > 0.00") for one in found) >= 36


@pytest.mark.parametrize(
    ("parameter", "fires"),
    [
        (LR, True),
        (StudyParameter("lr", low=1e-5, high=1e-2, log=True, most=1e-2), False),  # nothing lies beyond
    ],
)
def test_an_end_beyond_which_there_is_nothing_is_no_edge(parameter: StudyParameter, fires: bool) -> None:
    evidence = study(better_with_lr, parameters=(parameter,))
    assert (finding(evidence, "best_at_edge").verdict is Verdict.FIRED) is fires


def test_the_last_of_a_list_of_numbers_is_an_edge_and_of_two_is_not() -> None:
    def fate(values: Values, rng: random.Random) -> dict[str, Any]:
        return completed(values["arch.halt_max_steps"] / 20 + 0.1 * rng.random())

    (edge,) = [edge for edge in edges(study(fate, trials=40)) if edge.is_edge]
    assert (edge.parameter.name, edge.side, edge.bound) == ("arch.halt_max_steps", "upper", 16)
    two = StudyParameter("arch.halt_max_steps", values=(2, 16), whole=True, least=1)
    assert edges(study(fate, trials=40, parameters=(two,))) == ()


def test_a_loss_is_best_where_it_is_lowest() -> None:
    evidence = study(better_with_lr, metric="loss", maximize=False)
    (edge,) = [edge for edge in edges(evidence) if edge.is_edge]
    assert (edge.parameter.name, edge.side) == ("lr", "lower")


def test_an_edge_within_noise_is_none() -> None:
    assert finding(study(better_with_lr, evaluated_puzzles=10), "best_at_edge").verdict is Verdict.CLEAR


def test_a_study_in_which_everything_is_solved_is_not_sick() -> None:
    found = finding(study(lambda values, rng: completed(1.0)), "sampler_blind")
    assert (found.verdict, found.severity) == (Verdict.FIRED, Severity.ADVICE)


def test_a_blind_study_is_sick_also_when_its_trials_were_pruned() -> None:
    assert diagnose_study(study(lambda values, rng: pruned())).exit_code == 1


def test_what_a_study_varies_on_purpose_is_no_drift() -> None:
    dtype = StudyParameter("arch.forward_dtype", values=("float32", "bfloat16"))

    def fate(values: Values, rng: random.Random) -> dict[str, Any]:
        return completed(0.5, environment=environment(dtype=values["arch.forward_dtype"]))

    assert finding(study(fate, parameters=(LR, dtype)), "environment_drift").verdict is Verdict.CLEAR


def test_gpus_of_one_machine_are_no_drift_and_other_cards_are_advice() -> None:
    def fate(values: Values, rng: random.Random) -> dict[str, Any]:
        return completed(0.5, environment=environment(device=f"cuda:{rng.randint(0, 3)}"))

    def cards(values: Values, rng: random.Random) -> dict[str, Any]:
        return completed(0.5, environment=environment(device_name=rng.choice(("one card", "another"))))

    assert finding(study(fate), "environment_drift").verdict is Verdict.CLEAR
    assert finding(study(cards), "environment_drift").severity is Severity.ADVICE


def test_an_unbeaten_baseline_is_named() -> None:
    evidence = study(plain, evaluated_puzzles=50)
    best = evidence.ranked[0].number
    trials = tuple(replace(trial, is_baseline=trial.number == evidence.ranked[1].number) for trial in evidence.trials)
    told = finding(replace(evidence, trials=trials), "no_clear_winner").explanation
    assert f"as good as trial {best}" in told
    assert f"trial {evidence.ranked[1].number}, which the search space names to be tried first" in told


def test_trials_of_other_programs_do_no_harm() -> None:
    def foreign(values: Values, rng: random.Random) -> dict[str, Any]:
        strange = {"lr": "high", "arch.halt_max_steps": None}
        return {"values": strange if rng.random() < 0.3 else {}, "end": rng.choice(list(End)), "failures": (None,)}

    diagnosis = diagnose_study(study(foreign, trials=40, parameters=PARAMETERS))
    assert len(diagnosis.findings) == len(RULES)
    assert STEPS.numbers == (2, 4, 8, 16)


def test_the_same_trials_in_another_order_give_the_same_diagnosis() -> None:
    evidence = study(nan_above)
    turned = replace(evidence, trials=tuple(reversed(evidence.trials)))
    assert diagnose_study(turned).to_mapping() == diagnose_study(evidence).to_mapping()


def test_the_mapping_has_study_in_place_of_run() -> None:
    mapping = diagnose_study(study(plain)).to_mapping()
    assert list(mapping) == ["schema_version", "study", "verdict", "findings"]
    assert mapping["study"] == "made-up"
    assert sorted(each["rule"] for each in mapping["findings"]) == sorted(RULES)


def test_a_study_of_5000_trials_is_judged_in_a_moment() -> None:
    evidence = study(nan_above, trials=5000, evaluated_puzzles=500)
    began = time.process_time()
    diagnosis = diagnose_study(evidence)
    assert time.process_time() - began < 5  # measured: 0.8 s
    assert diagnosis.leading is not None
    assert diagnosis.leading.evidence[0].quantity.startswith("failed (nan) where lr > 0.003")
