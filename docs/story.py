"""Tells one real story from beginning to end: a space is planned, swept, audited, diagnosed and confirmed.

    make story        or: python docs/story.py [--folder build/story]

It runs the commands in a folder of its own, and writes docs/story.md, the pictures docs/images/story_* and the part of
README.md between the two marks: every number there comes from these commands. Under half an hour on two cores;
interrupted, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from picture import picture

ROOT = Path(__file__).resolve().parents[1]
PAGE, IMAGES, README = ROOT / "docs" / "story.md", ROOT / "docs" / "images", ROOT / "README.md"
BEGIN, END = "<!-- story: written by make story -->\n", "<!-- end of story -->\n"
COLUMNS = 110

SPACE, TRIALS, TOP, SEEDS = "story", 16, 2, 5
PLAN = f"hrm-sweep plan {SPACE}.yaml"
RUN = f"hrm-sweep run {SPACE}.yaml"
AUDIT = f"hrm-sweep audit {SPACE}"
CONFIRM = f"hrm-sweep confirm {SPACE} --top {TOP} --seeds {SEEDS}"


@dataclass(frozen=True)
class Stage:
    """The folder in which the story happens."""

    folder: Path

    def do(self, command: str) -> float:
        """Run a command that works for long, unless it has ended before; the seconds that it took, with those of calls
        that were interrupted."""
        clock = self.folder / "seconds.json"
        known: dict[str, Any] = json.loads(clock.read_text()) if clock.is_file() else {}
        spent, has_ended = known.get(command, (0.0, False))
        if not has_ended:
            self._say(command)
            began = time.monotonic()
            try:
                subprocess.run(shlex.split(command), cwd=self.folder, check=True)
                has_ended = True
            finally:
                spent += time.monotonic() - began
                clock.write_text(json.dumps({**known, command: (spent, has_ended)}))
        return float(spent)

    def show(self, name: str, command: str, alternative: str) -> str:
        """Draw what a command prints; the line of Markdown that shows it."""
        self._say(command)
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            picture(IMAGES / f"story_{name}.svg", COLUMNS, shlex.split(command))
        finally:
            os.chdir(before)
        return f"![{alternative}](images/story_{name}.svg)"

    def ask(self, command: str) -> Any:
        """What a command answers as JSON."""
        done = subprocess.run(shlex.split(command), cwd=self.folder, check=True, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    @staticmethod
    def _say(command: str) -> None:
        print(f"$ {command}", flush=True)


def spelled(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def estimate(given: Mapping[str, float | None] | None) -> str:
    """`83.1 % (80.2 to 86.0)`."""
    if given is None or given["value"] is None:
        return "unknown"
    low, high = given["low"], given["high"]
    interval = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"{100 * given['value']:.1f} %{interval}"


def _row(candidate: Mapping[str, Any]) -> str:
    searched, name = candidate["search"], candidate["name"]
    baseline = " (the baseline)" if candidate["baseline"] and name != "baseline" else ""
    score = "not tried" if searched is None else f"{100 * searched:.1f} %"
    return f"| {name}{baseline} | {score} | {estimate(candidate['confirmed'])} | {len(candidate['runs'])} |"


def write_space(folder: Path) -> None:
    """The quickstart space with more trials, under a name of its own."""
    text = (ROOT / "search_spaces" / "quickstart.yaml").read_text()
    body = text[text.index("name: quickstart") :].replace("name: quickstart", f"name: {SPACE}")
    before = "budget: {trials: 8}"
    assert before in body
    (folder / f"{SPACE}.yaml").write_text(body.replace(before, f"budget: {{trials: {TRIALS}}}"))


def tell(stage: Stage) -> None:
    write_space(stage.folder)
    plan_picture = stage.show("plan", PLAN, "What plan says before anything is trained")
    plan = stage.ask(f"{PLAN} --json")
    search_s = stage.do(RUN)
    run_picture = stage.show("run", RUN, "The end of the search")
    audit_picture = stage.show("audit", AUDIT, "What the pruners saved, and whom they ended")
    subprocess.run(
        ["hrm-sweep", "audit", SPACE, "--png", str(IMAGES / "story_pruners.png")], cwd=stage.folder, check=True
    )
    subprocess.run(["hrm-sweep", "report", SPACE, "--json", "report.json"], cwd=stage.folder, check=True)
    report = json.loads((stage.folder / "report.json").read_text())
    pruned = next(trial for trial in report["trials"] if trial["state"] == "pruned")
    diagnose = f"hrm-sweep diagnose trials/{SPACE}/{pruned['trial']:04d}"
    diagnose_picture = stage.show("diagnose", diagnose, "Why that trial was pruned")
    confirm_s = stage.do(CONFIRM)
    confirm_picture = stage.show("confirm", CONFIRM, "Search score and confirmed score")
    confirmed = stage.ask(f"{CONFIRM} --json")

    rows = [_row(one) for one in confirmed["candidates"]]
    table = "\n".join(["| configuration | in the search | confirmed | runs |", "|---|---|---|---|", *rows])
    seconds = plan["study_seconds"]
    foretold = "nothing, for the machine was not measured" if seconds is None else spelled(seconds)
    facts = (
        f"Planned: {foretold} for {TRIALS} trials, were none pruned. Searched: {spelled(search_s)}. "
        f"Confirmed with {confirmed['runs']['ended']} runs on {SEEDS} fresh seeds: {spelled(confirm_s)}. "
        f"The verdict: **{confirmed['verdict']}**"
        + (f", leading {' and '.join(confirmed['leading'])}." if confirmed["leading"] else ".")
    )
    when, trained = datetime.date.today().isoformat(), spelled(search_s + confirm_s)
    PAGE.write_text(f"""# A story: planned, swept, audited, diagnosed, confirmed

Written by `make story` on {when}; training took {trained} on {os.cpu_count()} cores. It writes this page,
its pictures and the numbers in the README anew from the commands below, which are all there is to it. The space is
`quickstart` with {TRIALS} trials: HRMs of 0.44 M parameters on 4x4 sudoku.

{facts}

## What will it cost, and can it work?

`{PLAN}` answers before anything is trained ([planning.md](planning.md)).

{plan_picture}

## The search

`{RUN}` ends with the best configuration and its score on puzzles that selection never saw.

{run_picture}

## Did the pruners end a winner?

One in ten of the trials that a pruner condemns goes on, at least one of the first five (`audit: 0.1` in the space).
`{AUDIT}` says what became of them, and what other pruners would have done to the recorded curves
([audit.md](audit.md)).

{audit_picture}

![Compute saved against winners lost](images/story_pruners.png)

## What is wrong with a trial?

`{diagnose}` looks at the first trial that was pruned ([diagnosis.md](diagnosis.md)).

{diagnose_picture}

## Is the winner real, or was it lucky?

`{CONFIRM}` trains the {TOP} best configurations and the baseline on {SEEDS} seeds that the search never used, and
measures them on puzzles by which nothing was chosen ([confirm.md](confirm.md)). In brackets: 95 % intervals.

{table}

{confirm_picture}
""")
    readme = README.read_text()
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(
        f"{before}{BEGIN}{facts}\n\n{table}\n\n[docs/story.md](docs/story.md) shows every step.\n{END}{after}"
    )
    print(f"written: {PAGE}, {README}, {IMAGES}/story_*")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "story")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    tell(Stage(folder.resolve()))


if __name__ == "__main__":
    main()
