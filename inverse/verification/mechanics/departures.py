"""How far a crystal moved away from what was proposed while the judges relaxed it: flags, never failures."""

from pymatgen.core import Structure

from inverse.potentials.symmetric_cell import SymmetricCell
from surrogates.errors import EngineError

ANOTHER_PHASE = "another_phase_than_proposed"
SYMMETRY_RAISED = "symmetry_raised"


def departures(proposed: Structure, relaxed: Structure) -> list[str]:
    """Return the flags of a relaxed crystal beside the one that was proposed.

    `another_phase_than_proposed`: at none of the tolerances of signatures do the two have the same one;
    `symmetry_raised`: the relaxed crystal has more symmetry, such as a judge gives to what nearly has it.
    """
    flags = [] if has_same_signature(proposed, relaxed) else [ANOTHER_PHASE]
    before, after = (SymmetricCell.from_structure(structure) for structure in (proposed, relaxed))
    if len(after.rotations) > len(before.rotations) or after.n_atoms < before.n_atoms:
        flags.append(SYMMETRY_RAISED)
    return flags


def has_same_signature(proposed: Structure, relaxed: Structure) -> bool:
    """Return whether two crystals have the same signature at one of the tolerances, or nobody can tell."""
    from inverse.reference.signatures import SYMPRECS, Cell, signature_text

    try:
        cells = [Cell.from_structure(structure) for structure in (proposed, relaxed)]
    except EngineError:
        return True  # nobody can tell
    texts = ([signature_text(cell, symprec) for cell in cells] for symprec in SYMPRECS)
    return any(before is not None and before == after for before, after in texts)
