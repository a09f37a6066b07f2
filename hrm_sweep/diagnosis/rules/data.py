"""The puzzles: a batch that swallows them, an evaluation over nothing, a test set that leaks, labels that are wrong."""

from __future__ import annotations

from hrm_sweep.diagnosis.data_facts import SplitFacts
from hrm_sweep.diagnosis.evidence import Evidence, MissingEvidence
from hrm_sweep.diagnosis.finding import EvidenceRow, Severity
from hrm_sweep.diagnosis.registry import Outcome, clear, fired, rule
from hrm_sweep.diagnosis.remedies import MOST_DROPPED, smaller_batch, wider_interval

LEAKED_SHARE = 0.02  # docs/thresholds.md, train_test_overlap
CONTRADICTED_SHARE = 0.01
IGNORED_GIVENS_SHARE = 0.5
UNKNOWN_IDENTIFIERS_SHARE = 0.5
COPIED_EVERYTHING = 0.999


@rule(severity=Severity.ERROR, causes=("no_optimizer_steps", "zero_exact_dead", "crashed", "too_few_steps"))
def batch_swallows_data(run: Evidence) -> Outcome:
    """A batch is larger than the data of an evaluation interval, or wastes much of it.

    ## What it sees
    global_batch_size against the rows of one evaluation interval: eval_interval x groups x mean examples of a puzzle.

    ## Why it matters
    The last batch of an interval is dropped when it is not full. With a batch larger than the interval that is every
    batch: the reference trains nothing and says nothing. With a batch of a little more than half, nearly half of the
    data is never seen, and the learning-rate schedule is never completed.

    ## How it is decided
    As an error when an interval holds less than one batch; as advice when more than a fifth of an interval is dropped.

    ## When it stays quiet
    A batch may be larger than an *epoch* as long as the interval holds several: the published recipe draws 768 of 1000
    puzzles and evaluates every 2000 epochs.

    ## What to do
    Lower global_batch_size, or raise eval_interval.

    ## Reference
    sapientinc/HRM puzzle_dataset._iter_train drops partial batches in each interval.
    """
    config, facts = run.config, run.facts
    rows = config.eval_interval * facts.total_groups * facts.mean_puzzle_examples
    batch = config.global_batch_size
    row = EvidenceRow.above("global_batch_size, against rows in an interval", batch, rows)
    if batch > rows:
        return fired(
            f"One evaluation interval holds {rows:g} rows, fewer than the batch of {batch}: every batch is dropped.",
            row,
            remedy=smaller_batch(run),
        )
    dropped = 1 - int(rows / batch) * batch / rows
    share = EvidenceRow.above("share of an interval that is dropped", dropped, MOST_DROPPED)
    if dropped <= MOST_DROPPED:
        return clear(f"An interval holds {int(rows / batch)} batches; {dropped:.0%} of it is dropped.", row, share)
    return fired(
        f"Of the {rows:g} rows of an evaluation interval {dropped:.0%} are dropped, because they do not fill another "
        "batch "
        f"of {batch}.",
        row,
        share,
        remedy=wider_interval(run),
        severity=Severity.ADVICE,
        title="Much of the data of an evaluation interval is dropped",
    )


@rule(severity=Severity.WARNING)
def empty_evaluation(run: Evidence) -> Outcome:
    """There is nothing to evaluate on.

    ## What it sees
    The number of test puzzles, and the count of each evaluation row.

    ## Why it matters
    Means over nothing do not exist; the reference divides 0 by 0 and logs NaN. A pruner or a choice of the best trial
    then rests on nothing.

    ## How it is decided
    It fires when the test split is missing or empty, or when evaluation rows counted no puzzle.

    ## When it stays quiet
    NaN in an evaluation that counted puzzles is another fault: `non_finite`.

    ## What to do
    Give the data folder a test split, with at least one label that counts in every puzzle.

    ## Reference
    sapientinc/HRM pretrain.py divides by the count of evaluated puzzles without a check.
    """
    counts = run.evaluations.get("count")
    if counts is not None and len(counts):
        row = EvidenceRow.below("eval count", counts.last, 1, counts.last_step)
        if counts.last > 0:
            return clear(f"{counts.last:.0f} puzzles were evaluated.", row)
        return fired("The last evaluation counted no puzzle: no label of the test split counts.", row)
    if len(run.evaluations) and not run.evaluations.columns:
        return fired("The evaluation has no result.", EvidenceRow("evaluation rows", len(run.evaluations)))
    exact = run.evaluations.get("exact_accuracy")
    if exact is not None and len(exact.finite()):
        return clear("The evaluations have results.", EvidenceRow("eval exact_accuracy", exact.last, exact.last_step))
    facts = run.facts
    row = EvidenceRow.below("test examples", facts.test.examples, 1)
    if facts.test.is_empty:
        return fired(f"{facts.path / 'test'} holds no puzzle to evaluate on.", row)
    if facts.test.counted_share == 0:
        return fired("No label of the test split counts.", EvidenceRow.below("share of labels that count", 0.0, 0.0))
    return clear(f"The test split has {facts.test.examples} puzzles.", row)


