"""`hrm-sweep diagnose --study`: a study judged as a whole, and the search space that its findings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hrm_sweep.cli.next_steps import space_step
from hrm_sweep.cli.output import hint, is_quiet
from hrm_sweep.cli.studies import storage_url, study_command

if TYPE_CHECKING:
    from hrm_sweep.diagnosis import StudyDiagnosis, StudyEvidence
    from hrm_sweep.sweep.study import Study


def diagnose_one_study(name: str, storage: str | None, *, as_json: bool, write_space: Path | None) -> int:
    """Report on a study, and write a search space where one was asked for; returns the exit code.

    Raises HrmSweepError when there is no such study, or no file can be written; an existing file is never touched.
    """
    from rich.console import Console

    from hrm_sweep.diagnosis import diagnose_study
    from hrm_sweep.errors import UsageError
    from hrm_sweep.report.diagnosis import print_diagnosis
    from hrm_sweep.sweep.storage import quiet_optuna
    from hrm_sweep.sweep.study import open_study
    from hrm_sweep.sweep.study_evidence import gather_study_evidence

    if write_space is not None and write_space.exists():
        raise UsageError(f"--write-space {write_space}: exists and is left as it is; name a new file")
    quiet_optuna()
    study = open_study(storage_url(storage), name)
    evidence = gather_study_evidence(study)
    diagnosis = diagnose_study(evidence)
    if as_json:
        typer.echo(diagnosis.to_json())
    else:
        print_diagnosis(diagnosis, Console(highlight=False))
    if write_space is None and not as_json and not is_quiet():
        for command, why in space_step(study, evidence, diagnosis, "FILE"):
            hint(f"\nnext: {command}  # {why}")
    if write_space is not None:
        for line in _write(study, evidence, diagnosis, write_space):
            typer.echo(line, err=as_json)  # JSON stays alone on its stream
    return diagnosis.exit_code


def _write(study: Study, evidence: StudyEvidence, diagnosis: StudyDiagnosis, path: Path) -> list[str]:
    """Write the search space that the findings ask for; returns what there is to say about it."""
    from hrm_sweep.errors import UsageError
    from hrm_sweep.runs import replaced_atomically
    from hrm_sweep.sweep.space_proposal import propose_space
    from hrm_sweep.sweep.space_text import space_text

    proposal = propose_space(study, evidence, diagnosis)
    said = [f"  not changed: {line}" for line in proposal.left_out]
    if not proposal.changes:
        return ["", "the findings ask for no other search space, so none is written", *said]
    introduction = (
        f"Proposed by `hrm-sweep diagnose --study {study.name} --write-space` after {len(evidence.ended)} trials; "
        "each change says why. Everything else is as it was."
    )
    try:
        with replaced_atomically(path) as temporary:
            temporary.write_text(space_text(proposal, introduction), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--write-space {path}: cannot be written: {error.strerror}") from None
    changes = [f"  {change.key}: {change.why}" for change in proposal.changes]
    return [
        "",
        f"wrote {path}:",
        *changes,
        *said,
        *([] if is_quiet() else [f"next: {study_command(study, 'run', path.as_posix())}"]),
    ]
