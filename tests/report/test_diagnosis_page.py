"""The page of a diagnosis: complete, self-contained, and safe with whatever a run directory holds."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from hrm_sweep.data.build import data_folder_for
from hrm_sweep.diagnosis import Verdict, all_rules, diagnose_run
from hrm_sweep.diagnosis.reference_bands import tiny_bands
from hrm_sweep.report.diagnosis_page import diagnosis_page, write_report
from hrm_sweep.report.quantities import home_of, place_of

FIXTURES = Path(__file__).parent.parent / "fixtures"
SUDOKU = FIXTURES / "sudoku-4x4"
VOID = {"meta", "br", "hr", "link", "img", "input"}


class Page(HTMLParser):
    """What a page consists of. Raises AssertionError where tags do not close in the order in which they opened."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []  # tag, name, value
        self.text = ""
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._see(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._see(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def _see(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def values(self, name: str) -> list[str]:
        return [value for _, each, value in self.attributes if each == name]

    def classes(self) -> Counter[str]:
        return Counter(each for value in self.values("class") for each in value.split())


Change = Callable[[dict[str, Any]], dict[str, Any] | None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(FIXTURES / "runs" / "healthy", tmp_path / "run"))


def change(run: Path, row: Change) -> Path:
    file = run / "metrics.jsonl"
    rows = [row(json.loads(line)) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(each) + "\n" for each in rows if each is not None))
    return run


def page_of(*runs: Path) -> Page:
    return Page(diagnosis_page([diagnose_run(run, data=SUDOKU, write=False) for run in runs]))


def test_every_rule_is_on_the_page_exactly_once(run: Path) -> None:
    assert sorted(page_of(run).values("data-rule")) == sorted(rule.id for rule in all_rules())


def test_the_page_fetches_nothing_and_runs_nothing(run: Path) -> None:
    content = diagnosis_page([diagnose_run(run, data=SUDOKU, write=False)])
    page = Page(content)
    assert not page.tags.keys() & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert page.values("src") == []
    assert all(value.startswith("#") for value in page.values("href"))
    assert not re.search(r"url\(|@import|https?:", content)


def test_identifiers_are_unique_and_links_lead_somewhere(run: Path) -> None:
    page = page_of(run, FIXTURES / "runs" / "recorded" / "dead" / "lr_out_of_range-lr1")
    identifiers = Counter(page.values("id"))
    assert identifiers.most_common(1)[0][1] == 1
    assert {value.removeprefix("#") for value in page.values("href")} <= identifiers.keys()
    for labelled in page.values("aria-labelledby"):
        assert set(labelled.split()) <= identifiers.keys()


def test_every_chart_has_words_for_those_who_cannot_see_it(run: Path) -> None:
    page = page_of(run)
    charts = page.values("role").count("img")
    assert charts == len(page.values("aria-labelledby")) == page.tags["desc"]
    assert charts == page.tags["figure"] == 12


def test_the_verdict_comes_first(run: Path) -> None:
    page = page_of(run)
    assert page.text.index("Healthy: no rule fired") < page.text.index("Puzzles solved")
    assert page.tags["h1"] == 1


def test_a_run_of_the_recorded_preset_is_drawn_on_its_bands(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    puzzles = tiny_bands().config.data
    assert puzzles is not None
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"data_path": str(data_folder_for(puzzles))}))
    page = Page(diagnosis_page([diagnose_run(run, write=False)]))
    assert page.classes()["area"] > 20
    assert "healthy runs of the preset hrm_v1_tiny, recorded with seeds" in page.text


def test_a_run_on_other_puzzles_is_compared_by_shape(run: Path) -> None:
    page = page_of(run)
    assert page.classes()["area"] > 10
    assert "compare shapes, not values" in page.text


def test_a_finding_stands_beside_its_curve_which_marks_its_evidence(run: Path) -> None:
    change(run, lambda row: row | {"lm_loss": 9.0} if row["step"] > 600 else row)
    diagnosis = diagnose_run(run, data=SUDOKU, write=False)
    page = Page(diagnosis_page([diagnosis]))
    assert diagnosis.leading is not None
    assert diagnosis.leading.rule == "exploding_loss"
    assert "#r1-exploding_loss" in page.values("href")  # the chip below the chart
    assert page.classes()["threshold"] > 0
    assert page.classes()["ring"] > 0
    assert "1 exploding_loss: lm_loss, median of the end 9" in page.text


