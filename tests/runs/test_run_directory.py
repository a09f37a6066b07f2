"""The run directory: one writer at a time, and files that are old or new, never in between."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm_sweep.errors import DiskFullError, RunDirectoryError
from hrm_sweep.runs import MetricRow, MetricsWriter, RunDirectory, cut_back, read_metrics, replaced_atomically

ROOM = 64 * 1024

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from hrm_sweep.runs import RunDirectory
with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""

# Kills itself without warning when it is about to ask the operating system for the n-th time: to open, write, rename,
# remove ... The parent walks through all of them, until the child finishes.
DIE_AT = """
import io, os, signal, sys
from pathlib import Path
from hrm_sweep.runs import cut_back, replaced_atomically
path, fatal, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
seen = 0
def count(frame, event, function):
    global seen
    if event == "c_call" and (function.__module__ in ("posix", "_io") or isinstance(function.__self__, io.IOBase)):
        seen += 1
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(count)
if what == "replace":
    with replaced_atomically(path) as temporary:
        temporary.write_text("new")
        with temporary.open("a") as handle:
            handle.write(" and longer")
else:
    cut_back(path, 2, path.with_name("lost"))
"""


def die_at(path: Path, fatal: int, what: str) -> bool:
    """Whether the child was killed at its `fatal`-th call, or finished before."""
    result = subprocess.run([sys.executable, "-c", DIE_AT, str(path), str(fatal), what], check=False)
    assert result.returncode in (0, -signal.SIGKILL)
    return result.returncode != 0


@pytest.fixture
def little_room(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 64 KiB: a disk of that size where one may be mounted, otherwise a limit on files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_no_two_files_of_a_run_share_a_name() -> None:
    run = RunDirectory(Path("run"))
    properties = [name for name, value in vars(RunDirectory).items() if isinstance(value, property)]
    paths = [getattr(run, name) for name in properties] + [run.step_weights(1), run.step_weights(10)]
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to("run") for path in paths)


def test_step_weights_are_found_by_step(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for name in ("step_10", "step_9", "step_", "step_x", "step_²", "step_3_preds", "my_step_4"):
        (tmp_path / name).touch()
    (tmp_path / "step_11").mkdir()
    assert run.all_step_weights() == [(9, run.step_weights(9)), (10, run.step_weights(10))]


def test_a_folder_is_a_run_when_it_has_a_config(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert not run.is_run()
    run.path.mkdir()
    assert not run.is_run()
    run.config.touch()
    assert run.is_run()


def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "a" / "run")
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError, match="another process is writing this run"), run.locked():
            pass
        holder.kill()
    with run.locked(), pytest.raises(RunDirectoryError, match="another process"), run.locked():
        pass
    with run.locked():
        pass


def test_an_error_inside_the_lock_passes_through_and_frees_it(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with pytest.raises(FileNotFoundError), run.locked():
        (tmp_path / "nothing").read_text()
    with run.locked():
        pass


@pytest.mark.parametrize("below", ["file", "file/run"])
def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    refused = pytest.raises(
        RunDirectoryError, match=r"cannot be used as a run directory \(.+\); name another --run-dir"
    )
    with refused, RunDirectory(tmp_path / below).locked():
        pass


def test_the_next_writer_removes_what_a_killed_one_left_unfinished(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    kept = [run.last_checkpoint, run.step_weights(3), run.config]
    kept.append(tmp_path / ".diagnosis.json.x4.part")  # of somebody who diagnoses the run at this moment
    for path in (
        *kept,
        run.checkpoints / ".last.pt.x1.part",
        tmp_path / ".step_3.x2.part",
        tmp_path / ".status.json.x3.part",
    ):
        path.touch()
    with run.locked():
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == {*kept, run.lock}


def test_a_replaced_file_is_the_new_one_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    for content in ("one", "two"):
        with replaced_atomically(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text(content)
        assert path.read_text() == content
    assert path.stat().st_mode & 0o777 == 0o644
    assert names_in(path.parent) == ["file"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with contextlib.suppress(KeyError), replaced_atomically(path) as temporary:
        temporary.write_text("new")
        raise KeyError
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("old", [None, "old"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(little_room: Path, old: str | None) -> None:
    path = little_room / "file"
    if old is not None:
        path.write_text(old)
    full = pytest.raises(DiskFullError, match=r"could not be written: .+; free some space")
    with full, replaced_atomically(path) as temporary:
        temporary.write_bytes(bytes(2 * ROOM))
    assert names_in(little_room) == ([] if old is None else ["file"])
    assert old is None or path.read_text() == old


def write_until_full(writer: MetricsWriter) -> None:
    for step in range(ROOM):
        writer.write(MetricRow("train", step, 0.0, 0.0, {"loss": 1.0}))


def test_rows_written_before_the_disk_was_full_stay_readable(little_room: Path) -> None:
    path = little_room / "metrics.jsonl"
    with MetricsWriter(path) as writer, pytest.raises(DiskFullError):
        write_until_full(writer)
    steps = [row.step for row in read_metrics(path)]
    assert steps == list(range(len(steps)))
    assert len(steps) > 100


@pytest.mark.parametrize("old", [None, "old"])
def test_a_kill_at_any_point_leaves_the_old_file_or_the_new(tmp_path: Path, old: str | None) -> None:
    path = tmp_path / "file"
    seen = []
    for fatal in range(1, 100):
        path.unlink(missing_ok=True)
        if old is not None:
            path.write_text(old)
        killed = die_at(path, fatal, "replace")
        seen.append(path.read_text() if path.exists() else None)
        if not killed:
            break
    assert seen[-1] == "new and longer"
    assert set(seen) == {old, "new and longer"}
    assert len(seen) > 5


def test_a_kill_at_any_point_of_a_cut_loses_no_row(tmp_path: Path) -> None:
    path, lost = tmp_path / "metrics.jsonl", tmp_path / "lost"
    content = "".join(MetricRow("train", step, 0.0, 0.0).to_json() + "\n" for step in range(1, 6)) + '{"kind": "tra'
    seen = []
    for fatal in range(1, 100):
        path.write_text(content)
        lost.unlink(missing_ok=True)
        killed = die_at(path, fatal, "cut")
        steps = [row.step for row in read_metrics(path)]
        seen.append(steps)
        assert {*steps, *(row.step for row in read_metrics(lost))} == {1, 2, 3, 4, 5}
        cut_back(path, 2, lost)  # the resume after that
        assert [row.step for row in read_metrics(path)] == [1, 2]
        if not killed:
            break
    assert seen[0] == [1, 2, 3, 4, 5]
    assert seen[-1] == [1, 2]
    assert len(seen) > 5
