"""PostgreSQL as the storage: a real server, which is stopped, cut off and started again."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy
import stand_in_training
from killing import Killer, workers_of
from lossy_line import LossyLine
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from postgresql_server import PASSWORD, Server, running_server
from small_studies import MakeStudy, small_space
from sqlalchemy.exc import SQLAlchemyError

from hrm_sweep.errors import StorageAwayError, StorageError
from hrm_sweep.runs import Owner, read_metrics
from hrm_sweep.sweep.budget import Claim, claim
from hrm_sweep.sweep.conduct import conduct
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.local import LocalEngine
from hrm_sweep.sweep.status import study_status
from hrm_sweep.sweep.storage import is_outage, patiently, study_lock
from hrm_sweep.sweep.study import Study, create_or_continue, known_space, open_study
from hrm_sweep.sweep.worker import Orders, work

PATIENCE_S = 60.0
US = Owner.this_process()


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def server(started: Server) -> Iterator[Server]:
    """Up at the beginning, whatever the test before did."""
    if not started.is_up:
        started.start()
    yield started
    if not started.is_up:
        started.start()


@pytest.fixture
def database(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an empty database."""
    name = f"d{abs(hash(request.node.nodeid))}"
    server.query(f"CREATE DATABASE {name}")
    yield name
    if not server.is_up:
        server.start()
    server.query(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def make_study(server: Server, database: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStudy:
    monkeypatch.setenv(
        "PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep
    )  # workers find the stand-in training

    def make(*, port: int | None = None, **changes: object) -> Study:
        space = small_space(**changes)
        return create_or_continue(server.url(database, port=port), space.name, space)

    return make


def engine_for(study: Study) -> LocalEngine:
    return LocalEngine(WorkerPlan(study, threads=1, training=stand_in_training.NAME))


def until(what: Callable[[], object]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)


def test_a_study_is_made_found_and_continued(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 2})
    assert known_space(study.storage_url, "small") == study.space
    assert known_space(study.storage_url, "other") is None
    engine = engine_for(study)
    assert conduct(study, engine, 1).account.is_reached
    assert engine.complaints() == []
    more = make_study(budget={"trials": 3})
    ended = conduct(more, engine_for(more), 2)
    assert (ended.account.given_out, ended.account.is_reached) == (3, True)
    assert [trial.state for trial in more.trials()] == [TrialState.COMPLETE] * 3


def test_the_lock_of_a_study_keeps_others_out_until_its_holder_is_gone(make_study: MakeStudy) -> None:
    url = make_study().storage_url
    code = (
        "import os\nfrom hrm_sweep.sweep.storage import study_lock\n"
        "with study_lock(os.environ['URL'], 'one'):\n    print('in', flush=True); input()\n"
    )

    def other() -> subprocess.Popen[str]:
        environment = {**os.environ, "URL": url}
        return subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, env=environment)

    with other() as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "in\n"
        with study_lock(url, "two"):  # another study's lock is free
            pass
        with other() as second:
            assert second.stdout is not None
            first.kill()
            first.wait()
            assert second.stdout.readline() == "in\n"
            second.communicate("\n")


def test_a_lock_whose_connection_broke_lets_nobody_decide(server: Server, make_study: MakeStudy, database: str) -> None:
    study = make_study()
    with study_lock(study.storage_url, study.name):
        study.trials()
        server.query(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            f"WHERE locktype = 'advisory' AND datname = '{database}'"
        )
        with pytest.raises(StorageAwayError, match="the connection that held the study's lock broke"):
            study.storage.create_new_trial(study.id)
    assert study.trials() == []
    assert isinstance(claim(study, US), Claim)


def test_a_trial_whose_birth_was_not_confirmed_is_born_once(
    server: Server, make_study: MakeStudy, database: str
) -> None:
    """The server commits the new trial and the line goes dead before it can say so. Optuna, on its own, repeats it."""
    make_study(budget={"trials": 2})
    with LossyLine(server.port) as line:
        study = open_study(server.url(database, port=line.port), "small")
        line.cut_at_the_next_birth()
        attempts = work(study, Orders(), threads=1, training=stand_in_training.NAME)
        assert (line.cuts, attempts) == (1, 2)
        assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE] * 2


def test_a_claim_that_broke_off_is_taken_up_and_not_left_running(make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 1})
    first = claim(study, US)
    assert isinstance(first, Claim)
    again = claim(study, US, again=True)
    assert isinstance(again, Claim)
    assert (again.number, again.values, again.seed, again.retry_of) == (0, first.values, first.seed, None)
    study.storage.set_trial_user_attr(again.trial._trial_id, "cause", "killed")
    study.optuna.tell(again.trial, state=TrialState.FAIL)
    retried = claim(study, US)
    assert isinstance(retried, Claim)
    again = claim(study, US, again=True)
    assert isinstance(again, Claim)
    assert (again.number, again.retry_of, again.directory) == (1, 0, first.directory)


