"""`hrm-sweep fix`: from a sick run to a configuration that is mended, and to a run of it."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hrm_sweep.cli.complete import run_directories
from hrm_sweep.cli.diagnose import Data, require_rule
from hrm_sweep.cli.output import is_quiet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hrm_sweep.config import RunConfig
    from hrm_sweep.diagnosis import Diagnosis, Evidence, Finding
    from hrm_sweep.diagnosis.figures import Figures
    from hrm_sweep.diagnosis.prescription import Change, Prescription
    from hrm_sweep.runs import RunDirectory


def fix(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR", help="A run directory, ours or of the reference.", autocompletion=run_directories
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[key=value ...]", help="What to change besides; wins over the remedy."),
    ] = None,
    train: Annotated[bool, typer.Option("--run", help="Train it, and show before and after side by side.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the configuration is written (default: RUN_DIR-fixed.yaml)."),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where --run trains (default: RUN_DIR-fixed).")
    ] = None,
    rule: Annotated[
        str | None, typer.Option(metavar="RULE", help="Apply the remedy of this rule, which may be mere advice.")
    ] = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: docs/diagnosis.md.")] = False,
) -> None:
    """Write the configuration that mends a run, as its diagnosis proposes.

    Exit codes: 0 written, or nothing to fix; with --run, the new run is not sick. 1 what is wrong is not in the
    configuration (nothing is written), or the new run failed or is sick. 2 bad input. 130 interrupted.

    Example: hrm-sweep fix trials/quickstart/0001 --run
    """
    from hrm_sweep.diagnosis import diagnose, gather_evidence
    from hrm_sweep.diagnosis.figures import figures

    changes_asked = _parsed(arguments or [])
    chosen = None if rule is None else require_rule(rule, "--rule").id
    evidence = gather_evidence(run, data=data)
    diagnosis = diagnose(evidence)
    report = _Report(run, as_json, figures(evidence, diagnosis))
    prescription = _prescription(diagnosis, chosen)
    if not prescription.applied:
        sys.exit(report.nothing_applied(diagnosis, _unmended(diagnosis, chosen)))
    patched, changes = _patched(evidence, prescription, changes_asked)
    target, directory = _places(run, out, run_dir, train)
    _check(patched, train)
    words = sys.argv[1:] if sys.argv[1:2] == ["fix"] else ["fix", run.as_posix()]
    command = shlex.join(["hrm-sweep", *words])
    _write(target, patched, command, diagnosis, evidence, changes, prescription)
    report.written(prescription, changes, target, try_it=None if train else f"{command} --run")
    if directory is None:
        report.end(None)
        return
    code = _trained(patched, directory, as_json)
    after = gather_evidence(directory.path)
    judged = diagnose(after)
    report.end(figures(after, judged), directory.path)
    sys.exit(code or judged.exit_code)


def _parsed(arguments: Sequence[str]) -> dict[str, Any]:
    from hrm_sweep.config import parse_overrides
    from hrm_sweep.errors import UsageError

    if stray := [argument for argument in arguments if "=" not in argument]:
        raise UsageError(f"{stray[0]!r}: expected key=value after the run directory, for example epochs=60")
    return parse_overrides(arguments)


def _prescription(diagnosis: Diagnosis, chosen: str | None) -> Prescription:
    """What is to be applied: the remedy of the chosen rule, or those of the sick findings that belong together."""
    from hrm_sweep.diagnosis import Verdict
    from hrm_sweep.diagnosis.prescription import Prescription, prescribe
    from hrm_sweep.errors import UsageError

    if chosen is None:
        return prescribe(diagnosis.findings)
    finding = _finding(diagnosis, chosen)
    if finding.verdict is not Verdict.FIRED:
        raise UsageError(f"--rule {chosen}: {finding.verdict.value} on this run, so there is nothing to fix by it")
    return Prescription((finding,) if finding.remedy else ())


def _unmended(diagnosis: Diagnosis, chosen: str | None) -> Finding | None:
    """The finding that would have been mended first; None when the run is not sick."""
    return diagnosis.leading if chosen is None else _finding(diagnosis, chosen)


def _finding(diagnosis: Diagnosis, rule: str) -> Finding:
    return next(finding for finding in diagnosis.findings if finding.rule == rule)


def _patched(
    evidence: Evidence, prescription: Prescription, asked: Mapping[str, Any]
) -> tuple[RunConfig, tuple[Change, ...]]:
    """The configuration with everything applied, and what that changed."""
    from hrm_sweep.config import apply_overrides, config_from_mapping
    from hrm_sweep.diagnosis.prescription import changes
    from hrm_sweep.errors import ConfigError

    before = evidence.recorded.config
    if before is None:  # a rule that needs no configuration may propose something all the same
        raise ConfigError("; ".join(evidence.problems) + ": without a configuration there is nothing to change")
    overrides: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    if before.checkpoint_path is not None:
        overrides["checkpoint_path"], reasons["checkpoint_path"] = None, "a run directory of its own"
    if evidence.data is not None and before.data_path is not None and Path(before.data_path) != evidence.data.path:
        overrides["data_path"], reasons["data_path"] = str(evidence.data.path), "where the puzzles are"
    for finding in prescription.applied:
        overrides |= finding.remedy or {}
        reasons |= dict.fromkeys(finding.remedy or {}, finding.rule)
    overrides |= asked
    reasons |= dict.fromkeys(asked, "asked for")
    where = str(evidence.path)
    after = config_from_mapping(apply_overrides(before.to_mapping(), overrides, where), where)
    return after, changes(before, after, reasons)


def _places(run: Path, out: Path | None, run_dir: Path | None, train: bool) -> tuple[Path, RunDirectory | None]:
    """(file to write, directory to train in). Raises UsageError for a directory without --run, or one with a run."""
    from hrm_sweep.errors import RunDirectoryError, UsageError
    from hrm_sweep.runs import RunDirectory

    if run_dir is not None and not train:
        raise UsageError("--run-dir: only --run trains; add --run, or name a file to write with --out")
    named = run.resolve() if run.name in ("", "..") else run
    base = named.with_name(f"{named.name}-fixed")
    directory = RunDirectory(run_dir or base) if train else None
    if directory is not None and directory.is_run():
        raise RunDirectoryError(f"{directory.path}: already holds a run; name another --run-dir")
    return out or base.with_name(f"{base.name}.yaml"), directory


def _check(config: RunConfig, train: bool) -> None:
    """Raises ConfigError or DataError where the configuration cannot start; without --run, as far as can be told."""
    from hrm_sweep.data import open_folder
    from hrm_sweep.errors import ConfigError, DataError
    from hrm_sweep.planning.lint import Level, lint

    if train:
        from hrm_sweep.training.session import prepare

        prepare(config)
    elif config.data_path is not None:
        try:
            metadata = open_folder(Path(config.data_path)).train.metadata
        except DataError:
            return  # it may be trained elsewhere
        if wrong := [str(finding) for finding in lint(config, metadata) if finding.level is Level.ERROR]:
            raise ConfigError("; ".join(wrong))


def _write(
    target: Path,
    config: RunConfig,
    command: str,
    diagnosis: Diagnosis,
    evidence: Evidence,
    changes: Sequence[Change],
    prescription: Prescription,
) -> None:
    """Write the file, never over another one. The same content may stand there from an earlier call."""
    from hrm_sweep.config import config_text
    from hrm_sweep.errors import ConfigError
    from hrm_sweep.report.fix import file_comment, left_out_lines
    from hrm_sweep.runs import disk_full_explained

    source = f"the configuration of {evidence.path}"
    content = config_text(config)
    comment = file_comment(command, diagnosis.verdict, source, changes, left_out_lines(prescription))
    if target.exists():
        if target.is_file() and _without_comment(target) == content:
            return
        raise ConfigError(f"{target}: already exists and is left as it is; name another file with --out")
    try:
        with disk_full_explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8") as handle:
                handle.write(comment + content)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written ({error.strerror}); name another file with --out") from None


def _without_comment(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def _trained(config: RunConfig, directory: RunDirectory, as_json: bool) -> int:
    """Train with progress, on standard error where standard output is for JSON; returns the exit code of `train`."""
    from hrm_sweep.cli.train import train_in

    quiet = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    with quiet:
        code = train_in(config, directory, resume=False)
    if code == 130:
        sys.exit(code)
    return code


class _Report:
    """What is printed: lines as they become true, or one JSON object at the end."""

    def __init__(self, run: Path, as_json: bool, before: Figures) -> None:
        self._json = as_json
        self._run = run
        self._before = before
        self._changes: Sequence[Change] = ()
        self._mapping: dict[str, Any] = {
            "schema_version": 1,
            "run": str(run),
            "applied": [],
            "left_out": [],
            "changes": [],
            "config": None,
            "what_to_do": None,
            "before": before.to_mapping(),
            "after_run": None,
            "after": None,
        }

    def nothing_applied(self, diagnosis: Diagnosis, finding: Finding | None) -> int:
        """Why nothing is written; returns the exit code."""
        from hrm_sweep.diagnosis import Verdict, find_rule

        if finding is None:
            advice = [each.rule for each in diagnosis.findings if each.verdict is Verdict.FIRED and each.remedy]
            self._say(f"{self._run}\n{diagnosis.verdict}\nnothing to fix")
            if advice:
                self._say(f"there is advice, which --rule applies: {', '.join(advice)}")
            self.end(None)
            return 0
        rule = find_rule(finding.rule)
        assert rule is not None
        what_to_do = " ".join(rule.sections["What to do"].split())
        self._mapping["what_to_do"] = what_to_do
        self._say(
            f"{self._run}\n{diagnosis.verdict}\nno configuration mends {finding.rule}, so nothing is written\n"
            f"  {finding.explanation}\nwhat to do: {what_to_do}"
        )
        self.end(None)
        return 1

    def written(
        self, prescription: Prescription, changes: Sequence[Change], target: Path, *, try_it: str | None
    ) -> None:
        """`try_it` is the command that trains it as well, where that was not asked for."""
        from hrm_sweep.report.fix import change_lines, left_out_lines

        self._changes = changes
        self._mapping |= {
            "applied": [{"rule": each.rule, "overrides": dict(each.remedy or {})} for each in prescription.applied],
            "left_out": [{"rule": each.rule, "reason": reason} for each, reason in prescription.left_out],
            "changes": [
                {"key": each.key, "before": each.before, "after": each.after, "because": each.because}
                for each in changes
            ],
            "config": str(target),
        }
        self._say(f"{self._run}\n{self._before.verdict}")
        for line in [*change_lines(changes), *left_out_lines(prescription)]:
            self._say(f"  {line}")
        self._say(f"written: {target}")
        if try_it is not None and not is_quiet():
            self._say(f"next: {shlex.join(['hrm-sweep', 'train', target.as_posix()])}")
            self._say(f"  or: {try_it}  # and compare")

    def end(self, after: Figures | None, directory: Path | None = None) -> None:
        if self._json:
            self._mapping |= {
                "after": None if after is None else after.to_mapping(),
                "after_run": None if directory is None else str(directory),
            }
            typer.echo(json.dumps(self._mapping, indent=1, allow_nan=False))
        elif after is not None:
            from rich.console import Console

            from hrm_sweep.report.fix import comparison

            Console(highlight=False).print(comparison(self._before, after, self._changes))

    def _say(self, text: str) -> None:
        if not self._json:
            typer.echo(text)
