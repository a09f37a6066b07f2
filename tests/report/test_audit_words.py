"""The audit in words: above all what few audited trials allow to say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hrm_sweep.evaluation.share import wilson
from hrm_sweep.report.audit import (
    AuditedTrial,
    PrunedTrial,
    PrunerAudit,
    RanToItsEnd,
    audited_for,
    first_above_zero,
)

NOTHING = PrunerAudit("exact_accuracy", True, 0.1, [], [], [], 0.0, 0.0, 0.0)
KEPT = [RanToItsEnd(number, value, False, 10) for number, value in enumerate((0.2, 0.3, 0.4))]


def pruned_by(pruner: str | None, count: int) -> list[PrunedTrial]:
    return [PrunedTrial(number, pruner) for number in range(30, 30 + count)]


def with_audited(*values: float | None, pruned: int = 9, kept: int = 3) -> PrunerAudit:
    """Trials that zero_accuracy condemned at epoch 20; None is still running."""
    numbered = list(enumerate(values, start=10))
    audited = [
        AuditedTrial(number, "zero_accuracy at epoch 20: dead", 20, "running" if value is None else "complete", value)
        for number, value in numbered
    ]
    ended = [RanToItsEnd(number, value, True, 40 if value else None) for number, value in numbered if value is not None]
    return replace(
        NOTHING, pruned_trials=pruned_by("zero_accuracy", pruned), audited=audited, completed=[*KEPT[:kept], *ended]
    )


def test_where_nothing_was_condemned_nothing_is_said() -> None:
    assert NOTHING.standing() == ""


STANDINGS = [
    (
        replace(NOTHING, pruned_trials=pruned_by("zero_accuracy", 1), share=0.0),
        "1 trial was pruned; whether one of them would have won is not known, for none is let go on; `audit: 0.1` in "
        "the search space lets one in ten, and at least one of five.",
    ),
    (
        with_audited(),
        "9 trials were pruned; whether one of them would have won is not known, for none of them was let go on yet.",
    ),
    (
        with_audited(None),
        "9 trials were pruned, 1 more condemned but let go on, to audit the pruners: no audited trial has come to its "
        "end yet (running), so nothing is known.",
    ),
    (
        with_audited(0.455),
        "9 trials were pruned, 1 more condemned but let go on, to audit the pruners: of 1 audited, 1 ended above the "
        "median of the others (0.3), 1 above 0 %.",
    ),
    (
        with_audited(0.1, kept=0),
        "9 trials were pruned, 1 more condemned but let go on, to audit the pruners: of 1 audited, 1 above 0 %.",
    ),
]


@pytest.mark.parametrize(("audit", "said"), STANDINGS)
def test_the_standing_of_an_audit_in_one_sentence(audit: PrunerAudit, said: str) -> None:
    assert audit.standing() == said


def test_one_audited_trial_tells_next_to_nothing_and_that_is_said() -> None:
    said = list(with_audited(0.455).sentences())
    assert (
        "Condemned trials that would have been in the better half: 100.0% (1 of 1; 95 % interval 20.7% to 100.0%)."
        in said
    )
    assert "One audited trial tells next to nothing: read the interval, not the estimate." in said


def test_a_few_without_a_winner_do_not_make_a_pruner_safe() -> None:
    said = list(with_audited(0.0, 0.0, 0.0).sentences())
    assert (
        "3 audited trials are too few to call that safe: to be sure of less than 10% it takes 35 of them without a "
        "winner."
    ) in said
    assert not any("too few" in sentence for sentence in with_audited(*[0.0] * 35).sentences())


def test_so_many_trials_without_a_winner_bound_the_share_and_one_less_does_not() -> None:
    n = audited_for(0.1)
    assert wilson(0, n)[1] < 0.1 <= wilson(0, n - 1)[1]


def test_the_zero_rule_is_safe_from_when_every_trial_that_came_to_something_had_solved_a_puzzle() -> None:
    audit = with_audited(0.25, 0.0)
    assert (audit.zero_rule_safe_from(winners_only=False), audit.zero_rule_safe_from(winners_only=True)) == (40, 10)
    assert list(audit.sentences())[-1] == (
        "From epoch 40 on the zero rule would have ended no trial that ended above 0 %; from epoch 10 on none of the "
        "better half (5 trials that ran to their end, 2 of them audited)."
    )


def test_a_loss_has_no_zero_and_is_better_when_lower() -> None:
    audit = replace(with_audited(0.1, 0.5), metric="lm_loss", maximize=False)
    assert [trial.number for trial in audit.better] == [10]
    assert audit.above_zero is None
    assert "1 ended below the median of the others (0.3)." in audit.standing()
    assert first_above_zero([(10, 1.0)], "lm_loss") is None


def test_the_whole_audit_for_programs() -> None:
    found = with_audited(0.455, 0.0).to_mapping()
    assert found["above_median"] == [10]
    assert found["above_zero"] == [10]
    assert found["wrongly_condemned"]["n"] == 2
    assert set(found["winners_condemned"]) == {"share", "low", "high"}


def beside(audit: PrunerAudit, *others: PrunedTrial) -> PrunerAudit:
    return replace(audit, pruned_trials=[*audit.pruned_trials, *others])


def test_a_pruner_of_whose_trials_none_was_audited_is_not_spoken_for() -> None:
    audit = beside(with_audited(0.0, pruned=2), *pruned_by("median", 3))
    said = list(audit.sentences())
    assert (
        "By pruner: median: 3 condemned, 0 audited: whether it ends winners cannot be told; zero_accuracy: 3 "
        "condemned, 1 audited, 0 above the median (95 % interval 0% to 79%)."
    ) in said
    assert not any(sentence.startswith(("Condemned trials that", "So of all trials")) for sentence in said)
    assert audit.standing().endswith("0 above 0 %. That tells nothing of median (3 condemned).")
    told = audit.to_mapping()
    assert (told["wrongly_condemned"], told["winners_condemned"]) == (None, None)
    assert [(one["pruner"], one["condemned"], one["ended"]) for one in told["by_pruner"]] == [
        ("median", 3, 0),
        ("zero_accuracy", 3, 1),
    ]


def test_pruners_of_which_something_is_known_are_told_of_together_as_well() -> None:
    both = with_audited(0.0, 0.455, None, pruned=2)
    by_median = replace(both.audited[1], condemned_by="median at epoch 3: 0.1")
    audit = beside(replace(both, audited=[both.audited[0], by_median, both.audited[2]]), *pruned_by("median", 1))
    said = list(audit.sentences())
    assert (
        "By pruner: median: 2 condemned, 1 audited, 1 above the median (95 % interval 21% to 100%); zero_accuracy: 4 "
        "condemned, 2 audited, 1 to the end, 0 above the median (95 % interval 0% to 79%)."
    ) in said
    assert any(sentence.startswith("So of all trials in the better half pruners condemn") for sentence in said)
    assert "tells nothing" not in audit.standing()


def test_a_pruner_whose_audited_trial_still_runs_is_not_spoken_for_either() -> None:
    audit = beside(with_audited(None), *pruned_by("median", 1))
    said = [sentence for sentence in audit.sentences() if sentence.startswith("By pruner")]
    assert said[0].endswith("10 condemned, 1 audited, none to the end: whether it ends winners cannot be told.")


def test_a_constraint_is_no_pruner() -> None:
    audit = beside(with_audited(0.0), PrunedTrial(50, None, 20, 0.9))
    assert [one.name for one in audit.by_pruner] == ["zero_accuracy"]
    assert audit.near_misses == []
    assert not any(sentence.startswith("By pruner") for sentence in audit.sentences())


def test_the_best_pruned_trials_are_held_to_the_completed_ones_at_the_same_epoch() -> None:
    pruned = [PrunedTrial(30 + place, "median", 4, place / 10, [0.5, 0.9]) for place in range(5)]
    audit = replace(NOTHING, pruned_trials=[*pruned, PrunedTrial(40, "median", 2, 0.35), PrunedTrial(41, "median")])
    said = [sentence for sentence in audit.sentences() if sentence.startswith("Trial ")]
    assert [sentence.split()[1] for sentence in said] == ["34", "40", "33", "32", "31"]
    assert said[:2] == [
        "Trial 34 was pruned by median with 0.400 at epoch 4, where completed ones had 0.700 (median) to 0.900 (best).",
        "Trial 40 was pruned by median with 0.350 at epoch 2, at which no completed one was evaluated.",
    ]
    one = replace(NOTHING, pruned_trials=[PrunedTrial(7, "median", 4, 0.4, [0.5])])
    assert list(one.sentences())[-1].endswith("0.400 at epoch 4, where the completed one had 0.500.")


def test_the_least_loss_is_the_nearest_miss() -> None:
    pruned = [PrunedTrial(number, "median", 4, 1.0 + number, [0.5, 0.9, 1.5]) for number in range(7)]
    audit = replace(NOTHING, metric="lm_loss", maximize=False, pruned_trials=pruned)
    assert [trial.number for trial in audit.near_misses] == [0, 1, 2, 3, 4]
    assert any("had 0.900 (median) to 0.500 (best)" in sentence for sentence in audit.sentences())
