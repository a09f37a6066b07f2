"""The rules: a decorator that registers a function, and a loader that finds all of them and distrusts each.

A rule is one function of Evidence in a file of diagnosis/rules/, or of StudyEvidence in a file of
diagnosis/study_rules/. Its docstring is its page in the catalogue: the first line names the fault, and the headings of
`HEADINGS` follow. A rule answers with `fired(...)` or `clear(...)`, or asks for data that is not there, which raises
MissingEvidence and becomes the verdict `unknown` in the engine.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from hrm_sweep.diagnosis.finding import EvidenceRow, Overrides, Severity, Verdict

HEADINGS = (
    "What it sees",
    "Why it matters",
    "How it is decided",
    "When it stays quiet",
    "What to do",
    "Reference",
)


@dataclass(frozen=True)
class Outcome:
    """What a rule function returns. `severity` and `title` replace those of the rule where a case differs."""

    verdict: Verdict
    explanation: str
    evidence: tuple[EvidenceRow, ...] = ()
    remedy: Overrides | None = None
    severity: Severity | None = None
    title: str | None = None


def fired(
    explanation: str,
    *evidence: EvidenceRow,
    remedy: Overrides | None = None,
    severity: Severity | None = None,
    title: str | None = None,
) -> Outcome:
    return Outcome(Verdict.FIRED, explanation, evidence, remedy, severity, title)


def clear(explanation: str, *evidence: EvidenceRow) -> Outcome:
    return Outcome(Verdict.CLEAR, explanation, evidence)


RuleFunction = Callable[[Any], Outcome]
"""Of Evidence or of StudyEvidence. `check_rules` holds every rule to one of the two, and `Rule.subject` tells which."""

_SUBJECTS = {"Evidence": "run", "StudyEvidence": "study"}


@dataclass(frozen=True)
class Rule:
    """A registered rule.

    fatal   whether a sweep may end a run on it, when it fires as an error.
    causes  ids of rules that fire as a consequence of this one; where both fire, this one is named first.
    """

    id: str
    family: str
    severity: Severity
    fatal: bool
    causes: tuple[str, ...]
    judge: RuleFunction

    @property
    def subject(self) -> str:
        """What the rule judges: run or study."""
        return _SUBJECTS[_parameter_types(self.judge)[0]]

    @property
    def title(self) -> str:
        return self._doc.splitlines()[0].rstrip(".")

    @property
    def reference(self) -> str:
        return " ".join(self.sections["Reference"].split())

    @property
    def sections(self) -> dict[str, str]:
        """The text below each heading of the docstring."""
        parts = re.split(r"^## (.+)$", self._doc, flags=re.MULTILINE)
        return {heading.strip(): text.strip() for heading, text in zip(parts[1::2], parts[2::2], strict=True)}

    @property
    def page(self) -> str:
        """The catalogue entry in Markdown."""
        head = f"# {self.id}\n\n{self.title}.\n\n"
        facts = f"Family: {self.family}. Severity: {self.severity.value}."
        facts += " It judges a study as a whole." if self.subject == "study" else ""
        facts += " A sweep ends a run on it, when it fires as an error." if self.fatal else ""
        body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in self.sections.items())
        return f"{head}{facts}\n\n{body}\n"

    @property
    def _doc(self) -> str:
        return inspect.getdoc(self.judge) or ""


_registered: list[Rule] = []


def rule(
    *, severity: Severity, fatal: bool = False, causes: Iterable[str] = ()
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a function as the rule of its own name; its family is the file it stands in."""

    def register(function: RuleFunction) -> RuleFunction:
        family = function.__module__.rpartition(".")[2]
        _registered.append(Rule(function.__name__, family, severity, fatal, tuple(causes), function))
        return function

    return register


@cache
def catalogue() -> tuple[Rule, ...]:
    """Every rule: those that judge runs, then those that judge studies, by family and in the order of its file.

    Raises TypeError for a rule that is not well formed.
    """
    for folder in ("rules", "study_rules"):
        package = importlib.import_module(f"hrm_sweep.diagnosis.{folder}")
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
            importlib.import_module(f"{package.__name__}.{module.name}")
    check_rules(_registered)
    return tuple(sorted(_registered, key=lambda known: (known.subject, known.family)))  # stable: keeps files in order


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule that judges a run."""
    return tuple(known for known in catalogue() if known.subject == "run")


@cache
def all_study_rules() -> tuple[Rule, ...]:
    """Every rule that judges a study."""
    return tuple(known for known in catalogue() if known.subject == "study")


def find_rule(rule_id: str) -> Rule | None:
    return next((known for known in catalogue() if known.id == rule_id), None)


def check_rules(rules: Iterable[Rule]) -> None:
    """Raises TypeError with file and line for a wrong signature, a missing heading, a doubtful or duplicate name."""
    rules = list(rules)
    ids = [known.id for known in rules]
    for known in rules:
        problem = _problem(known, ids)
        if problem:
            code = known.judge.__code__
            raise TypeError(f"{code.co_filename}:{code.co_firstlineno}: rule {known.id}: {problem}")


def _problem(known: Rule, ids: list[str]) -> str | None:
    signature = inspect.signature(known.judge)
    missing = [heading for heading in HEADINGS if not known.sections.get(heading)] if known.judge.__doc__ else HEADINGS
    strangers = [name for name in known.causes if name not in ids]
    if _parameter_types(known.judge) not in [[kind] for kind in _SUBJECTS] or signature.return_annotation != "Outcome":
        return f"expected the signature (run: Evidence) or (study: StudyEvidence) -> Outcome, found {signature}"
    if missing:
        return f"its docstring lacks the heading(s) {', '.join(missing)}"
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", known.id):
        return "its name is not snake_case"
    if ids.count(known.id) > 1:
        return "its name is taken by another rule"
    if strangers:
        return f"it names consequences that are no rules: {', '.join(strangers)}"
    return None


def _parameter_types(function: RuleFunction) -> list[str]:
    return [str(parameter.annotation) for parameter in inspect.signature(function).parameters.values()]