def test_a_host_whose_clock_is_wrong_takes_nobody_for_dead(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signs of life carry the time of the server, and are judged by it."""
    study = make_study(budget={"trials": 2})
    far = claim(study, Owner("another-host", 1, "1"))
    assert isinstance(far, Claim)
    right = time.time
    monkeypatch.setattr("time.time", lambda: right() + 24 * 3600)
    mine = claim(study, US)
    assert isinstance(mine, Claim)
    assert mine.retry_of is None
    assert [trial.state for trial in study.trials()] == [TrialState.RUNNING] * 2
    assert [line.state for line in study_status(study).workers] == ["alive", "alive"]


def test_a_worker_that_starts_while_the_server_is_down_waits_for_it(server: Server, make_study: MakeStudy) -> None:
    study = make_study(budget={"trials": 1})
    server.stop()
    with pytest.raises(StorageAwayError, match=r"cannot be used: .*refused"):
        open_study(study.storage_url, study.name)
    engine = engine_for(study)
    engine.start(1)
    until(lambda: connections_tried(server) > 0)
    server.start()
    until(lambda: engine.alive() == 0)
    engine.close()
    assert engine.complaints() == []
    assert patiently(study.trials)[0].state is TrialState.COMPLETE


def connections_tried(server: Server) -> int:
    """While the server is down: listen in its place, hang up on whoever calls, and count one."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", server.port))
        listener.listen()
        connection, _ = listener.accept()
        connection.close()
    return 1


def test_a_server_that_hangs_up_is_an_outage_whoever_says_so(server: Server, database: str) -> None:
    """Optuna wraps some of SQLAlchemy's errors and lets others through. It comes back, so it is waited for."""
    engine = sqlalchemy.create_engine(server.url(database), connect_args={"client_encoding": "utf8"})
    with engine.connect() as connection, pytest.raises(SQLAlchemyError) as caught:
        connection.execute(sqlalchemy.text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert is_outage(caught.value)
    with pytest.raises(StorageInternalError) as wrapped:
        raise StorageInternalError from caught.value
    assert is_outage(wrapped.value)
    assert not is_outage(StorageInternalError())
    engine.dispose()


def test_a_wrong_password_is_named_without_being_shown(server: Server, make_study: MakeStudy, database: str) -> None:
    make_study()
    with pytest.raises(StorageError, match="password authentication failed") as caught:
        open_study(server.url(database, password="wr0ng"), "small")
    assert "wr0ng" not in str(caught.value)


def test_the_password_is_in_no_argument_no_output_and_no_file(
    server: Server, make_study: MakeStudy, database: str, folder: Path
) -> None:
    base = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1, "project_name": "hold@2"}
    study = make_study(base=base, budget={"trials": 1})
    engine = engine_for(study)
    engine.start(1)
    until(lambda: len(read_metrics(study.run_directory(0).metrics)) == 1)
    assert len(workers_of(os.getpid())) == 1
    arguments = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    inherited = Path(f"/proc/{child_pid(study)}/environ").read_bytes()
    Path("go").touch()
    until(lambda: engine.alive() == 0)
    engine.close()
    environment = {**os.environ, "HRM_SWEEP_STORAGE": study.storage_url}
    said = [
        subprocess.run(
            [sys.executable, "-m", "hrm_sweep", *words], capture_output=True, env=environment, check=False, timeout=120
        )
        for words in (["studies"], ["run", "--study", "small"], ["run", "--study", "nosuch", "nosuch.yaml"])
    ]
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert files
    secret = PASSWORD.encode()
    assert not any(secret in text for text in [*arguments, inherited, *files])
    assert not any(secret in done.stdout + done.stderr for done in said)
    assert b"small" in said[0].stdout


def child_pid(study: Study) -> int:
    from hrm_sweep.runs import read_status

    status = read_status(study.run_directory(0).status)
    assert status is not None
    return status.owner.pid


def killed_and_cut_off(server: Server, study: Study, workers: int, budget: int, kills: int, outage_s: float) -> None:
    """Run a study whose workers and children are killed and whose server goes away, and look at what became of it."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")

    def outage(kill: Callable[[], None]) -> None:
        server.stop()
        down_since = time.monotonic()
        kill()
        while time.monotonic() - down_since < outage_s:
            time.sleep(0.1)  # this is the outage, not a wait for anything
        server.start()

    killer = Killer(study.folder, budget, kills - 1, random.Random(seed), outage)
    killer.start()
    ended = conduct(study, engine_for(study), workers)
    killer.finish()
    assert len(killer.killed) == kills, killer.killed
    assert (ended.account.given_out, ended.account.ended, ended.account.is_reached) == (budget, budget, True)
    assert all(trial.state.is_finished() for trial in study.trials())
    assert [chain.last.state for chain in study.chains()] == [TrialState.COMPLETE] * budget
    for chain in study.chains():
        rows = read_metrics(study.run_directory(chain.first.number).metrics)
        assert [row.step for row in rows] == [10, 20, 30, 40]
    assert workers_of(os.getpid()) == []


SHORT = {"data_path": "nowhere", "epochs": 4, "eval_interval": 1}


def test_the_budget_is_exact_although_workers_are_killed_and_the_server_goes_away(
    server: Server, make_study: MakeStudy
) -> None:
    study = make_study(base=SHORT, budget={"trials": 8}, retry={"killed": 99})
    killed_and_cut_off(server, study, workers=3, budget=8, kills=4, outage_s=2)


@pytest.mark.proof
def test_forty_trials_in_eight_workers_survive_ten_kills_and_ten_seconds_without_a_server(
    server: Server, make_study: MakeStudy
) -> None:
    study = make_study(base=SHORT, budget={"trials": 40}, retry={"killed": 99})
    killed_and_cut_off(server, study, workers=8, budget=40, kills=10, outage_s=10)
