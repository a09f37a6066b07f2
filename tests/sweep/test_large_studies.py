"""The dashboard's answers about large studies: kept while nothing changes, and never older than its own."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import optuna_dashboard
import pytest
from bulk_studies import fill
from small_studies import STORAGE, MakeStudy

from hrm_sweep.sweep import large_studies
from hrm_sweep.sweep.large_studies import LargeStudies
from hrm_sweep.sweep.study import Study, open_study


class Asked:
    """The dashboard of a study, asked as its page does; counts how often an answer had to be made."""

    def __init__(self, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
        self.study, self.made, self.now = study, 0, 1000.0
        monkeypatch.setattr(large_studies.time, "monotonic", lambda: self.now)
        app = optuna_dashboard.wsgi(study.storage)

        def counted(environ: dict[str, Any], start_response: Any) -> Any:
            self.made += 1
            return app(environ, start_response)

        self.app = LargeStudies(counted, study.storage)

    def __call__(self, path: str = "", method: str = "GET") -> dict[str, Any]:
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": f"/api/studies/{self.study.id}{path}",
            "QUERY_STRING": "after=0",
            "wsgi.input": BytesIO(),
            "wsgi.errors": BytesIO(),
            "wsgi.url_scheme": "http",
            "SERVER_NAME": "here",
            "SERVER_PORT": "1",
            "SERVER_PROTOCOL": "HTTP/1.1",
        }
        headers: dict[str, str] = {}
        body = b"".join(self.app(environ, lambda status, given, *_: headers.update(given)))
        assert int(headers["Content-Length"]) == len(body)
        answer: dict[str, Any] = json.loads(body)
        return answer


@pytest.fixture
def asked(make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> Asked:
    fill(make_study(budget={"trials": 700}), 600)
    return Asked(open_study(STORAGE, "small"), monkeypatch)


def test_an_answer_is_kept_while_nothing_changes(asked: Asked) -> None:
    first = asked()
    assert len(first["trials"]) == 600
    asked.now += 1000
    assert asked() == first
    assert asked.made == 1


def test_what_changes_is_seen_as_soon_as_the_dashboard_sees_it(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    asked()
    asked.study.storage.set_study_system_attr(asked.study.id, "dashboard:note_ver", 7)
    assert asked()["note"]["version"] == 7
    running = asked.study.optuna.ask()
    asked()
    made = asked.made
    asked.now += large_studies.TRUSTED_AFTER_S  # what was made right after the change may lack it
    asked()
    assert asked.made == made + 1
    asked.now += 1000
    asked()
    assert asked.made == made + 1
    running.report(0.5, 1)
    asked()
    assert asked.made == made + 2


def test_the_plot_of_a_line_for_each_trial_is_left_out_of_large_studies_only(
    asked: Asked, make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked()["has_intermediate_values"] is False
    small = make_study(name="few")
    fill(small, 20)
    assert Asked(open_study(STORAGE, "few"), monkeypatch)()["has_intermediate_values"] is True


def test_everything_else_is_the_dashboards(asked: Asked) -> None:
    assert "param_importances" in asked("/param_importances")
    assert asked.made == 1
