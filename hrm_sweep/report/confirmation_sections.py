"""The words and tables of a confirmation, for terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hrm_sweep.evaluation.share import is_share
from hrm_sweep.report.confirmation import CandidateResult, ConfirmationReport, Estimate, PairResult, Verdict
from hrm_sweep.report.section import Cell, Grid, Section
from hrm_sweep.report.terminal import spelled


def confirmation_sections(report: ConfirmationReport) -> list[Section]:
    """What is confirmed, the scores of the search beside the confirmed ones, the leader against the others."""
    parts = [
        Section("confirmed", f"Confirmed on fresh seeds: {_headline(report)}", list(confirmation_words(report))),
        Section(
            "confirmed_scores",
            "Scores of the search beside confirmed scores",
            _on_scores(report),
            _scores(report),
            _candidates(report),
        ),
        Section("confirmed_robust", "Without the extremes, and against the baseline", _on_robust(), _robust(report)),
    ]
    if report.pairs:
        leader = report.pairs[0].first
        parts.append(Section("confirmed_pairs", f"{leader} against the others", _on_pairs(report), _pairs(report)))
    return parts


def _headline(report: ConfirmationReport) -> str:
    match report.verdict:
        case Verdict.WINNER:
            return f"{report.leading[0]} wins" if report.leading else "nobody wins"
        case Verdict.TIE:
            return "a tie"
        case Verdict.UNDECIDED:
            return "not decided yet"
    return "nothing"


def confirmation_words(report: ConfirmationReport) -> Iterator[str]:
    """The verdict and what it rests on, a sentence each."""
    yield from _verdict(report)
    leader = report.leader
    if leader is not None and leader.confirmed is not None:
        if leader.search is not None and leader.optimism is not None:
            again = (
                ""
                if leader.selection is None
                else f", {score(report, leader.selection)} on its puzzles with fresh seeds"
            )
            yield (
                f"{leader.title}: {score(report, leader.search)} in the search{again}, and "
                f"{_with_interval(report, leader.confirmed)} with fresh seeds on unseen puzzles."
            )
        else:
            yield f"{leader.title}: {_with_interval(report, leader.confirmed)} with fresh seeds on unseen puzzles."
        yield from _against_baseline(report, leader)
    spared = f"; the race spared {report.spared}" if report.spared else ""
    measured = (
        "" if report.puzzles is None else f", each measured on {report.puzzles:,} puzzles that no choice was made by"
    )
    yield f"{report.ended} of {report.planned} runs have ended{measured}{spared}."
    lost = [f"{one.name} seed {run.seed}: {run.cause}" for one in report.candidates for run in one.runs if run.cause]
    if lost:
        yield f"Failed: {', '.join(lost)}. A run that diverged counts as one that solves nothing, others are left out."


def _verdict(report: ConfirmationReport) -> Iterator[str]:
    level = f"{report.level:.0%} for all comparisons and looks together"
    match report.verdict:
        case Verdict.UNDECIDED:
            yield f"Not decided: {report.planned - report.ended} runs are still to end."
        case Verdict.NOTHING:
            only = f"Only {report.leading[0]}" if report.leading else "No run"
            yield f"{only} gave a score, so nothing was compared, and nothing is confirmed."
        case Verdict.WINNER if report.leading:
            silent = [one.name for one in report.candidates if one.confirmed is None]
            others = f"every other one that gave a score (not {_listed(silent)})" if silent else "every other one"
            yield f"Winner: {report.leading[0]}; {others} is beaten (level {level})."
        case Verdict.WINNER:
            yield "Every candidate but one is out, and that one has no score."
        case Verdict.TIE:
            yield (f"Tie: {_listed(report.leading)} cannot be told apart with {report.seeds} seeds (level {level}).")
            yield from _how_many_seeds(report)


def _how_many_seeds(report: ConfirmationReport) -> Iterator[str]:
    for pair in report.pairs:
        if pair.second in report.leading:
            ahead = f"{pair.first} is {_points(report, _lead(report, pair).value)} ahead of {pair.second}"
            if pair.difference.value == 0:
                yield f"{pair.first} and {pair.second} score alike."
            elif pair.seeds_needed is None:
                yield f"{ahead}; no number of seeds up to 1,000 would tell a difference of that size on these puzzles."
            else:
                yield f"{ahead}; it takes about {pair.seeds_needed} seeds to tell a difference of that size."


def _lead(report: ConfirmationReport, pair: PairResult) -> Estimate:
    """By how much the first is better, whichever way the metric is."""
    found = pair.difference
    if report.maximize:
        return found
    return Estimate(
        -found.value, None if found.high is None else -found.high, None if found.low is None else -found.low
    )


def _against_baseline(report: ConfirmationReport, leader: CandidateResult) -> Iterator[str]:
    if leader.is_baseline:
        yield "That is the baseline: the search has found nothing that is known to be better."
        return
    if leader.over_baseline is not None:
        chance = leader.over_baseline
        yield f"A run of it beats one of the baseline with a chance of {_chance(chance)}."


def _on_scores(report: ConfirmationReport) -> list[str]:
    how = "the highest" if report.maximize else "the lowest"
    points = ", in points" if is_share(report.metric) else ""
    return [
        f"The search takes {how} of many scores, and so flatters what it chooses: by how much its score is better than "
        f"the confirmed one{points}. Intervals are Student's, over seeds."
    ]


def _scores(report: ConfirmationReport) -> Grid:
    rows = [
        (
            Cell(one.name),
            Cell(score(report, one.search), one.search),
            Cell(_with_interval(report, one.confirmed), _value(one.confirmed)),
            Cell(_gap(report, one.optimism), _value(one.optimism)),
            Cell(str(one.seeds), one.seeds),
            Cell("in" if one.out is None else "out"),
        )
        for one in report.candidates
    ]
    return Grid(("candidate", "search", "confirmed (95 %)", "flattered by (95 %)", "seeds", "race"), rows)


def _candidates(report: ConfirmationReport) -> list[str]:
    """A line for each: what it is, and why it is out."""
    lines = []
    for one in report.candidates:
        what = spelled(one.values) or "as in the base"
        lines.append(f"{one.title}: {what}" + ("" if one.out is None else f"; {one.out}"))
    return lines


def _on_robust() -> list[str]:
    return [
        "The interquartile mean leaves out a quarter of the seeds at either end; its interval and that of the chance "
        "are bootstraps over seeds, given from five seeds on, and too narrow for few of them."
    ]


def _robust(report: ConfirmationReport) -> Grid:
    rows = [
        (
            Cell(one.name),
            Cell(_with_interval(report, one.iqm), _value(one.iqm)),
            Cell(_chance(one.over_baseline), _value(one.over_baseline)),
            Cell("" if one.train_flops is None else f"{one.train_flops:.3g}", one.train_flops),
        )
        for one in report.candidates
    ]
    return Grid(("candidate", "interquartile mean", "chance to beat the baseline", "FLOP a run"), rows)


def _on_pairs(report: ConfirmationReport) -> list[str]:
    level = report.pairs[0].level
    yes = any(pair.puzzles is not None for pair in report.pairs)
    puzzles = "only it, only other: puzzles that one solves and not the other, by runs of one seed; " if yes else ""
    return [
        f"p: one-sided, over seeds and puzzles, {level:.2g} is needed at the last look; better: the chance that a run "
        f"of it beats one of the other; {puzzles}to tell: seeds that it takes for a difference of this size."
    ]


def _pairs(report: ConfirmationReport) -> Grid:
    headings = ("against", "ahead by (95 %)", "p", "better", "only it", "only other", "to tell")
    return Grid(headings, [_pair(report, pair) for pair in report.pairs])


def _pair(report: ConfirmationReport, pair: PairResult) -> tuple[Cell, ...]:
    puzzles = pair.puzzles
    return (
        Cell(pair.second),
        Cell(_gap(report, _lead(report, pair)), _lead(report, pair).value),
        Cell("< 1e-4" if pair.p < 1e-4 else f"{pair.p:.4f}" if pair.p < 0.1 else f"{pair.p:.2f}", pair.p),
        Cell("" if pair.better is None else f"{pair.better.value:.0%}", _value(pair.better)),
        Cell("" if puzzles is None else f"{puzzles.only_first:.1f}", None if puzzles is None else puzzles.only_first),
        Cell("" if puzzles is None else f"{puzzles.only_second:.1f}", None if puzzles is None else puzzles.only_second),
        _needed(pair) if pair.second in report.leading else Cell("told"),
    )


def _needed(pair: PairResult) -> Cell:
    return Cell("> 1,000") if pair.seeds_needed is None else Cell(str(pair.seeds_needed), pair.seeds_needed)


# Numbers --------------------------------------------------------------------------------------------------------------


def score(report: ConfirmationReport, value: float | None) -> str:
    """`84.5%` of a share of puzzles, four digits of anything else."""
    if value is None:
        return ""
    return f"{value:.1%}" if is_share(report.metric) else f"{value:.4g}"


def _points(report: ConfirmationReport, value: float) -> str:
    return f"{100 * value:.1f} points" if is_share(report.metric) else f"{value:.3g}"


def _gap(report: ConfirmationReport, estimate: Estimate | None) -> str:
    """`+3.5 (-0.1 to 7.2)`."""
    if estimate is None:
        return ""
    value = f"{100 * estimate.value:+.1f}" if is_share(report.metric) else f"{estimate.value:+.3g}"
    interval = _interval(report, estimate)
    return f"{value} ({interval})" if interval else value


def _with_interval(report: ConfirmationReport, estimate: Estimate | None) -> str:
    """`84.5% (80.1 to 88.9)`."""
    if estimate is None:
        return ""
    interval = _interval(report, estimate)
    return score(report, estimate.value) + (f" ({interval})" if interval else "")


def _interval(report: ConfirmationReport, estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    if is_share(report.metric):
        return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"
    return f"{estimate.low:.4g} to {estimate.high:.4g}"


def _chance(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.0%}"
    return f"{estimate.value:.0%} ({100 * estimate.low:.0f} to {100 * estimate.high:.0f})"


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
