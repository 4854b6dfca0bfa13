"""What a run's hits come to: by class, in known structure types, with and without magnetic elements."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inverse.candidates.types import Candidate, HitClass, Status, TypeNovelty

MAGNETIC_ELEMENTS = ("Cr", "Mn", "Fe", "Co", "Ni")
"""With one of these a crystal may have a magnetic order that no judge here asks about."""

MAGNETIC = "magnetic_elements"
"""Flag of a hit that has one; it lowers no rank."""

UNCLASSIFIED = "unclassified"


@dataclass(frozen=True)
class HitCounts:
    """Hits of a run, counted.

    Attributes:
        hits: in all.
        by_class: known, derivative, new, zeros included; 'unclassified' only where some are.
        new_in_known_types: of class new whose structure type is known; None where one's type is unknown.
        magnetic: with one of `MAGNETIC_ELEMENTS`.
    """

    hits: int
    by_class: Mapping[str, int]
    new_in_known_types: int | None
    magnetic: int

    @property
    def without_magnetic(self) -> int:
        """Hits without such an element."""
        return self.hits - self.magnetic

    def class_text(self, name: str) -> str:
        """Return the number of a class; beside new ones how many of them have a known structure type.

        >>> HitCounts(4, {"known": 0, "derivative": 0, "new": 4}, 4, 0).class_text("new")
        '4 (4 in known types)'
        """
        n, note = self.by_class.get(name, 0), self.class_note(name)
        return f"{n} ({note})" if note else str(n)

    def class_note(self, name: str) -> str:
        """Return how many new ones have a known structure type; "" for other classes, or where unknown."""
        if name != HitClass.NEW or not self.by_class.get(name) or self.new_in_known_types is None:
            return ""
        return f"{self.new_in_known_types} in known types"

    @property
    def magnetic_text(self) -> str:
        """Return the hits with and without magnetic elements.

        >>> HitCounts(4, {}, None, 1).magnetic_text
        '4 with, 3 without those that contain Cr, Mn, Fe, Co, Ni'
        """
        return (
            f"{self.hits} with, {self.without_magnetic} without those that contain "
            f"{', '.join(MAGNETIC_ELEMENTS)}"
        )

    def to_record(self) -> dict[str, Any]:
        """Return the counts as plain JSON, for the manifest."""
        return {
            "hits": self.hits,
            "by_class": dict(self.by_class),
            "new_in_known_types": self.new_in_known_types,
            "with_magnetic_elements": self.magnetic,
            "without_magnetic_elements": self.without_magnetic,
        }


@dataclass(frozen=True)
class HitRates:
    """Hits over what they took.

    Attributes:
        hits: in all.
        started: verifications, failed ones among them.
        triaged: crystals that a cheap potential relaxed; None or 0 where it was not asked.
        cpu_seconds: of the search, all processes; None where it was not counted.
    """

    hits: int
    started: int
    triaged: int | None = None
    cpu_seconds: float | None = None

    @property
    def per_core_hour(self) -> float | None:
        """Hits per hour of one core; None where the cost is unknown."""
        return None if not self.cpu_seconds else 3600.0 * self.hits / self.cpu_seconds

    @property
    def per_started(self) -> float | None:
        """Hits per verification started; None without any."""
        return None if not self.started else self.hits / self.started

    @property
    def per_triaged(self) -> float | None:
        """Hits per crystal triaged; None without any."""
        return None if not self.triaged else self.hits / self.triaged

    @property
    def headline(self) -> str:
        """Hits per core-hour, with both numbers.

        >>> HitRates(3, 24, 96, 5400.0).headline
        '2.0 hits per core-hour (3 in 1.5 core-hours)'
        """
        if self.per_core_hour is None or self.cpu_seconds is None:
            return f"hits per core-hour unknown ({self.hits} hits, cost not counted)"
        hours = self.cpu_seconds / 3600.0
        return (
            f"{_rounded(self.per_core_hour)} hits per core-hour ({self.hits} in {_rounded(hours)} core-hours)"
        )

    @property
    def text(self) -> str:
        """The headline and the other denominators, in one line.

        >>> HitRates(3, 24, 96, 5400.0).text
        '2.0 hits per core-hour (3 in 1.5 core-hours), 12 % of 24 verifications started, 3 % of 96 triaged'
        """
        parts = [self.headline]
        if self.per_started is not None:
            parts.append(f"{100 * self.per_started:.0f} % of {self.started} verifications started")
        if self.per_triaged is not None:
            parts.append(f"{100 * self.per_triaged:.0f} % of {self.triaged} triaged")
        return ", ".join(parts)

    def to_record(self) -> dict[str, float | None]:
        """Return the rates as plain JSON, for the manifest."""
        return {
            "per_core_hour": self.per_core_hour,
            "per_verification_started": self.per_started,
            "per_crystal_triaged": self.per_triaged,
        }


def hit_rates(candidates: Iterable[Candidate], manifest: Mapping[str, Any]) -> HitRates:
    """Return the rates of a run; what an older manifest lacks is None.

    Args:
        candidates: of the run.
        manifest: its manifest.json.
    """
    own = [c for c in candidates if c.status in (Status.HIT, Status.VERIFIED, Status.FAILED)]
    cost = (manifest.get("cost") or {}).get("search")
    triaged = (manifest.get("funnel") or {}).get("triaged")
    n_hits = sum(c.status is Status.HIT for c in own)
    return HitRates(n_hits, len(own), triaged or None, cost)


def _rounded(value: float) -> str:
    return f"{value:.2f}" if value < 0.1 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def hit_counts(candidates: Iterable[Candidate]) -> HitCounts:
    """Return the counts of the hits among the candidates."""
    hits = [c for c in candidates if c.status is Status.HIT]
    by_class = dict.fromkeys((str(c) for c in HitClass), 0)
    for candidate in hits:
        name = UNCLASSIFIED if candidate.hit_class is None else str(candidate.hit_class)
        by_class[name] = by_class.get(name, 0) + 1
    types = [c.structure_type for c in hits if c.hit_class is HitClass.NEW]
    known = [t is not None and t.novelty is TypeNovelty.KNOWN for t in types]
    return HitCounts(
        hits=len(hits),
        by_class=by_class,
        new_in_known_types=None if any(t is None for t in types) else sum(known),
        magnetic=sum(bool(magnetic_elements(c)) for c in hits),
    )


def magnetic_elements(candidate: Candidate) -> tuple[str, ...]:
    """Return which of `MAGNETIC_ELEMENTS` a candidate has."""
    symbols = {element.symbol for element in candidate.structure.composition.elements}
    return tuple(symbol for symbol in MAGNETIC_ELEMENTS if symbol in symbols)


def flags_of(candidate: Candidate) -> tuple[str, ...]:
    """Return the flags of a candidate as shown: the verification's, and what its elements call for."""
    own = () if candidate.verification is None else candidate.verification.flags
    is_magnetic = candidate.status is Status.HIT and bool(magnetic_elements(candidate))
    return (*own, MAGNETIC) if is_magnetic else own
