"""De-duplication: other descriptions of a crystal are found, other crystals are kept."""

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.benchmarks.named_crystals import named_crystals
from inverse.benchmarks.verify_novelty import many_candidates
from inverse.reference.deduplication import distinct


def test_rewritten_copies_are_found():
    structures, origin = many_candidates(150, seed=3)
    found = distinct(structures)
    for i, first in enumerate(origin):
        assert found.first[i] == found.first[first]


def test_orderings_of_one_formula_are_kept_apart():
    cases = [c.structure for c in named_crystals() if c.name.startswith("TiWB4")]
    assert distinct(cases).kept == [0, 1]


def test_scale_does_not_count_and_broken_crystals_stand_alone():
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5] * 3])
    larger = salt.copy()
    larger.scale_lattice(salt.volume * 1.3)
    flat = Structure(Lattice(np.diag([3.0, 3.0, 0.0])), ["Mg", "O"], [[0, 0, 0], [0.5] * 3])
    assert distinct([salt, larger, salt.get_primitive_structure(), flat, flat]).first == [0, 0, 0, 3, 4]