@rule(severity=Severity.WARNING)
def train_test_overlap(run: Evidence) -> Outcome:
    """Test puzzles are training puzzles too.

    ## What it sees
    Up to 500 test inputs, looked up among all training inputs.

    ## Why it matters
    Accuracy on puzzles that were trained on is memory, not reasoning. A sweep would choose what memorises best.

    ## How it is decided
    It fires when at least 2 % of the test inputs are training inputs.

    ## When it stays quiet
    One or two equal puzzles happen by chance in small sets. Augmentations of a test puzzle in the training set are not
    looked for.

    ## What to do
    Build the data again from sources that do not share puzzles; `hrm-sweep data check DIR` looks at a folder.

    ## Reference
    docs/thresholds.md.
    """
    facts = run.facts
    if facts.overlap is None:
        raise MissingEvidence("test puzzles to look up")
    row = EvidenceRow.above("share of test puzzles that are training puzzles", facts.overlap, LEAKED_SHARE)
    if facts.overlap < LEAKED_SHARE:
        return clear(f"{facts.overlap:.1%} of the test puzzles are training puzzles.", row)
    return fired(
        f"{facts.overlap:.0%} of the test puzzles stand in the training set too, so the evaluation overstates what "
        "the model "
        "can do.",
        row,
    )


@rule(
    severity=Severity.ERROR,
    causes=("zero_exact_dead", "plateau", "overfit_gap", "loss_not_decreasing", "late_collapse"),
)
def labels_contradict_inputs(run: Evidence) -> Outcome:
    """Labels deny what the input shows.

    ## What it sees
    Tasks of filling in, such as sudoku: one symbol, the blank, is never a label. Every other cell of an input is given,
    and its label has to repeat it.

    ## Why it matters
    Shuffled or shifted labels cannot be learned; at best they are memorised. The loss falls to the entropy of the
    labels and stays there, which looks like a model that is too weak.

    ## How it is decided
    It fires when in the training or the test split 1 % of the given cells whose label counts have another label.

    ## When it stays quiet
    In tasks that are not of filling in (mazes, ARC) nothing can be said, and nothing is.

    ## What to do
    Build the data again. `hrm-sweep data show DIR` prints puzzles with their solutions.

    ## Reference
    DeepCrime's mutation "change labels" (Humbatova et al. 2021) is the classical form; docs/thresholds.md.
    """
    shares = [(name, split.contradicted) for name, split in _splits(run) if split.contradicted is not None]
    if not shares:
        return clear("This is no task of filling in blanks, so no label can contradict its input.")
    rows = [EvidenceRow.above(f"{name}: share of givens denied", share, CONTRADICTED_SHARE) for name, share in shares]
    worst = max(share for _, share in shares)
    if worst < CONTRADICTED_SHARE:
        return clear("Every label repeats what its input shows.", *rows)
    return fired(
        f"{worst:.0%} of the given cells have a label that denies them: labels and inputs do not belong together.",
        *rows,
    )


