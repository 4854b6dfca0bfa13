"""De-duplication: other descriptions of a crystal are found, other crystals are kept."""

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.benchmarks.named_crystals import named_crystals
from inverse.benchmarks.verification import novelty as verify_novelty
from inverse.benchmarks.verification.novelty import many_candidates
from inverse.reference.deduplication import Distinct, distinct


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


def test_copies_of_one_crystal_need_no_signature():
    structures, origin = many_candidates(150, seed=3)
    copies = [s for s, first in zip(structures, origin, strict=True) if first == origin[-1]]
    copies += [structures[origin[-1]].copy()]
    found = distinct(copies)
    assert found.kept == [0]
    assert found.n_signatures == 0


def test_elements_at_other_sites_are_kept_apart_whatever_they_are():
    """Half-Heuslers: the answers are shared by decorations, whose elements stand in another order."""
    base = [np.array(p) for p in ([0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25])]
    lattice = Lattice([[0.0, 2.9, 2.9], [2.9, 0.0, 2.9], [2.9, 2.9, 0.0]])
    for elements in (("Ni", "Ti", "Ge"), ("Zr", "Pt", "Al")):
        swapped = (elements[2], elements[1], elements[0])
        same_site = (elements[1], elements[0], elements[2])
        cells = [Structure(lattice, list(e), base) for e in (elements, swapped, same_site)]
        assert distinct(cells).first == [0, 1, 0]


def test_the_benchmark_does_not_pass_a_program_that_merges_everything(monkeypatch):
    monkeypatch.setattr(verify_novelty, "distinct", lambda found: Distinct([0] * len(found)))
    assert not verify_novelty.deduplicated(60)["passed"]
    monkeypatch.setattr(verify_novelty, "distinct", distinct)
    assert verify_novelty.deduplicated(60)["merged_of_another_origin"]["not_matching"] == 0
