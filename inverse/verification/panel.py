"""The panel: which potential judges which property; those of record, the referee's, and one alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml

from inverse.candidates.registry import AUTO
from inverse.potentials.loading import available_potentials, check_potential
from inverse.potentials.traits import traits_of
from surrogates.errors import ConfigError, DataError, MissingExtraError
from surrogates.physics.properties import (
    MEASURED,
    PROPERTIES,
    Judged,
    OfCell,
    OfProperties,
    Property,
    judged_from,
)

REFEREE = "referee"
"""Name of the panel that re-judges hits: each property by a potential that did not judge it before."""


@dataclass(frozen=True)
class Panel:
    """Who judges what.

    Attributes:
        name: what was asked for.
        energy: relaxes the structure that everything else starts from, and gives its energy.
        judges: property name -> potential whose value counts; what is not named has no judge. By name, since
            a panel travels to other processes.
        stability: gives the whole tensor, by which a crystal is Born-stable or not.
        prerelax_by: relaxes first, roughly; "" for none.
        second: gives the second opinion on what is shortlisted; "" for nobody.
        appeal: judges stability and what `stability` judges where that one calls unstable, or cannot judge,
            what by the appeal's own tensor is stable; "" for nobody.
    """

    name: str
    energy: str
    judges: Mapping[str, str] = field(hash=False)
    stability: str
    prerelax_by: str = ""
    second: str = ""
    appeal: str = ""

    @property
    def potentials(self) -> tuple[str, ...]:
        """Every potential the panel loads."""
        named = (self.prerelax_by, self.energy, *self.of_tensor.values(), self.stability, self.second)
        return tuple(dict.fromkeys(n for n in (*named, self.appeal) if n))

    @property
    def of_tensor(self) -> dict[str, str]:
        """Property name -> judge, of what is read from a tensor."""
        return {p.name: self.judges[p.name] for p in judged_from(Judged.TENSOR) if p.name in self.judges}

    @property
    def has_energy(self) -> bool:
        """Whether what follows from the energy of the relaxed crystal has a judge."""
        return any(prop.name in self.judges for prop in judged_from(Judged.ENERGY))

    def judges_of(self, prop: Property) -> tuple[str, ...]:
        """Return the potentials that judge a property, each once; () when none does."""
        if isinstance(prop.formula, OfProperties):
            inputs = [self.judges_of(other) for other in prop.formula.inputs]
            return tuple(dict.fromkeys(name for names in inputs for name in names)) if all(inputs) else ()
        judge = self.energy if isinstance(prop.formula, OfCell) else self.judges.get(prop.name, "")
        return (judge,) if judge else ()

    def judged_otherwise(self, other: "Panel") -> tuple[Property, ...]:
        """Return the properties that both judge, each by another potential."""
        return tuple(
            prop
            for prop in judged_from(*MEASURED)
            if prop.name in self.judges
            and prop.name in other.judges
            and self.judges[prop.name] != other.judges[prop.name]
        )


def seated(
    name: str,
    energy: str,
    tensor: Mapping[Property, str],
    stability: str,
    *,
    prerelax_by: str = "",
    second: str = "",
    appeal: str = "",
) -> Panel:
    """Return a panel whose energy judge judges all that follows from energies, where its own are of use.

    Args:
        name: see `Panel`, as are the others.
        energy: see `Panel`.
        tensor: property -> potential, of what is read from a tensor.
        stability: see `Panel`.
        prerelax_by: see `Panel`.
        second: see `Panel`.
        appeal: see `Panel`.
    """
    of_energy = judged_from(Judged.ENERGY) if traits_of(energy).has_formation_energies else ()
    judges = {p.name: energy for p in of_energy} | {p.name: judge for p, judge in tensor.items()}
    return Panel(name, energy, judges, stability, prerelax_by, second, appeal)


def alone(potential: str) -> Panel:
    """Return the panel of one potential that judges everything itself."""
    return seated(potential, potential, dict.fromkeys(judged_from(Judged.TENSOR), potential), potential)


@dataclass(frozen=True)
class Seat:
    """What one potential is in a panel: an entry of `panels.yaml`.

    Attributes:
        potential: its name.
        roles: of ROLES.
        judges: property name -> what its calibration is made of.
    """

    potential: str
    roles: tuple[str, ...]
    judges: "Mapping[str, Calibrated]"


@dataclass(frozen=True)
class Calibrated:
    """What the calibration of a judged property is made of.

    Attributes:
        beside: names of further properties whose readings enter, by their judges.
        offsets: an offset for every anion class that is frequent enough.
        doubted: crystals with a doubt are left out of the fit and get an error of their own.
    """

    beside: tuple[str, ...] = ()
    offsets: bool = False
    doubted: bool = False


def seats(panel: str) -> tuple[Seat, ...]:
    """Return who sits in a panel of `panels.yaml`.

    Raises:
        DataError: a role or property that does not exist, or a role without exactly one holder where it
            needs one.
    """
    text = files("inverse.verification").joinpath("panels.yaml").read_text(encoding="utf-8")
    return seats_of(yaml.safe_load(text)[panel], f"panels.yaml: {panel}")


def seats_of(entries: Mapping[str, Mapping[str, Any]], where: str) -> tuple[Seat, ...]:
    """Return the seats of a mapping: potential -> roles and judges; `where` is for errors, as of `seats`."""
    found = []
    for potential, entry in entries.items():
        judges = {
            name: Calibrated(
                tuple(how.get("beside", ())), how.get("offsets", False), how.get("doubted", False)
            )
            for name, how in entry.get("judges", {}).items()
        }
        found.append(Seat(potential, tuple(entry.get("roles", ())), judges))
        named = {*judges, *(name for how in judges.values() for name in how.beside)}
        if unknown := sorted(named - {p.name for p in judged_from(Judged.TENSOR)}):
            raise DataError(f"{where}: {potential}: {unknown[0]!r} is not read from a tensor")
        if unknown := sorted({*entry} - {"roles", "judges"} | {*entry.get("roles", ())} - ROLES.keys()):
            raise DataError(f"{where}: {potential}: {unknown[0]!r} is no role")
    for role, is_needed in ROLES.items():
        holders = [seat.potential for seat in found if role in seat.roles]
        if len(holders) > 1 or (is_needed and not holders):
            raise DataError(f"{where}: {role} is held by {' and '.join(holders) or 'nobody'}")
    judged = [name for seat in found for name in seat.judges]
    if twice := sorted({name for name in judged if judged.count(name) > 1}):
        raise DataError(f"{where}: {twice[0]} has two judges")
    return tuple(found)


ROLES: Mapping[str, bool] = {
    "energy": True,
    "stability": True,
    "prerelax": False,
    "second": False,
    "appeal": False,
}
"""Role in a panel -> whether somebody must hold it; see `Panel`."""


def panel_of(name: str, seated_there: Sequence[Seat]) -> Panel:
    """Return the panel of some seats."""
    held = {role: next((s.potential for s in seated_there if role in s.roles), "") for role in ROLES}
    return seated(
        name,
        held["energy"],
        {PROPERTIES[prop]: seat.potential for seat in seated_there for prop in seat.judges},
        held["stability"],
        prerelax_by=held["prerelax"],
        second=held["second"],
        appeal=held["appeal"],
    )


OF_RECORD = panel_of(AUTO, seats(AUTO))
"""The judges of campaigns and benchmarks."""

WITHOUT_EXTRA = panel_of(AUTO, seats("without_extra"))
"""The judges where the extra `sevenn` is not installed."""

OF_REFEREE = panel_of(REFEREE, seats(REFEREE))
"""The judges of record with the properties of the tensor exchanged."""

REFEREED = OF_REFEREE.judged_otherwise(OF_RECORD)
"""Properties of which the referee has an opinion of its own."""


def panel_named(potential: str = AUTO, referee: bool = False) -> Panel:
    """Return the panel of a name; `auto` depends on what is installed. Code of users is not run.

    Args:
        potential: "auto" or a potential's name.
        referee: with "auto", `OF_REFEREE`.

    Raises:
        UnknownNameError: no such potential.
        MissingExtraError: its package is not installed.
        ConfigError: a code of first principles, which is no judge.
    """
    if potential != AUTO:
        if traits_of(potential).is_first_principles:
            raise ConfigError(
                f"{potential} takes minutes to hours for a crystal and judges no campaign: "
                "verify.confirm takes the best of one to it"
            )
        check_potential(potential)
        return alone(potential)
    wanted, there = OF_REFEREE if referee else OF_RECORD, available_potentials()
    of_extras = dict.fromkeys(
        n for n in (wanted.energy, *wanted.potentials) if n not in WITHOUT_EXTRA.potentials
    )
    lacking = [name for name in of_extras if not there[name]]
    if lacking and referee:
        raise MissingExtraError(f"the referee needs {lacking[0]}: pip install 'inverse-crystals[sevenn]'")
    return WITHOUT_EXTRA if lacking else wanted
