"""What the search itself can and cannot know: ranges that end too early, values that say nothing, winners by luck."""

from __future__ import annotations

from hrm_sweep.diagnosis.edges import best_trials, edges
from hrm_sweep.diagnosis.evidence import MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.regions import SIGNIFICANT
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.statistics import noise_of_difference
from hrm_sweep.diagnosis.study_evidence import LEAST_TRIALS, StudyEvidence, StudyTrial


@rule(severity=Severity.ADVICE)
def best_at_edge(study: StudyEvidence) -> Outcome:
    """The best trials lie at the end of a range, so better ones may lie beyond it.

    ## What it sees
    Where the best trials lie in each searched range, or list of three numbers or more; by ratio where the range is
    searched by ratio (log: true).

    ## Why it matters
    The best value at the end of a range is the best of what was allowed, not the best there is.

    ## How it is decided
    The best are the best fifth of the trials that completed or were pruned (three at least), and all that are as good
    within noise. It fires when the very best lies in the outer tenth of the range, more of the best in its outer fifth
    than chance would put there (binomial p of 0.05 or less, corrected by Holm's method for all ends of all ranges), and
    trials of the outer fifth beat trials from elsewhere in three of four pairs. In a list only its first or last number
    is its end.

    ## When it stays quiet
    At an end beyond which there is nothing (one cycle, a probability of 1). When more than half of the trials are as
    good as the best one within noise. With fewer than ten trials that completed or were pruned, or fewer than three
    that completed: unknown.

    ## What to do
    Widen the range: `hrm-sweep diagnose --study NAME --write-space FILE` writes a search space in which it goes on.
    More ACT steps, cycles or layers cost time in proportion.

    ## Reference
    Holm 1979, Scandinavian Journal of Statistics 6(2); docs/thresholds.md.
    """
    best = best_trials(study)
    tested = edges(study)
    found = [edge for edge in tested if edge.is_edge]
    rows = [EvidenceRow.below(f"{edge} (p, corrected)", edge.p, SIGNIFICANT) for edge in found or tested]
    if not found:
        if not tested:
            return clear("No range could go on, or most trials are as good as the best one within noise.")
        return clear(f"The best {len(best)} trials do not crowd at the end of any range.", *rows)
    names = " and ".join(f"the {edge.side.value} end of {edge.parameter.name}, {edge.bound:g}" for edge in found)
    return fired(
        f"The best of {len(study.ended)} trials, trial {best[0].number}, lies at {names}; so do others.", *rows
    )


@rule(severity=Severity.WARNING, causes=("no_clear_winner",))
def sampler_blind(study: StudyEvidence) -> Outcome:
    """All trials have the same value, so the sampler has nothing to go by.

    ## What it sees
    The value of each completed trial and the best evaluation of each pruned one.

    ## Why it matters
    A sampler learns from differences. Where every trial solves 0 puzzles, ten more are drawn as blindly as the first.

    ## How it is decided
    It fires when at least ten trials have a value and all values are equal; as advice where all of them solve
    everything.

    ## When it stays quiet
    As soon as one value differs. With fewer than ten values, and for a confirmation, which has no sampler: unknown.

    ## What to do
    Decide by something denser: `objective: {metric: accuracy}` counts cells, which rise long before the first whole
    puzzle is solved (`--write-space FILE` proposes that). Or train longer (epochs), or on easier puzzles. Where all
    trials solve everything, take harder puzzles, or stop earlier.

    ## Reference
    "Zero exact accuracy is where every healthy run begins": see `zero_exact_learning`.
    """
    study.need_search()
    values = [trial.objective for trial in study.ended if trial.objective is not None]
    if len(values) < LEAST_TRIALS:
        raise MissingEvidence(f"{LEAST_TRIALS} trials with a value; there are {len(values)}")
    low, high = min(values), max(values)
    row = EvidenceRow.below(f"{study.metric}, difference between best and worst", high - low, 0.0)
    if high > low:
        return clear(f"{study.metric} lies between {low:.3g} and {high:.3g} in {len(values)} trials.", row)
    solved = study.metric in ("accuracy", "exact_accuracy") and low >= 1
    return fired(
        f"{study.metric} is {low:.3g} in all {len(values)} trials. "
        + (
            "Every configuration solves everything, so none can be told from another."
            if solved
            else "Configurations that nearly learn look the same as those that never will."
        ),
        row,
        severity=Severity.ADVICE if solved else None,
    )


@rule(severity=Severity.ADVICE)
def no_clear_winner(study: StudyEvidence) -> Outcome:
    """The best trial is not better than others beyond noise.

    ## What it sees
    The best trial, the completed trials with other parameters, and among them the points that the search space names to
    be tried first, against the noise of the number of puzzles that each was evaluated on.

    ## Why it matters
    The best of many noisy values is partly the luckiest. With 200 puzzles, two trials of the same quality differ by up
    to ten points.

    ## How it is decided
    It fires when another configuration is within 1.96 standard errors of the difference between two shares of so many
    puzzles. This is the noise of the puzzles alone; another seed adds its own.

    ## When it stays quiet
    For a loss as objective, where the number of puzzles is not known, or with a single completed trial: unknown. So it
    is for a confirmation, whose trials differ by their seeds: its own verdict compares the configurations.

    ## What to do
    Train the best few again with other seeds (`hrm-sweep train trials/NAME/NUMBER/config.yaml seed=1`) before one is
    preferred; or take the cheapest of them. More puzzles in each evaluation (`eval_puzzles`) shrink the noise.

    ## Reference
    Standard error of a share, sqrt(p (1 - p) / n); see `evaluation_noise`.
    """
    study.need_search()
    ranked = study.need_ranked(2)
    best, puzzles = ranked[0], study.noise
    others = [trial for trial in ranked if dict(trial.values) != dict(best.values)]
    if not others:
        return clear("All trials have the same parameters.")
    tied = {trial.number for trial in study.ties(best)}
    level = [trial for trial in others if trial.number in tied]
    rows = [_against(study, best, other, puzzles) for other in (level[:4] or others[:1])]
    if not level:
        return clear(f"Trial {best.number} is better than every other configuration beyond noise.", *rows)
    baseline = next((trial for trial in level if trial.is_baseline), None)
    also = (
        f" So is trial {baseline.number}, which the search space names to be tried first: the search has not beaten it."
        if baseline is not None and not best.is_baseline
        else ""
    )
    return fired(
        f"{len(level)} of {len(others)} other configurations are as good as trial {best.number} within the noise of "
        f"{puzzles} puzzles.{also}",
        *rows,
    )


def _against(study: StudyEvidence, best: StudyTrial, other: StudyTrial, puzzles: int) -> EvidenceRow:
    assert best.objective is not None
    assert other.objective is not None
    return EvidenceRow.below(
        f"{best.objective:.3f} of trial {best.number}, {other.objective:.3f} of trial {other.number}: difference",
        abs(best.objective - other.objective),
        noise_of_difference(best.objective, other.objective, puzzles),
    )
