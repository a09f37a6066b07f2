"""What the dashboard says on a trial's page: verdict, evidence, remedy, what it cost, and where its files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hrm_sweep.diagnosis import Diagnosis, EvidenceRow, Finding
from hrm_sweep.report.markdown import code, plain, table
from hrm_sweep.report.progress import duration

_EVIDENCE_ROWS = 8  # the report has all of them


@dataclass(frozen=True)
class RunCost:
    """What a run took; None for what is not known.

    parameters   of the model, the puzzle embedding left out.
    train_flops  floating-point operations of its optimizer steps.
    seconds      of training.
    peak_bytes   the most memory it took.
    act_steps    mean number of ACT steps at halting, over the last fifth of the train rows.
    """

    parameters: int | None = None
    train_flops: float | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    act_steps: float | None = None


@dataclass(frozen=True)
class TrialNote:
    """One trial for its note.

    how_it_ended  in one line: complete, pruned and by what, failed and why.
    marks         what else is to be said of it first, for example whose remedy it is.
    diagnosis     None where there is none, or where the run goes on later.
    run_directory  as one would type it.
    picture, report  addresses of its curves and of its report, as the dashboard serves them.
    """

    how_it_ended: str
    marks: str
    diagnosis: Diagnosis | None
    cost: RunCost
    run_directory: str
    picture: str | None = None
    report: str | None = None

    def markdown(self) -> str:
        parts = [plain(self.marks), self.how_it_ended]
        if self.diagnosis is not None:
            parts.append(f"**{plain(self.diagnosis.verdict)}**")
        if self.picture is not None:
            parts.append(f"![curves]({self.picture})")
        leading = None if self.diagnosis is None else self.diagnosis.leading
        if leading is not None:
            parts += [plain(leading.explanation), _evidence(leading), _remedy(leading)]
        parts += [_cost(self.cost), self._places()]
        return "\n\n".join(part for part in parts if part)

    def _places(self) -> str:
        report = f"[report: all findings beside their curves]({self.report}) · " if self.report else ""
        return f"{report}run directory {code(self.run_directory)} · {code(f'hrm-sweep diagnose {self.run_directory}')}"


def _evidence(finding: Finding) -> str:
    rows = finding.evidence[:_EVIDENCE_ROWS]
    if not rows:
        return ""
    cells: Mapping[str, list[str]] = {
        "evidence": [plain(row.quantity) for row in rows],
        "step": ["" if row.step is None else f"{row.step:,}" for row in rows],
        "value": [_number(row.value) for row in rows],
        "threshold": [_number(row.threshold) for row in rows],
        "margin": ["" if row.margin is None else f"{row.margin:+.3g}" for row in rows],
    }
    shown = {name: column for name, column in cells.items() if any(column)}
    return table(list(shown), list(zip(*shown.values(), strict=True)))


def _number(value: EvidenceRow | float | int | str | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else plain(str(value))


def _remedy(finding: Finding) -> str:
    if not finding.remedy:
        return ""
    return "**remedy**: " + code(" ".join(f"{key}={_plain_number(value)}" for key, value in finding.remedy.items()))


def _plain_number(value: float | int | str | bool | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cost(cost: RunCost) -> str:
    known = [
        None if cost.parameters is None else f"{cost.parameters:,} parameters",
        None if cost.train_flops is None else f"{in_units(cost.train_flops)}FLOP of training",
        None if cost.seconds is None else duration(cost.seconds),
        None if cost.peak_bytes is None else f"{in_units(cost.peak_bytes)}B of memory at most",
        None if cost.act_steps is None else f"{cost.act_steps:.3g} ACT steps at the end",
    ]
    return ", ".join(part for part in known if part is not None)


def in_units(amount: float) -> str:
    """An amount with the prefix of its unit: `3.2 T`, `310 M`."""
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= factor:
            return f"{amount / factor:.3g} {prefix}"
    return f"{amount:.3g} "
