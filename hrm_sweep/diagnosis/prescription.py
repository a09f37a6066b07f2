"""What to change in the configuration of a sick run: the remedies of its findings, as far as they belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hrm_sweep.config import RunConfig
from hrm_sweep.diagnosis.engine import consequences
from hrm_sweep.diagnosis.finding import Finding, Overrides


@dataclass(frozen=True)
class Prescription:
    """Remedies to apply together.

    applied   the findings whose remedies are applied.
    left_out  the other sick findings, each with the reason.
    """

    applied: tuple[Finding, ...]
    left_out: tuple[tuple[Finding, str], ...] = ()

    @property
    def overrides(self) -> Overrides:
        return {key: value for finding in self.applied for key, value in (finding.remedy or {}).items()}


def prescribe(findings: Sequence[Finding]) -> Prescription:
    """The remedy of the leading finding, and of every other sick one that is a fault of its own.

    `findings` are ranked. A consequence of a fault that stands before it is left out, because the cause is treated; so
    is a remedy that changes a key that was changed already. Nothing is applied where the leading finding has no remedy:
    what is wrong then is not in the configuration.
    """
    sick = [finding for finding in findings if finding.is_sick]
    if not sick or not sick[0].remedy:
        return Prescription(())
    applied: list[Finding] = []
    left_out: list[tuple[Finding, str]] = []
    for position, finding in enumerate(sick):
        cause = next((before.rule for before in sick[:position] if finding.rule in consequences(before.rule)), None)
        changed = {key: before.rule for before in applied for key in before.remedy or {}}
        taken = [key for key in finding.remedy or {} if key in changed]
        if cause is not None:
            left_out.append((finding, f"a consequence of {cause}"))
        elif not finding.remedy:
            left_out.append((finding, "no configuration mends it"))
        elif taken:
            left_out.append((finding, f"{changed[taken[0]]} changes {taken[0]} already"))
        else:
            applied.append(finding)
    return Prescription(tuple(applied), tuple(left_out))


@dataclass(frozen=True)
class Change:
    """One key of a configuration that is changed, and what asks for it: a rule, or whoever typed the command."""

    key: str
    before: object
    after: object
    because: str


def changes(before: RunConfig, after: RunConfig, reasons: dict[str, str]) -> tuple[Change, ...]:
    """The keys of `reasons` (key to what asks for it) that differ between two configurations."""
    pairs = [(key, before.get(key), after.get(key), because) for key, because in reasons.items()]
    return tuple(Change(*pair) for pair in pairs if pair[1] != pair[2])
