"""Trials that bring nothing: where in the search space they lie, and whether they are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from hrm_sweep.diagnosis.evidence import MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.regions import SIGNIFICANT, Concentration, Ending, Kind, cause_name, concentrations, endings_of
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.statistics import wilson
from hrm_sweep.diagnosis.study_evidence import End, StudyEvidence

TOO_MANY = 0.3
FEWEST_FOR_A_SHARE = 5  # 2 failures of 2 would do (the interval begins at 0.34), and are soon there by bad luck


@rule(severity=Severity.WARNING, causes=("too_many_failures", "fruitless_region"))
def failing_region(study: StudyEvidence) -> Outcome:
    """Trials fail for one cause in one region of the search space.

    ## What it sees
    The causes of failure of all attempts (nan, oom, config, ...) and the parameters of the trials. A trial that was
    tried again counts once.

    ## Why it matters
    A part of the search space that cannot work costs trials for as long as the study goes on: a sampler learns nothing
    from a failed trial, and goes there again.

    ## How it is decided
    Every parameter is split in two at every threshold between its values (50 at most), into a band and what lies
    outside (12 borders at most), or by each of its values where they have no order; and each split is tested by
    Fisher's exact test (two-sided) for each cause, each pruner and each leading finding that ended three trials or
    more. The p values of all these tests are corrected together by Holm's method, so that trying many thresholds is
    paid for: in studies without any structure 5 % at most report a region. It fires when the corrected p is 0.05 or
    less, at least half of the trials inside fail so, and three times as many as elsewhere.

    ## When it stays quiet
    With fewer than ten trials that have ended: unknown. When failures lie anywhere, see `too_many_failures`.

    ## What to do
    Leave the region out: `hrm-sweep diagnose --study NAME --write-space FILE` writes a search space without it, unless
    the best trials lie there too. For oom, a smaller batch or a machine with more memory does as well.

    ## Reference
    Fisher 1935, The Design of Experiments; Holm 1979, Scandinavian Journal of Statistics 6(2); docs/thresholds.md.
    """
    ended = study.need_ended()
    found = [each for each in concentrations(study) if each.ending.kind is Kind.CAUSE]
    if found:
        return fired(f"Of the {len(ended)} trials that have ended, {_told(found)}.", *_rows(found))
    failed = _counted(ending for trial in ended for ending in endings_of(trial) if ending.kind is Kind.CAUSE)
    if not failed:
        return clear(f"None of {len(ended)} trials failed.")
    return clear("Trials failed, but in no region more than chance explains.", *failed)


@rule(severity=Severity.ADVICE)
def fruitless_region(study: StudyEvidence) -> Outcome:
    """Trials of one region of the search space are pruned, or diagnosed with the same fault.

    ## What it sees
    Which pruner ended a trial (of the diagnosis pruner, which rule), and which rule leads the diagnosis of its run.

    ## Why it matters
    It says in terms of hyperparameters what the diagnosis of single runs can only say one by one: a learning rate below
    which nothing is learned, a number of ACT steps above which the time is too short.

    ## How it is decided
    By the same tests as `failing_region`, corrected together with them.

    ## When it stays quiet
    With fewer than ten trials that have ended: unknown. Where an ending comes with another one in the very same trials,
    only one of them is named.

    ## What to do
    Leave the region out, with `--write-space FILE`, or remove what makes it fruitless: `hrm-sweep diagnose` on one of
    its trials says more. A sampler such as TPE avoids it by itself after a while.

    ## Reference
    Fisher 1935; Holm 1979; docs/thresholds.md.
    """
    ended = study.need_ended()
    found = [each for each in concentrations(study) if each.ending.kind is not Kind.CAUSE]
    if found:
        return fired(f"Of the {len(ended)} trials that have ended, {_told(found)}.", *_rows(found))
    others = _counted(ending for trial in ended for ending in endings_of(trial) if ending.kind is not Kind.CAUSE)
    if not others:
        return clear(f"None of {len(ended)} trials was pruned or diagnosed with a fault.")
    return clear("Pruned and faulty trials lie in no region more than chance explains.", *others)


@rule(severity=Severity.WARNING)
def too_many_failures(study: StudyEvidence) -> Outcome:
    """Too many trials fail for the same cause.

    ## What it sees
    The cause for which the last attempt of each trial failed.

    ## Why it matters
    Some failures are the price of a wide search space. Where a third of the trials fail for one cause, something is
    wrong with the space, the data or the machine, and going on spends the budget on it.

    ## How it is decided
    It fires when the lower end of the 95 % interval (Wilson) of the share of ended trials that failed for one cause
    lies above 30 %: 4 of 5, 6 of 10, 11 of 20, 39 of 100.

    ## When it stays quiet
    With fewer than five trials that have ended: unknown. A trial that failed and succeeded when it was tried again is
    no failure.

    ## What to do
    Diagnose one of the trials that are named. nan: narrow the learning rate. oom: a smaller batch, fewer jobs at once.
    config, data, bug: end the study and mend it; no retry helps. killed, preempted, stalled: look at the machines.

    ## Reference
    Wilson 1927; a limit on failed trials is usual in sweep systems (Katib's maxFailedTrialCount, the max_failure_rate
    of Hydra's Optuna sweeper), though none of them looks at the cause."""
    ended = study.ended
    if len(ended) < FEWEST_FOR_A_SHARE:
        raise MissingEvidence(f"{FEWEST_FOR_A_SHARE} trials that have ended; there are {len(ended)}")
    failed: dict[str, list[int]] = {}
    for trial in ended:
        if trial.end is End.FAILED:
            failed.setdefault(cause_name(trial.failures[-1] if trial.failures else None), []).append(trial.number)
    if not failed:
        return clear(f"None of {len(ended)} trials failed.")
    ranked = sorted(failed.items(), key=lambda item: -len(item[1]))
    lows = [wilson(len(numbers), len(ended))[0] for _, numbers in ranked]
    rows = [
        EvidenceRow.above(f"{cause}: {len(numbers)} of {len(ended)} trials, lower end of the interval", low, TOO_MANY)
        for (cause, numbers), low in zip(ranked, lows, strict=True)
    ]
    if lows[0] <= TOO_MANY:
        return clear(f"{sum(map(len, failed.values()))} of {len(ended)} trials failed.", *rows)
    cause, numbers = ranked[0]
    return fired(f"{len(numbers)} of {len(ended)} trials failed ({cause}), trial {numbers[-1]} was the last.", *rows)


def _told(found: Sequence[Concentration]) -> str:
    return "; ".join(
        f"{each.inside[0]} of {each.inside[1]} with {each.region} {'' if each.ending.kind is Kind.CAUSE else 'were '}"
        f"{each.ending}, and {each.outside[0]} of {each.outside[1]} others"
        for each in found
    )


def _rows(found: Sequence[Concentration]) -> list[EvidenceRow]:
    return [EvidenceRow.below(f"{each} (p, corrected)", each.p, SIGNIFICANT) for each in found]


def _counted(endings: Iterable[Ending]) -> list[EvidenceRow]:
    return [EvidenceRow(f"trials {ending}", count) for ending, count in Counter(endings).most_common()]
