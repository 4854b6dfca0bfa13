"""Distance from the hull as a reaction energy: a crystal against the phases that it would fall apart into."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from pymatgen.core import Composition, Structure

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure

WITH_U = frozenset({"V", "Cr", "Mn", "Fe", "Co", "Ni", "Mo", "W"})
"""Metals that the reference computes with +U where O or F is there."""

WITH_U_BESIDE = frozenset({"O", "F"})


@dataclass(frozen=True)
class Phase:
    """A crystal with its DFT energy.

    Attributes:
        structure: relaxed.
        energy: eV per atom.
    """

    structure: Structure
    energy: float

    @property
    def corrected(self) -> float:
        """Energy with the reference's corrections of anions, eV per atom."""
        return self.energy + correction(self.structure, self.energy)


def check_functional(composition: Composition) -> None:
    """Raise where the reference's energies hold +U and plain PBE has nothing to compare with.

    Raises:
        CrystalFailureError: names the elements.
    """
    symbols = {element.symbol for element in composition.elements}
    if (anions := symbols & WITH_U_BESIDE) and (metals := symbols & WITH_U):
        raise CrystalFailureError(
            f"{', '.join(sorted(anions))} with {', '.join(sorted(metals))}: the reference uses +U, "
            "plain PBE gives no distance from its hull",
            Failure.UNKNOWN_ELEMENT,
        )


def correction(structure: Structure, energy: float) -> float:
    """Return what the reference adds to a PBE energy, eV per atom: oxides, peroxides, anions by their kind.

    References:
        Wang et al., Sci. Rep. 11, 15496 (2021), doi:10.1038/s41598-021-94550-5
    """
    from pymatgen.analysis.structure_analyzer import oxide_type
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    entry = ComputedStructureEntry(
        structure,
        energy * len(structure),
        parameters={"run_type": "GGA", "is_hubbard": False, "hubbards": {}},
        data={"oxide_type": oxide_type(structure)},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no oxidation states of an alloy: the reference's corrections, too
        adjustments = MaterialsProject2020Compatibility(check_potcar=False).get_adjustments(entry)
    return float(sum(one.value for one in adjustments)) / len(structure)


def energy_above(phase: Phase, competitors: Mapping[str, Phase], shares: Mapping[str, float]) -> float:
    """Return the energy of a phase above a mixture of others, eV per atom; negative where it is lower.

    Args:
        phase: the crystal.
        competitors: by reduced formula.
        shares: reduced formula -> fraction of the atoms; sums to 1.
    """
    return phase.corrected - sum(share * competitors[name].corrected for name, share in shares.items())