def test_values_that_are_no_numbers_are_marked_and_never_drawn(run: Path) -> None:
    change(run, lambda row: row | {"lm_loss": "NaN", "q_halt_loss": "Infinity"} if row["step"] > 500 else row)
    content = diagnosis_page([diagnose_run(run, data=SUDOKU, write=False)])
    page = Page(content)
    assert page.classes()["gap"] == 3
    assert not [value for name in ("d", "cx", "cy", "x", "y") for value in page.values(name) if "n" in value]
    assert "train is NaN or infinite at 510" in page.text


def test_a_run_that_has_just_begun_has_a_page(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    page = page_of(run)
    assert "Cannot tell" in page.text
    assert "No metrics, no curves." in page.text


def test_a_run_without_a_single_readable_file_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("not json\n")
    (tmp_path / "config.yaml").write_text("lr: [")
    assert page_of(tmp_path).tags["figure"] == 0


def test_a_young_run_sees_what_healthy_runs_did_next(run: Path) -> None:
    change(run, lambda row: row if row["step"] <= 100 else None)
    ticks = re.findall(r'class="tick x">([\d,]+)<', diagnosis_page([diagnose_run(run, data=SUDOKU, write=False)]))
    assert max(int(tick.replace(",", "")) for tick in ticks) == 400


def test_checkpoints_of_the_reference_show_movement_and_what_thinking_longer_brings(tmp_path: Path) -> None:
    page = page_of(Path(shutil.copytree(FIXTURES / "official_runs" / "healthy", tmp_path / "reference")))
    assert "Movement between checkpoints" in page.text
    assert "Puzzles solved, by ACT steps" in page.text
    assert "step 936" in page.text


def test_several_runs_share_a_page(run: Path) -> None:
    page = page_of(run, FIXTURES / "runs" / "recorded" / "dead" / "lr_out_of_range-lr1")
    assert Counter(page.values("data-rule")) == Counter({rule.id: 2 for rule in all_rules()})
    assert page.text.index("2 runs") < page.text.index("Healthy") < page.text.index("Findings")


def test_a_page_of_fifty_thousand_rows_stays_small(run: Path) -> None:
    rows = (run / "metrics.jsonl").read_text().splitlines()
    train = [json.loads(row) for row in rows if '"train"' in row]
    lines = (json.dumps(train[n % len(train)] | {"step": 10 * (n + 1)}) for n in range(50_000))
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert len(diagnosis_page([diagnose_run(run, data=SUDOKU, write=False)])) < 500_000


HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>\"&amp;"


def test_what_a_run_directory_says_is_text(run: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config |= {"data_path": HOSTILE, "run_name": HOSTILE, "project_name": "\x00 \x85"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"state": "failed", "cause": "bug", "message": HOSTILE}))
    environment = json.loads((run / "environment.json").read_text())
    environment["packages"]["torch"] = HOSTILE
    (run / "environment.json").write_text(json.dumps(environment | {"device_name": HOSTILE}))
    row = {"grad_norm": {HOSTILE: 1.0}, HOSTILE: 2.0}
    page = page_of(change(run, lambda each: each | row))
    assert not page.tags.keys() & {"script", "img"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert HOSTILE in page.text


def test_the_report_of_a_run_lies_in_its_directory(run: Path) -> None:
    write_report(diagnose_run(run, data=SUDOKU))
    assert "Healthy" in (run / "report.html").read_text()
    assert not list(run.glob(".report*"))


def test_a_run_of_the_reference_is_left_as_it_is(tmp_path: Path) -> None:
    run = Path(shutil.copytree(FIXTURES / "official_runs" / "single_step", tmp_path / "reference"))
    before = sorted(run.iterdir())
    write_report(diagnose_run(run))
    assert sorted(run.iterdir()) == before


def test_a_report_that_cannot_be_written_is_no_error(run: Path) -> None:
    (run / "report.html").mkdir()
    write_report(diagnose_run(run, data=SUDOKU))
    assert list((run / "report.html").iterdir()) == []


@pytest.mark.parametrize("name", sorted(path.name for path in (FIXTURES / "runs" / "recorded" / "dead").iterdir()))
def test_what_calls_a_dead_run_sick_is_seen_on_a_curve_unless_it_is_no_curve(name: str) -> None:
    diagnosis = diagnose_run(FIXTURES / "runs" / "recorded" / "dead" / name, data=SUDOKU, write=False)
    page = Page(diagnosis_page([diagnosis]))
    for finding in diagnosis.findings:
        if finding.verdict is Verdict.FIRED:
            linked = f"#r1-{finding.rule}" in page.values("href")
            assert linked == (home_of(finding) is not None)
            assert linked or all(place_of(row) is None for row in finding.evidence)
