"""What docs/audit.md says of the zero rule on recorded runs, held by a test."""

from __future__ import annotations

from pruners import replayed

EXPECTED = {2: (45, 0.48, 2), 8: (31, 0.29, 2), 20: (23, 0.11, 1)}


def test_the_zero_rule_saves_much_and_loses_a_few_of_the_best_quarter() -> None:
    replays = replayed("zero_accuracy at 2, 8, 20")
    for epoch, replay in zip(EXPECTED, replays.replays, strict=True):
        lost = replays.lost(replays.top_quarter(replay))
        assert lost is not None
        found = (len(replay.condemned), round(replay.saved, 2), round(lost.share * lost.n))
        assert (len(replay.trials), lost.n, found) == (75, 19, EXPECTED[epoch])
