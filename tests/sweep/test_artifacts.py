"""Run directories on their way from host to host, where these share no file system."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import fsspec
import pytest
import stand_in_training
from optuna.trial import TrialState
from small_studies import small_space

from hrm_sweep.errors import UsageError
from hrm_sweep.runs import Owner, RunDirectory, StopReason, read_metrics
from hrm_sweep.sweep.artifacts import Artifacts, require_artifacts
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.launch import ChildThread
from hrm_sweep.sweep.outcome import Outcome
from hrm_sweep.sweep.study import Study, create_or_continue
from hrm_sweep.sweep.trial import Surroundings, run_trial


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path / 'bucket'}" if request.param == "file" else f"memory://{uuid.uuid4().hex}/runs"


def run_at(folder: Path, number: int = 0, **files: str) -> RunDirectory:
    """A run directory of some host."""
    directory = RunDirectory(folder / f"{number:04d}")
    directory.path.mkdir(parents=True, exist_ok=True)
    directory.config.write_text("epochs: 4\n")
    for name, content in files.items():
        path = directory.path / name.replace("__", "/").replace("_pt", ".pt")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return directory


def test_another_host_gets_the_whole_directory_and_nothing_that_was_unfinished(url: str, tmp_path: Path) -> None:
    here = run_at(tmp_path / "a", checkpoints__last_pt="1", note="x")
    (here.checkpoints / ".last.pt.x.part").write_text("half")
    Artifacts(url, "study").push(here)
    there = RunDirectory(tmp_path / "b" / "0000")
    assert Artifacts(url, "study").pull(there)
    found = {path.relative_to(there.path).as_posix() for path in there.path.rglob("*") if path.is_file()}
    assert found == {".version", "config.yaml", "note", "checkpoints/last.pt"}
    assert there.last_checkpoint.read_text() == "1"
    assert not Artifacts(url, "study").pull(there)  # it has it
    assert not Artifacts(url, "other").pull(there)  # nothing there


def test_the_host_that_was_there_before_takes_what_was_done_elsewhere(url: str, tmp_path: Path) -> None:
    artifacts = Artifacts(url, "study")
    here, there = run_at(tmp_path / "a", checkpoints__last_pt="1"), RunDirectory(tmp_path / "b" / "0000")
    artifacts.push(here)
    artifacts.pull(there)
    there.last_checkpoint.write_text("2")
    artifacts.push(there)
    assert artifacts.pull(here)
    assert here.last_checkpoint.read_text() == "2"


def test_what_a_host_did_since_it_pushed_is_not_taken_back(url: str, tmp_path: Path) -> None:
    here = run_at(tmp_path / "a", checkpoints__last_pt="1")
    Artifacts(url, "study").push(here)
    here.last_checkpoint.write_text("2")  # and then it was killed
    assert not Artifacts(url, "study").pull(here)
    assert here.last_checkpoint.read_text() == "2"


def test_a_version_that_was_half_pushed_is_never_used(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = Artifacts(url, "study")
    here, there = run_at(tmp_path / "a", checkpoints__last_pt="1"), RunDirectory(tmp_path / "b" / "0000")
    artifacts.push(here)
    here.last_checkpoint.write_text("2")
    files, _ = fsspec.core.url_to_fs(url)

    def break_off(*_: object, **__: object) -> None:
        raise OSError("the line is dead")

    with monkeypatch.context() as patched:
        patched.setattr(type(files), "mv", break_off)
        with pytest.raises(OSError, match="the line is dead"):
            artifacts.push(here)
    assert artifacts.pull(there)
    assert there.last_checkpoint.read_text() == "1"
    artifacts.push(here)
    assert artifacts.pull(there)
    assert there.last_checkpoint.read_text() == "2"


@pytest.mark.parametrize(
    ("given", "message"),
    [("a/folder", "expected a URL such as s3://bucket/folder"), ("nosuch://x", "--artifacts nosuch://x: ")],
)
def test_a_url_that_cannot_be_used_is_refused(given: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        require_artifacts(given)


def attempt(study: Study, url: str, ending: StopReason | None = None) -> Outcome:
    one = claim(study, Owner.this_process())
    assert isinstance(one, Claim)
    said: list[str] = []
    surroundings = Surroundings(
        ChildThread,
        1,
        lambda: ending if held(one) else None,
        said.append,
        stand_in_training.NAME,
        Artifacts(url, study.name),
    )
    outcome = run_trial(study, one, surroundings)
    print(*said, sep="\n")
    return outcome


def held(one: Claim) -> bool:
    return len(read_metrics(one.directory.metrics)) == 1


def test_a_trial_that_is_preempted_here_ends_there_from_its_checkpoint(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "hold@2"}
    space = small_space(base=base, budget={"trials": 1})
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    study = create_or_continue(f"sqlite:///{tmp_path / 'optuna.db'}", "small", space)
    assert attempt(study, url, StopReason.PREEMPTED).state is TrialState.FAIL
    monkeypatch.chdir(there)
    Path("go").touch()
    assert attempt(study, url).state is TrialState.COMPLETE
    rows = read_metrics(study.run_directory(0).metrics)
    assert [row.step for row in rows] == [10, 20, 30, 40]
    monkeypatch.chdir(here)
    shutil.rmtree(study.folder)
    assert Artifacts(url, "small").pull(study.run_directory(0))
    assert study.run_directory(0).best_checkpoint.is_file()
