"""Writes the pages of docs/ that are made from code (`make docs`); with --check, says which are out of date instead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from hrm_sweep.diagnosis import Rule, all_rules, all_study_rules, catalogue

DOCS = Path(__file__).resolve().parent
_MADE_BY = "<!-- made by `make docs`: edit the code, not this page -->\n\n"


def generated_pages() -> dict[Path, str]:
    """The content that each generated page should have, by path relative to docs/."""
    pages = {Path("cli.md"): command_line_page(), Path("rules/README.md"): rules_index()}
    pages |= {Path("rules") / f"{rule.id}.md": _MADE_BY + rule.page for rule in catalogue()}
    return pages


def command_line_page() -> str:
    """Every verb with its arguments and options, by Typer's own page maker."""
    command = [sys.executable, "-m", "typer", "hrm_sweep.cli.app", "utils", "docs", "--name", "hrm-sweep"]
    environment = {**os.environ, "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    page = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=environment).stdout
    return _MADE_BY + page.rstrip() + "\n"


def rules_index() -> str:
    """The tables of all rules, by family: of runs, then of studies."""
    runs = ["# Diagnosis rules", "", *_rules_table(all_rules())]
    studies = ["", "## Rules that judge a study", "", *_rules_table(all_study_rules())]
    return _MADE_BY + "\n".join(runs + studies) + "\n"


def _rules_table(rules: Iterable[Rule]) -> list[str]:
    head = ["| rule | family | severity | what it names |", "|---|---|---|---|"]
    return head + [
        f"| [{rule.id}]({rule.id}.md) | {rule.family} | {rule.severity.value} | {rule.title} |" for rule in rules
    ]


def out_of_date(pages: dict[Path, str]) -> list[str]:
    """What differs on disk: pages that are missing or old, and rule pages whose rule is gone."""
    problems = []
    for path, content in pages.items():
        written = DOCS / path
        if not written.is_file():
            problems.append(f"docs/{path}: missing")
        elif written.read_text(encoding="utf-8") != content:
            problems.append(f"docs/{path}: out of date")
    gone = [path for path in sorted((DOCS / "rules").glob("*.md")) if path.relative_to(DOCS) not in pages]
    return problems + [f"docs/rules/{path.name}: there is no such rule any more" for path in gone]


def write(pages: dict[Path, str]) -> None:
    (DOCS / "rules").mkdir(exist_ok=True)
    for path in (DOCS / "rules").glob("*.md"):
        if path.relative_to(DOCS) not in pages:
            path.unlink()
    for path, content in pages.items():
        (DOCS / path).write_text(content, encoding="utf-8")


def main() -> None:
    pages = generated_pages()
    if "--check" not in sys.argv[1:]:
        write(pages)
        return
    problems = out_of_date(pages)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit("generated pages are out of date: run `make docs` and commit what it wrote")


if __name__ == "__main__":
    main()
