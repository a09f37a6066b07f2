"""How often the race of a confirmation errs, and what it saves: simulated studies whose truth is known.

python tests/benchmarks/confirmation_race.py [--studies 4000]

A run solves puzzle p with the chance sigmoid(skill + luck of the run + ease of p); luck is normal and new for each run,
ease is the same for all runs of a study and new for each study.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hrm_sweep.sweep.confirm.entrants import Candidate, Confirmation
from hrm_sweep.sweep.confirm.race import Bits, EndedRun, Standing, standing

PUZZLES = 200


@dataclass(frozen=True)
class World:
    """skills: of the candidates, the best first. luck: standard deviation between the runs of one candidate.
    dead: the chance of a run to solve nothing at all."""

    name: str
    skills: tuple[float, ...]
    luck: float
    dead: float = 0.0
    seeds: int = 5

    @property
    def best(self) -> list[int]:
        return [place for place, skill in enumerate(self.skills) if skill == max(self.skills)]


WORLDS = (
    World("four alike, runs 5 points apart", (1.0, 1.0, 1.0, 1.0), luck=0.25),
    World("four alike, runs 3 points apart", (1.0, 1.0, 1.0, 1.0), luck=0.0),
    World("two alike, two 24 points worse", (1.0, 1.0, -0.4, -0.4), luck=0.25),
    World("two alike and nobody else", (1.0, 1.0), luck=0.25),
    World("one 5 points better", (1.3, 1.0, 1.0, 1.0), luck=0.25),
    World("one 10 points better", (1.65, 1.0, 1.0, 1.0), luck=0.25),
    World("one 24 points better", (1.0, -0.4, -0.4, -0.4), luck=0.25),
    World("one 10 points better, 10 seeds", (1.65, 1.0, 1.0, 1.0), luck=0.25, seeds=10),
    World("four alike, one run in ten dead", (1.0, 1.0, 1.0, 1.0), luck=0.25, dead=0.1),
    World("four alike, one run in two dead", (1.0, 1.0, 1.0, 1.0), luck=0.25, dead=0.5),
)


@dataclass(frozen=True)
class Errors:
    """Shares of the studies. best_out: a given one of the best was dropped. wrong: somebody was called the winner who
    is not the only best one. right: the only best one was. spared: of all runs, by the race."""

    best_out: float
    wrong: float
    right: float
    spared: float


def measure(world: World, studies: int, seed: int = 0) -> Errors:
    draw = np.random.default_rng(seed)
    ended = [simulated(world, draw) for _ in range(studies)]
    wins = [one.remaining[0] if len(one.remaining) == 1 else None for one in ended]
    only = world.best[0] if len(world.best) == 1 else None
    return Errors(
        best_out=float(np.mean([world.best[0] in one.out for one in ended])),
        wrong=float(np.mean([winner is not None and winner != only for winner in wins])),
        right=float(np.mean([winner is not None and winner == only for winner in wins])),
        spared=1 - float(np.mean([len(one.runs()) for one in ended])) / (len(world.skills) * world.seeds),
    )


def simulated(world: World, draw: np.random.Generator) -> Standing:
    """One study, run to its end."""
    k = len(world.skills)
    luck = draw.normal(0, world.luck, (k, world.seeds, 1))
    ease = draw.normal(0, 1.5, PUZZLES)
    chance = 1 / (1 + np.exp(-(np.array(world.skills).reshape(k, 1, 1) + luck + ease)))
    solved = (draw.random(chance.shape) < chance) & (draw.random((k, world.seeds, 1)) >= world.dead)
    runs = [
        EndedRun(candidate, seed, float(solved[candidate, seed].mean()), Bits.of(solved[candidate, seed]))
        for candidate in range(k)
        for seed in range(world.seeds)
    ]
    return standing(plan(k, world.seeds), runs)


def plan(candidates: int, seeds: int) -> Confirmation:
    names = [Candidate(name=f"candidate {place}") for place in range(candidates)]
    return Confirmation(of="simulated", top=candidates, candidates=names, seeds=range(seeds), puzzles="")


def table(worlds: Sequence[World], studies: int) -> list[str]:
    lines = [
        "| world | a given best one dropped | wrong winner | right winner | runs spared |",
        "|---|---|---|---|---|",
    ]
    for world in worlds:
        found = measure(world, studies)
        right = f"{found.right:.1%}" if len(world.best) == 1 else "there is none"
        lines.append(f"| {world.name} | {found.best_out:.1%} | {found.wrong:.1%} | {right} | {found.spared:.0%} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4000)
    studies = parser.parse_args().studies
    print(f"{studies} studies of each world, {PUZZLES} puzzles, level 5 %")
    print("\n".join(table(WORLDS, studies)))


if __name__ == "__main__":
    main()
