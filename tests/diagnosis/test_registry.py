"""The loader finds every rule and refuses one that is not well formed."""

from __future__ import annotations

from typing import Any

import pytest

from hrm_sweep.diagnosis.finding import Severity
from hrm_sweep.diagnosis.registry import HEADINGS, Rule, catalogue, check_rules, clear, find_rule

DOC = "A fault.\n\n" + "\n\n".join(f"## {heading}\ntext" for heading in HEADINGS)


def make(
    doc: str | None = DOC, name: str = "some_fault", annotations: Any = None, causes: tuple[str, ...] = ()
) -> Rule:
    def judge(run):  # type: ignore[no-untyped-def]
        return clear("")

    judge.__doc__ = doc
    judge.__annotations__ = {"run": "Evidence", "return": "Outcome"} if annotations is None else annotations
    return Rule(name, "family", Severity.ERROR, False, causes, judge)


def test_a_well_formed_rule_is_accepted() -> None:
    check_rules([make()])


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (make(doc=None), "lacks the heading"),
        (make(doc=DOC.replace("## What to do\ntext", "")), "What to do"),
        (make(doc=DOC.replace("## Reference\ntext", "## Reference\n")), "Reference"),
        (make(annotations={"run": "int", "return": "Outcome"}), "expected the signature"),
        (make(annotations={"run": "Evidence"}), "expected the signature"),
        (make(name="Some-Fault"), "snake_case"),
        (make(causes=("no_such_rule",)), "no_such_rule"),
    ],
)
def test_a_malformed_rule_is_refused_with_its_place(rule: Rule, complaint: str) -> None:
    with pytest.raises(TypeError, match=rf"test_registry\.py:\d+: rule .*{complaint}"):
        check_rules([rule])


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="taken by another rule"):
        check_rules([make(), make()])


@pytest.mark.parametrize("rule", catalogue(), ids=lambda rule: rule.id)
def test_every_rule_has_a_page_of_its_own(rule: Rule) -> None:
    assert rule.page.startswith(f"# {rule.id}\n\n{rule.title}.\n")
    assert len(rule.title) <= 110
    assert find_rule(rule.id) is rule
