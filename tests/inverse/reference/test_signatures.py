import os

import numpy as np
import pytest
import spglib
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from inverse.reference import end_members, parent_prototype, signature
from inverse.reference.signatures import (
    alike_elements,
    alike_maps,
    are_alike,
    of_other_hand,
    parse_signature,
)
from surrogates.errors import StructureError

NACL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Ti", "C"], [[0, 0, 0], [0.5] * 3])
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
CRYSTALS = (NACL, RUTILE)


def test_known_types_have_the_expected_text():
    assert signature(NACL).text == "225|4 -3mm C|4 -3mm Ti"
    assert signature(RUTILE).text == "136|2 .mmm Ti|4 .2mm O"
    assert signature(RUTILE).orbits[1].multiplicity == 4
    assert signature(NACL).volume_per_atom == pytest.approx(4.2**3 / 8)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(range(len(CRYSTALS))), st.integers(1, 2), st.booleans())
def test_it_does_not_depend_on_the_description(seed, which, repeat, primitive):
    rng = np.random.default_rng(seed)
    crystal = CRYSTALS[which].copy()
    if primitive:
        crystal = crystal.get_primitive_structure()
    crystal = crystal * (1, 1, repeat)
    shift = rng.uniform(-1, 1, 3)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(len(crystal))
    other = Structure(
        crystal.lattice.matrix @ rotation,
        [crystal[i].specie for i in order],
        [crystal[i].frac_coords + shift for i in order],
    )
    assert signature(other).text == signature(CRYSTALS[which]).text


def test_end_members_replace_alike_elements_only():
    cell = NACL * (1, 1, 1)
    for i, element in ((0, "W"), (1, "W"), (2, "Mo")):
        cell.replace(i, element)
    cell.replace(4, "N")
    members = end_members(cell)
    assert {"TiC", "WC", "MoC", "TiN"} <= set(members)
    assert cell.composition.reduced_formula not in members
    assert end_members(RUTILE) == []


def test_alike_classes_are_those_of_the_design():
    assert are_alike("B", "N")
    assert are_alike("Ti", "Au")
    assert are_alike("Sc", "U")
    assert are_alike("Zn", "Bi")
    assert not are_alike("O", "S")
    assert not are_alike("H", "Li")
    assert not are_alike("F", "Cl")
    assert alike_elements("O") == ("O",)
    assert sum(1 for _ in alike_maps(["W", "Mo", "Ta", "C"])) == 3**3 - 1


def test_orderings_of_one_lattice_share_the_parent_prototype():
    ordered = NACL.copy()
    ordered.replace(0, "W")
    assert parent_prototype(ordered) == parent_prototype(NACL)
    assert parent_prototype(RUTILE) != parent_prototype(NACL)


@pytest.mark.parametrize("own", [None, "ON"])
def test_spglib_is_quiet_for_our_calls_alone(monkeypatch, own):
    """The variable that silences spglib stayed set for every program that ran after it."""
    monkeypatch.delenv("SPGLIB_WARNING", raising=False)
    if own is not None:
        monkeypatch.setenv("SPGLIB_WARNING", own)
    seen = []
    find = spglib.get_symmetry_dataset

    def watched(*arguments, **named):
        seen.append(os.environ.get("SPGLIB_WARNING"))
        return find(*arguments, **named)

    monkeypatch.setattr(spglib, "get_symmetry_dataset", watched)
    stretched = NACL.copy()
    stretched.scale_lattice(NACL.volume * (1.031 if own else 1.013))  # not among those remembered
    signature(stretched)
    assert seen == [own or "OFF"]
    assert os.environ.get("SPGLIB_WARNING") == own


def test_a_mirror_image_has_the_signature_of_the_other_hand():
    left, right = (
        Structure.from_spacegroup(group, Lattice.hexagonal(4.91, 5.4), ["Si", "O"], [[0.47, 0, z], oxygen])
        for group, z, oxygen in (
            ("P3_221", 2 / 3, [0.414, 0.268, 0.786]),
            ("P3_121", 1 / 3, [0.414, 0.268, 0.214]),
        )
    )
    assert signature(left).text != signature(right).text
    assert of_other_hand(signature(left).text) == signature(right).text
    assert of_other_hand(signature(NACL).text) == signature(NACL).text


def test_what_is_no_signature_is_refused():
    with pytest.raises(StructureError, match="is not a signature"):
        parse_signature("225|4 m")
    broken = NACL.copy()
    broken.replace(0, "Ti", coords=[float("nan"), 0, 0])
    with pytest.raises(StructureError, match="not finite"):
        signature(broken)
