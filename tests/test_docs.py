"""The documentation cannot drift: verbs have help and an example, generated pages are fresh, links resolve."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from hrm_sweep.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "trials").glob("README.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def shown_verbs() -> Iterator[tuple[str, str]]:
    """(full name, help text) of every verb on the help screens."""
    waiting = [("hrm-sweep", get_command(app))]
    while waiting:
        name, command = waiting.pop()
        inner = {verb: command for verb, command in getattr(command, "commands", {}).items() if not command.hidden}
        if not inner:
            yield name, command.help or ""
        waiting += [(f"{name} {verb}", child) for verb, child in inner.items()]


VERBS = dict(sorted(shown_verbs()))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does_and_shows_an_example(verb: str) -> None:
    text = VERBS[verb]
    first = text.splitlines()[0] if text else ""
    assert first.endswith("."), f"{verb}: the first line of its help is {first!r}, expected a sentence"
    examples = re.findall(r"^Example: (.+)$", text, re.MULTILINE)
    assert examples, f"{verb}: its help shows no line `Example: {verb} ...`"
    for example in examples:
        assert shlex.split(example)[: len(verb.split())] == verb.split()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_reference(verb: str) -> None:
    assert f"\n## `{verb}`\n" in (ROOT / "docs" / "cli.md").read_text() or (
        f"\n### `{verb}`\n" in (ROOT / "docs" / "cli.md").read_text()
    )


def test_generated_pages_are_fresh() -> None:
    generate = module_at(ROOT / "docs" / "generate.py")
    assert generate.out_of_date(generate.generated_pages()) == []


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"page_maker_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def anchors_of(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_resolve() -> None:
    broken = []
    for page, target in links():
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        inside = goal.is_relative_to(ROOT) and goal.exists()
        if not inside or (anchor and goal.suffix == ".md" and anchor not in anchors_of(goal)):
            broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_there_are_links_to_follow() -> None:
    assert sum(1 for _ in links()) > 5


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs"], ids=lambda page: page.name)
def test_paths_of_the_repository_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`((?:hrm_sweep|tests|docs|search_spaces|\.ci)/[^`\s*<]*)`", page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_architecture_names_every_room_and_no_other() -> None:
    table = (ROOT / "docs" / "architecture.md").read_text().partition("## The nouns")[0]
    named = set(re.findall(r"^\| `(hrm_sweep/[\w.]+/?)` \|", table, re.MULTILINE))
    rooms = {f"hrm_sweep/{path.parent.name}/" for path in (ROOT / "hrm_sweep").glob("*/__init__.py")}
    assert named == rooms | {"hrm_sweep/errors.py"}
