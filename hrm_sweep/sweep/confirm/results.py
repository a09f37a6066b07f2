"""What the runs of a confirmation say: each candidate with its interval, the leader against the others, a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from optuna.trial import TrialState

from hrm_sweep.report.confirmation import (
    CandidateResult,
    ConfirmationReport,
    ConfirmedRun,
    Estimate,
    PairResult,
    PuzzlePair,
    Verdict,
)
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.confirm.entrants import Confirmation
from hrm_sweep.sweep.confirm.race import EndedRun, Out, Standing, advantage, paired, solved_rows, standing
from hrm_sweep.sweep.confirm.runs import SHARES, ended_runs, place_of, runs_left
from hrm_sweep.sweep.confirm.statistics import (
    Interval,
    compare_puzzles,
    improvement,
    interquartile_interval,
    interquartile_mean,
    mean_interval,
)
from hrm_sweep.sweep.study import Chain, Study

_Runs = Mapping[int, Sequence[EndedRun]]  # by the place of the candidate


def confirmation_report(study: Study) -> ConfirmationReport:
    """Look at a confirmation as it stands, finished or going on, from the storage alone."""
    plan = study.space.confirm
    assert plan is not None
    chains = study.chains()
    ended = ended_runs(study, plan, chains)
    now = standing(plan, ended)
    by_candidate: dict[int, list[EndedRun]] = {place: [] for place in range(len(plan.candidates))}
    for run in sorted(ended, key=lambda run: run.seed):
        by_candidate[run.candidate].append(run)
    order = _ranked(by_candidate, now)
    metric, sign = study.space.objective.metric, 1 if study.space.objective.goal == "maximize" else -1
    begun = len({place for chain in chains if (place := place_of(plan, chain.first)) is not None})
    left = runs_left(study, plan, chains)
    verdict = _verdict(by_candidate, now, is_done=left == 0 and begun == len(ended))
    scored = [place for place in now.remaining if _scores(by_candidate[place])]
    leading = [plan.candidates[place].name for place in order if place in scored]
    baseline = next((place for place, one in enumerate(plan.candidates) if one.is_baseline), None)
    made = {place: _runs(plan, place, study, chains, by_candidate[place], sign) for place in order}
    return ConfirmationReport(
        name=study.name,
        of=plan.of,
        metric=metric,
        maximize=sign > 0,
        seeds=len(plan.seeds),
        ended=len(ended),
        planned=begun + left,
        spared=len(plan.candidates) * len(plan.seeds) - begun - left,
        puzzles=_puzzles(chains),
        level=plan.level,
        verdict=verdict,
        leading=leading,
        candidates=[
            _candidate(plan, place, by_candidate, now, made[place], baseline, sign, metric, _flops(plan, place, chains))
            for place in order
        ],
        pairs=[
            _pair(plan, order[0], other, by_candidate, sign)
            for other in order[1:]
            if leading and _scores(by_candidate[other])
        ],
    )


def _scores(runs: Sequence[EndedRun]) -> list[float]:
    return [run.score for run in runs if run.score is not None]


def _ranked(runs: _Runs, now: Standing) -> list[int]:
    """Those in the race first, and the best of them first; those without a score last."""

    def rank(place: int) -> tuple[bool, bool, float, int]:
        scores = _scores(runs[place])
        return place in now.out, not scores, -float(np.mean(scores)) if scores else 0.0, place

    return sorted(runs, key=rank)


def _verdict(runs: _Runs, now: Standing, *, is_done: bool) -> Verdict:
    if not is_done:
        return Verdict.UNDECIDED
    if sum(bool(_scores(one)) for one in runs.values()) < 2:
        return Verdict.NOTHING
    return Verdict.WINNER if len(now.remaining) == 1 else Verdict.TIE


def _runs(
    plan: Confirmation, place: int, study: Study, chains: Sequence[Chain], ended: Sequence[EndedRun], sign: int
) -> list[ConfirmedRun]:
    scores = {run.seed: run.score for run in ended}
    found = []
    for chain in chains:
        where = place_of(plan, chain.first)
        if where is None or where[0] != place or where[1] not in scores:
            continue
        score = scores[where[1]]
        cause = None if chain.cause is None else str(chain.cause)
        found.append(
            ConfirmedRun(
                seed=plan.seeds[where[1]],
                trial=chain.first.number,
                score=None if score is None else sign * score,
                selection=chain.last.value if chain.last.state.name == "COMPLETE" else None,
                cause=cause,
            )
        )
    return sorted(found, key=lambda run: plan.seeds.index(run.seed))


def _puzzles(chains: Sequence[Chain]) -> int | None:
    known = [chain.last.user_attrs[attributes.UNSEEN] for chain in chains if attributes.UNSEEN in chain.last.user_attrs]
    return int(known[0]["puzzles"]) if known else None


def _flops(plan: Confirmation, place: int, chains: Sequence[Chain]) -> float | None:
    mine = [chain.last for chain in chains if (where := place_of(plan, chain.first)) is not None and where[0] == place]
    ended = [one.user_attrs for one in mine if one.state is TrialState.COMPLETE]
    known = [float(known[attributes.TRAIN_FLOPS]) for known in ended if attributes.TRAIN_FLOPS in known]
    return float(np.mean(known)) if known else None


def _candidate(
    plan: Confirmation,
    place: int,
    runs: _Runs,
    now: Standing,
    made: Sequence[ConfirmedRun],
    baseline: int | None,
    sign: int,
    metric: str,
    flops: float | None,
) -> CandidateResult:
    one, scores = plan.candidates[place], _scores(runs[place])
    confirmed = iqm = optimism = over = None
    if scores:
        confirmed = _signed(float(np.mean(scores)), mean_interval(scores), sign)
        if metric in SHARES:
            confirmed = _within(confirmed, 0.0, 1.0)
        iqm = _signed(float(interquartile_mean(np.array(scores))), interquartile_interval(scores), sign)
        if one.score is not None:
            optimism = _minus(one.score, confirmed, sign)
        if baseline is not None and baseline != place:
            over = _chance(scores, _scores(runs[baseline]))
    selection = [run.selection for run in made if run.selection is not None]
    return CandidateResult(
        name=one.name,
        trial=one.trial,
        is_baseline=one.is_baseline,
        values=one.values,
        search=one.score,
        runs=made,
        confirmed=confirmed,
        optimism=optimism,
        selection=float(np.mean(selection)) if selection else None,
        iqm=iqm,
        over_baseline=over,
        out=_why_out(plan, now.out[place]) if place in now.out else None,
        train_flops=flops,
    )


def _why_out(plan: Confirmation, out: Out) -> str:
    if out.by is None:
        return f"no score in {out.rounds} runs"
    p = "< 0.0001" if out.p is not None and out.p < 0.0001 else f"{out.p:.4f}"
    return f"beaten by {plan.candidates[out.by].name} after {out.rounds} seeds (p {p})"


def _pair(plan: Confirmation, first: int, second: int, runs: _Runs, sign: int) -> PairResult:
    found = advantage(runs[first], runs[second])
    ours, theirs = paired(runs[first], runs[second])
    rows = solved_rows([*ours, *theirs])
    puzzles = None
    if rows is not None and ours:
        one = compare_puzzles(rows[: len(ours)], rows[len(ours) :])
        difference = Estimate(one.difference, one.interval.low, one.interval.high)
        puzzles = PuzzlePair(one.puzzles, one.both, one.only_first, one.only_second, one.neither, difference)
    level = plan.level_at(plan.looks[-1])
    return PairResult(
        first=plan.candidates[first].name,
        second=plan.candidates[second].name,
        seeds=len(ours),
        difference=_signed(found.mean, found.interval(), sign),
        p=found.p,
        level=level,
        better=_chance(_scores(runs[first]), _scores(runs[second])),
        puzzles=puzzles,
        seeds_needed=found.seeds_needed(level),
    )


def _chance(scores: Sequence[float], over: Sequence[float]) -> Estimate | None:
    found = improvement(scores, over)
    return None if found is None else _signed(found[0], found[1], 1)


def _signed(value: float, interval: Interval | None, sign: int) -> Estimate:
    """In the metric's own direction: the race has higher scores for better ones."""
    if interval is None:
        return Estimate(sign * value)
    low, high = sorted((sign * interval.low, sign * interval.high))
    return Estimate(sign * value, low, high)


def _within(estimate: Estimate, low: float, high: float) -> Estimate:
    """With its interval cut to where the number can be: Student's knows nothing of that."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(estimate.value, max(low, estimate.low), min(high, estimate.high))


def _minus(search: float, confirmed: Estimate, sign: int) -> Estimate:
    """How much too good the search's score was. The interval is that of the confirmed mean."""
    ends = [] if confirmed.low is None or confirmed.high is None else [confirmed.low, confirmed.high]
    low, high = sorted(sign * (search - end) for end in ends) if ends else (None, None)
    return Estimate(sign * (search - confirmed.value), low, high)
