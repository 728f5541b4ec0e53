"""The results file: one JSON line for each plan, and the table that adds them up."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from faults.plans.families import Family


@dataclass(frozen=True, slots=True)
class Line:
    """The result of one plan, as stored."""

    seed: int
    number: int
    plan: str
    faults: Sequence[str]
    families: Sequence[str]
    violations: Sequence[str]
    slots: int
    jobs: int
    rows: int
    seconds: float
    """How long its lane was occupied."""
    unconfirmed: bool = False
    """Whether it failed once, but not in a second run."""
    kinds: Mapping[str, int] = field(default_factory=dict)
    """How many of its violations are of a kind, such as ``lost``."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a line.

        Raises:
            ValueError: It is not a result.

        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            msg = f"not a result of this version: {text[:100]}"
            raise ValueError(msg) from error

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def read(record: Path) -> list[Line]:
    """Return the results in a file, the last line of each plan; an unreadable line, such as half of one, is ignored."""
    found: dict[tuple[int, int], Line] = {}
    if record.exists():
        for text in record.read_text(encoding="utf-8").splitlines():
            try:
                line = Line.parse(text)
            except ValueError:
                continue
            found[line.seed, line.number] = line
    return list(found.values())


def first_missing(lines: Iterable[Line], seed: int) -> int:
    """Return the lowest number of a plan without a result: where a run that was stopped goes on."""
    known = {line.number for line in lines if line.seed == seed}
    return next(number for number in range(len(known) + 1) if number not in known)


@dataclass(slots=True)
class _Sums:
    plans: int = 0
    violated: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        self.plans += 1
        self.violated += bool(line.violations)
        self.seconds += line.seconds
        self.kinds.update(line.kinds)

    def row(self, name: str, kinds: Sequence[str]) -> str:
        pace = f"{self.plans * 60 / self.seconds:.1f}" if self.seconds else "-"
        counted = (self.kinds[kind] for kind in kinds)
        return f"| {' | '.join(map(str, (name, self.plans, self.violated, *counted, pace)))} |"


@dataclass(slots=True)
class Summary:
    """The results of one seed, added up."""

    seed: int
    kinds: Sequence[str] = ()
    """The kinds of violation that have a column of their own."""
    lines: int = 0
    slots: int = 0
    jobs: int = 0
    rows: int = 0
    unconfirmed: int = 0
    _all: _Sums = field(default_factory=_Sums)
    _families: Mapping[str, _Sums] = field(default_factory=lambda: defaultdict(_Sums))

    @classmethod
    def of(cls, seed: int, lines: Iterable[Line], kinds: Sequence[str] = ()) -> Self:
        """Add up lines."""
        made = cls(seed, kinds)
        for line in lines:
            if line.seed == seed:
                made._add(line)
        return made

    def _add(self, line: Line) -> None:
        self.lines += 1
        self.slots += line.slots
        self.jobs += line.jobs
        self.rows += line.rows
        self.unconfirmed += line.unconfirmed
        self._all.add(line)
        for family in line.families:
            self._families[family].add(line)

    def __str__(self) -> str:
        known = [family for family in Family if family in self._families]
        head = (
            f"Seed {self.seed}: {self.lines} plans, {self.slots} slots due, {self.jobs} Jobs, {self.rows} rows;"
            f" {self.unconfirmed} failed once, but not in a second run."
        )
        columns = ("Plans", "With violations", *map(str.capitalize, self.kinds), "Plans a minute in one lane")
        return "\n".join(
            (
                head,
                "",
                f"| Family | {' | '.join(columns)} |",
                f"|---{'|---:' * len(columns)}|",
                *(self._families[family].row(family.value, self.kinds) for family in known),
                self._all.row("all", self.kinds),
            )
        )


def told(record: Path, kinds: Sequence[str] = ()) -> str:
    """Return the tables of a results file, one for each seed. A plan with faults of two families is in both rows."""
    lines = read(record)
    seeds: dict[int, Any] = dict.fromkeys(line.seed for line in lines)
    return "\n\n".join(str(Summary.of(seed, lines, kinds)) for seed in seeds) or f"{record} has no results"
