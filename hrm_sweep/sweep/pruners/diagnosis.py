"""diagnosis: a rule of the catalogue fires on the run while it trains."""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, field_validator, model_validator

from hrm_sweep.sweep.pruners.base import Progress, Pruner, at_epoch

if TYPE_CHECKING:
    from hrm_sweep.diagnosis import Finding
    from hrm_sweep.diagnosis.live import LiveRun


def _list_or_keys(schema: dict[str, Any]) -> None:
    keys = dict(schema)
    schema.clear()
    schema["anyOf"] = [keys, keys["properties"]["rules"]["anyOf"][0]]


class Diagnosis(Pruner):
    """Prunes when one of `rules` fires: `diagnosis: [rule, ...]`, and `diagnosis:` alone for those marked fatal, which
    are faults that no further step can mend.

    A fatal rule has to fire as an error, any other at warning or above. The reason names the rule. A trial whose run
    directory is not known goes on.
    """

    model_config = ConfigDict(json_schema_extra=_list_or_keys)
    name: ClassVar[str] = "diagnosis"
    reads_files: ClassVar[bool] = True

    rules: tuple[str, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _read_list(cls, value: Any) -> Any:
        return {"rules": value} if isinstance(value, list | tuple) else value

    @field_validator("rules")
    @classmethod
    def _are_known(cls, rules: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if rules is None:
            return None
        from hrm_sweep.diagnosis import all_rules  # a second of rules to load, for studies that use this pruner only

        known = [rule.id for rule in all_rules()]
        for name in rules:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"; the nearest rule is {close[0]}" if close else ""
                raise ValueError(f"no such rule: {name}{hint} (`hrm-sweep rules` lists all)")
        return rules

    def verdict(self, progress: Progress) -> str | None:
        if progress.latest is None or progress.directory is None:
            return None
        fired = self._first_fired(_live_run(progress.directory.resolve(), progress.trial._trial_id))
        return None if fired is None else f"{at_epoch(self, progress)}: {fired.rule}: {fired.title}"

    def _first_fired(self, run: LiveRun) -> Finding | None:
        from hrm_sweep.diagnosis import Severity, all_rules
        from hrm_sweep.diagnosis.engine import judge, rank

        rules = all_rules()
        chosen = [rule for rule in rules if (rule.fatal if self.rules is None else rule.id in self.rules)]
        evidence = run.evidence()
        findings = rank([judge(rule, evidence) for rule in chosen], rules)
        fatal = {rule.id for rule in rules if rule.fatal}
        return next(
            (each for each in findings if each.is_sick and (each.severity is Severity.ERROR or each.rule not in fatal)),
            None,
        )


@lru_cache(maxsize=4)
def _live_run(directory: Path, trial_id: int) -> LiveRun:
    """The run of one attempt, kept from one evaluation to the next."""
    from hrm_sweep.diagnosis.live import LiveRun

    return LiveRun(directory)
