"""The audit in words: above all what few audited trials allow to say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hrm_sweep.evaluation.share import wilson
from hrm_sweep.report.audit import AuditedTrial, PrunerAudit, RanToItsEnd, audited_for, first_above_zero

NOTHING = PrunerAudit("exact_accuracy", True, 0.1, 0, [], [], 0.0, 0.0, 0.0)
KEPT = [RanToItsEnd(number, value, False, 10) for number, value in enumerate((0.2, 0.3, 0.4))]


def with_audited(*values: float | None, pruned: int = 9, kept: int = 3) -> PrunerAudit:
    """Trials that zero_accuracy condemned at epoch 20; None is still running."""
    numbered = list(enumerate(values, start=10))
    audited = [
        AuditedTrial(number, "zero_accuracy at epoch 20: dead", 20, "running" if value is None else "complete", value)
        for number, value in numbered
    ]
    ended = [RanToItsEnd(number, value, True, 40 if value else None) for number, value in numbered if value is not None]
    return replace(NOTHING, pruned=pruned, audited=audited, completed=[*KEPT[:kept], *ended])


def test_where_nothing_was_condemned_nothing_is_said() -> None:
    assert NOTHING.standing() == ""


STANDINGS = [
    (
        replace(NOTHING, pruned=1, share=0.0),
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