@rule(severity=Severity.WARNING)
def labels_teach_nothing(run: Evidence) -> Outcome:
    """The labels can be had without reasoning: all are equal, or all stand in the input.

    ## What it sees
    The labels that count, against each other and against the inputs.

    ## Why it matters
    Accuracy is then perfect within minutes and means nothing.

    ## How it is decided
    It fires when all labels that count are the same symbol, or 99.9 % of them stand in the input already.

    ## When it stays quiet
    Many given cells are fine, as long as some are to be found.

    ## What to do
    Build the data again: inputs and labels were probably written from the same array, or masked by the wrong one.

    ## Reference
    docs/thresholds.md.
    """
    rows, worst = [], False
    for name, split in _splits(run):
        rows.append(EvidenceRow.below(f"{name}: entropy of the labels, nats", split.label_entropy, 1e-6))
        rows.append(
            EvidenceRow.above(f"{name}: share of labels that stand in the input", split.copied_share, COPIED_EVERYTHING)
        )
        worst |= split.label_entropy <= 1e-6 or split.copied_share >= COPIED_EVERYTHING
    if not worst:
        return clear("There is something to find in every split.", *rows)
    return fired("All labels that count are equal, or stand in the input already: there is nothing to learn.", *rows)


@rule(severity=Severity.WARNING, causes=("act_collapsed",))  # cells that nothing holds drift from step to step
def givens_not_scored(run: Evidence) -> Outcome:
    """Given cells have no label, so the loss looks at the blanks only.

    ## What it sees
    Tasks of filling in, such as sudoku: the share of given cells whose label does not count.

    ## Why it matters
    In the published data every cell counts. Without the givens the model is not taught to keep them, cell accuracy is
    not comparable with any published number, and exact accuracy forgives a solution that overwrites what was given.

    ## How it is decided
    It fires when at least half of the given cells of a split have a label that is ignored.

    ## When it stays quiet
    In tasks that are not of filling in.

    ## What to do
    Write the full solution as the label; ignore_label_id 0 leaves padding out.

    ## Reference
    sapientinc/HRM dataset/build_sudoku_dataset.py labels every cell.
    """
    shares = [(name, split.ignored_givens) for name, split in _splits(run) if split.ignored_givens is not None]
    if not shares:
        return clear("This is no task of filling in blanks.")
    rows = [
        EvidenceRow.above(f"{name}: share of givens not scored", share, IGNORED_GIVENS_SHARE) for name, share in shares
    ]
    if max(share for _, share in shares) < IGNORED_GIVENS_SHARE:
        return clear("Given cells are scored too.", *rows)
    return fired("Given cells have no label that counts: loss and accuracy are those of the blanks alone.", *rows)


@rule(severity=Severity.WARNING)
def blank_identifiers(run: Evidence) -> Outcome:
    """Test puzzles have a puzzle identifier that was never trained.

    ## What it sees
    The puzzle identifiers of both splits, where there is more than one.

    ## Why it matters
    On ARC the identifier carries most of what the model knows about a task. A test puzzle with the blank identifier, or
    with one that no training puzzle has, meets an embedding of zeros: published models score 0 % that way.

    ## How it is decided
    It fires when at least half of the test examples have the blank identifier, or one that no training puzzle has.

    ## When it stays quiet
    Sudoku and mazes have one identifier for all.

    ## What to do
    Train on the demonstrations of the test tasks, as the published data does, so that their identifiers are trained.

    ## Reference
    SamsungSAILMontreal/TinyRecursiveModels#60.
    """
    facts = run.facts
    if facts.num_puzzle_identifiers == 1:
        return clear("There is one puzzle identifier for all puzzles.")
    if facts.unknown_identifiers is None:
        raise MissingEvidence("test puzzles")
    row = EvidenceRow.above(
        "share of test examples without a trained identifier", facts.unknown_identifiers, UNKNOWN_IDENTIFIERS_SHARE
    )
    if facts.unknown_identifiers < UNKNOWN_IDENTIFIERS_SHARE:
        return clear("Test puzzles have identifiers that are trained.", row)
    return fired(
        f"{facts.unknown_identifiers:.0%} of the test examples have an identifier that was never trained.", row
    )


def _splits(run: Evidence) -> list[tuple[str, SplitFacts]]:
    facts = run.facts
    return [(name, split) for name, split in (("train", facts.train), ("test", facts.test)) if not split.is_empty]
