"""CIFs as people bring them: what is stated must agree, and one crystal comes out, or one named reason."""

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from inverse.inputs.formats.cif import crystal_blocks, read_block
from inverse.inputs.formats.cif_formula import read_formula
from inverse.inputs.formats.cif_symmetry import read_operation, statements
from inverse.inputs.formats.cif_syntax import CifBlock, number, parse_blocks
from inverse.inputs.formats.space_groups import N_SETTINGS, setting
from inverse.inputs.formats.symbols import read_label, read_symbol
from inverse.inputs.remarks import RemarkKind
from inverse.inputs.structure_files import ReadStructure, read_structures
from surrogates.errors import StructureError, UnsupportedElementError

ROCK_SALT = ("F m -3 m", 225)


def cif(
    cell: tuple[float, ...],
    sites: list[str],
    symmetry: str = "",
    columns: str = "label type_symbol fract_x fract_y fract_z",
    extra: str = "",
) -> str:
    """Return a CIF of a cell (a, b, c, alpha, beta, gamma), atom rows, and lines on symmetry and the rest."""
    names = [f"_cell_length_{k}" for k in "abc"] + [f"_cell_angle_{k}" for k in ("alpha", "beta", "gamma")]
    lines = ["data_test", *(f"{n} {v}" for n, v in zip(names, cell, strict=False)), symmetry, extra, "loop_"]
    lines += [f"_atom_site_{name}" for name in columns.split()] + sites
    return "\n".join(lines) + "\n"


def named(symbol: str = "", it_number: int | None = None) -> str:
    lines = [f"_space_group_name_H-M_alt '{symbol}'"] if symbol else []
    return "\n".join(lines + ([f"_space_group_IT_number {it_number}"] if it_number else []))


def cubic(a: float) -> tuple[float, ...]:
    return (a, a, a, 90, 90, 90)


def hexagonal(a: float, c: float) -> tuple[float, ...]:
    return (a, a, c, 90, 90, 120)


def read(text: str, folder: Path) -> ReadStructure:
    path = folder / "x.cif"
    path.write_text(text, encoding="utf-8")
    (record,) = read_structures([path])
    return record


def crystal(text: str, folder: Path) -> Structure:
    record = read(text, folder)
    assert record.error is None, record.error
    assert record.structure is not None
    return record.structure


def refusal(text: str, folder: Path) -> str:
    record = read(text, folder)
    assert record.structure is None
    assert "\n" not in str(record.error)
    return str(record.error)


KCL = ["K1 K 0 0 0", "Cl1 Cl 0.5 0.5 0.5"]
WITH_OCCUPANCY = "label type_symbol fract_x fract_y fract_z occupancy"

# -- occupancy and species --


@pytest.mark.parametrize("occupancy", ["1", ".", "?", "1.000", "0.9996(7)", "1.0004", "0.9991"])
def test_occupancies_that_mean_one(tmp_path: Path, occupancy: str) -> None:
    rows = [f"{row} {occupancy}" for row in KCL]
    found = crystal(cif(cubic(6.29), rows, named(*ROCK_SALT), WITH_OCCUPANCY), tmp_path)
    assert found.is_ordered
    assert found.composition.formula == "K4 Cl4"


@pytest.mark.parametrize("occupancy", ["0.5", "0.99", "0.997(4)"])
def test_real_partial_occupancy_names_the_site(tmp_path: Path, occupancy: str) -> None:
    text = cif(cubic(6.29), [f"{KCL[0]} {occupancy}", f"{KCL[1]} 1"], named(*ROCK_SALT), WITH_OCCUPANCY)
    assert "partial occupancy: site K1" in refusal(text, tmp_path)


@pytest.mark.parametrize("occupancy", ["1.2", "-0.1", "many", "nan"])
def test_occupancies_that_mean_nothing(tmp_path: Path, occupancy: str) -> None:
    text = cif(cubic(6.29), [f"{KCL[0]} {occupancy}", f"{KCL[1]} 1"], named(*ROCK_SALT), WITH_OCCUPANCY)
    assert "site 'K1'" in refusal(text, tmp_path)


def test_valences_of_one_element_share_a_site(tmp_path: Path) -> None:
    """Mn2+ and Mn3+ on one site are manganese; Mn and Fe are not."""
    rows = ["Mn1 Mn2+ 0 0 0 0.25", "Mn2 Mn3+ 0 0 0 0.7496", "O1 O2- .5 .5 .5 1"]
    found = crystal(cif(cubic(4.44), rows, named(*ROCK_SALT), WITH_OCCUPANCY), tmp_path)
    assert found.composition.formula == "Mn4 O4"
    rows[1] = "Fe2 Fe3+ 0 0 0 0.75"
    said = refusal(cif(cubic(4.44), rows, named(*ROCK_SALT), WITH_OCCUPANCY), tmp_path)
    assert "partial occupancy: site Mn1/Fe2" in said
    assert "Mn 0.25, Fe 0.75" in said
    rows[1] = "Mn2 Mn3+ 0 0 0 1"
    said = refusal(cif(cubic(4.44), rows, named(*ROCK_SALT), WITH_OCCUPANCY), tmp_path)
    assert "Mn1 and Mn2 stand on one place with 1.25 atoms" in said


def test_an_empty_site_is_left_out_and_said(tmp_path: Path) -> None:
    rows = [*(f"{row} 1" for row in KCL), "Li1 Li .25 .25 .25 0"]
    record = read(cif(cubic(6.29), rows, named(*ROCK_SALT), WITH_OCCUPANCY), tmp_path)
    assert record.structure is not None
    assert record.structure.composition.formula == "K4 Cl4"
    assert [remark.kind for remark in record.remarks] == [RemarkKind.OCCUPANCY]


@pytest.mark.parametrize(
    ("written", "element", "isotope"),
    [
        ("Fe", "Fe", ""),
        ("FE", "Fe", ""),
        ("fe3+", "Fe", ""),
        ("Fe+3", "Fe", ""),
        ("O2-", "O", ""),
        ("O-2", "O", ""),
        ("Fe(III)", "Fe", ""),
        ("Na+", "Na", ""),
        ("O0-", "O", ""),
        ("Cu1.5+", "Cu", ""),
        ("Fe2+,spin=5", "Fe", ""),
        ("Siva", "Si", ""),
        ("D", "H", "D"),
        ("T", "H", "T"),
        ("D1+", "H", "D"),
        ("11B", "B", "11B"),
    ],
)
def test_symbols(written: str, element: str, isotope: str) -> None:
    found = read_symbol(written)
    assert (found.element, found.isotope) == (element, isotope)


@pytest.mark.parametrize("written", ["Vac", "Va", "X", "Xx", "Wat", "Q1", "M", "", "12", "Rf", "Fee", "$"])
def test_symbols_that_are_no_element(tmp_path: Path, written: str) -> None:
    with pytest.raises(UnsupportedElementError, match=r"not an element|not one of H to Lr"):
        read_symbol(written)
    rows = [*KCL, f"Z9 {written or '?'} 0.25 0.25 0.25"]
    if written:
        assert "site 'Z9'" in refusal(cif(cubic(6.29), rows, named(*ROCK_SALT)), tmp_path)


@pytest.mark.parametrize(
    ("label", "among", "element"),
    [
        ("Fe1", (), "Fe"),
        ("O2A", (), "O"),
        ("Ow3", (), "O"),
        ("OW", (), "O"),
        ("CL1", (), "Cl"),
        ("CA1", ("Ca", "O"), "Ca"),
        ("CA1", ("C", "O"), "C"),
        ("HO1", ("H", "O"), "H"),
        ("D3", (), "H"),
        ("Si2+", (), "Si"),
    ],
)
def test_labels_without_a_column_of_symbols(label: str, among: tuple[str, ...], element: str) -> None:
    assert read_label(label, among).element == element


def test_labels_that_do_not_tell() -> None:
    with pytest.raises(StructureError, match="Ho or H"):
        read_label("HO1")
    for label in ("Vac1", "T2", "M1", "Wat", "1"):
        with pytest.raises(UnsupportedElementError, match=r"not an element|not one of"):
            read_label(label)


def test_deuterium_is_read_as_hydrogen_and_said(tmp_path: Path) -> None:
    rows = ["Li1 Li 0 0 0", "D1 D .5 .5 .5"]
    record = read(cif(cubic(4.07), rows, named(*ROCK_SALT)), tmp_path)
    assert record.structure is not None
    assert record.structure.composition.formula == "Li4 H4"
    assert record.flags == ["isotope: D (deuterium) read as H"]


def test_hydrogens_that_are_counted_but_not_placed(tmp_path: Path) -> None:
    rows = ["Ca1 Ca 0 0 0 0", "O1 O .3333 .6667 .234 1"]
    columns = "label type_symbol fract_x fract_y fract_z attached_hydrogens"
    said = refusal(cif(hexagonal(3.59, 4.91), rows, named("P -3 m 1", 164), columns), tmp_path)
    assert "site 'O1': 1 hydrogens counted with it, not placed" in said


# -- symmetry: which operations --


def operations_of(symmetry: str) -> set[bytes]:
    (block,) = parse_blocks("data_x\n" + symmetry)
    return {one.rotations.tobytes() + one.translations.tobytes() for one in statements(block).settings}


def test_every_setting_is_found_by_its_symbols() -> None:
    """530 settings by full symbol and choice, and by Hall symbol."""
    for hall_number in range(1, N_SETTINGS + 1):
        import spglib

        kind = spglib.get_spacegroup_type(hall_number)
        own = setting(hall_number)
        key = own.rotations.tobytes() + own.translations.tobytes()
        full = kind.international_full.replace("_", "")
        code = f"\n_space_group_IT_coordinate_system_code {kind.choice or '1'}"
        assert key in operations_of(f"_space_group_name_H-M_full '{full}'{code}"), (full, kind.choice)
        hall = kind.hall_symbol
        quote = '"' if "'" in hall else "'"
        assert operations_of(f"_space_group_name_Hall {quote}{hall}{quote}") == {key}, hall


@pytest.mark.parametrize(
    ("symbol", "full", "choice"),
    [
        ("F 4/m -3 2/m", "F 4/m -3 2/m", ""),
        ("Fm3m", "F 4/m -3 2/m", ""),
        ("F m 3\u0305 m", "F 4/m -3 2/m", ""),
        ("FM-3M", "F 4/m -3 2/m", ""),
        ("F m -3 m (225)", "F 4/m -3 2/m", ""),
        ("I a 3 d", "I 4_1/a -3 2/d", ""),
        ("Fd-3m:1", "F 4_1/d -3 2/m", "1"),
        ("F d -3 m :2", "F 4_1/d -3 2/m", "2"),
        ("F d -3 m Z", "F 4_1/d -3 2/m", "2"),
        ("F d -3 m S", "F 4_1/d -3 2/m", "1"),
        ("F d -3 m (origin choice 2)", "F 4_1/d -3 2/m", "2"),
        ("R -3 m :R", "R -3 2/m", "R"),
        ("R -3 m H", "R -3 2/m", "H"),
        ("R-3cr", "R -3 2/c", "R"),
        ("P 1 21/n 1", "P 1 2_1/n 1", "b2"),
        ("I 1 2/a 1", "I 1 2/a 1", "b3"),
        ("P 2_1 2_1 2_1", "P 2_1 2_1 2_1", ""),
        ("P2(1)2(1)2(1)", "P 2_1 2_1 2_1", ""),
        ("P b n m", "P 2_1/b 2_1/n 2_1/m", "cab"),
        ("A b m 2", "A e m 2", ""),
        ("C m c a", "C 2/m 2/c 2_1/e", ""),
        ("C m m b", "C 2/m 2/m 2/e", "ba-c"),
        ("P 42/n m c :2", "P 4_2/n 2_1/m 2/c", "2"),
        ("P m n 21", "P m n 2_1", ""),
    ],
)
def test_symbols_as_people_write_them(symbol: str, full: str, choice: str) -> None:
    import spglib

    kinds = [spglib.get_spacegroup_type(h) for h in range(1, N_SETTINGS + 1)]
    (hall_number,) = [
        h for h, kind in enumerate(kinds, start=1) if (kind.international_full, kind.choice) == (full, choice)
    ]
    own = setting(hall_number)
    assert operations_of(f'_symmetry_space_group_name_H-M "{symbol}"') == {
        own.rotations.tobytes() + own.translations.tobytes()
    }


def test_centred_cells_that_no_table_has(tmp_path: Path) -> None:
    """C -1 (feldspars) and F 4/m m m are the primitive group with a centred cell."""
    rows = ["Sn1 Sn 0 0 0", "O1 O 0 0 .37"]
    small = crystal(cif((4.2, 4.2, 5.1, 90, 90, 90), ["Al1 Al 0 0 0"], named("I 4/m m m", 139)), tmp_path)
    large = crystal(cif((5.94, 5.94, 5.1, 90, 90, 90), ["Al1 Al 0 0 0"], named("F 4/m m m")), tmp_path)
    assert len(large) == 2 * len(small) == 4
    assert large.get_space_group_info()[1] == 139
    assert len(crystal(cif((6, 6.5, 7, 84, 95, 88), rows, named("C -1", 2)), tmp_path)) == 6


def test_origin_choices_of_a_spinel(tmp_path: Path) -> None:
    """The same crystal by either origin; without a choice the formula decides, or nothing does."""
    first = ["Mg1 Mg 0 0 0", "Al1 Al .625 .625 .625", "O1 O .3875 .3875 .3875"]
    second = ["Mg1 Mg .125 .125 .125", "Al1 Al .5 .5 .5", "O1 O .2625 .2625 .2625"]
    formula = "_chemical_formula_sum 'Al2 Mg O4'"
    for rows, choice in ((first, ":1"), (second, ":2"), (second, "Z"), (first, ""), (second, "")):
        extra = "" if choice else formula
        found = crystal(cif(cubic(8.083), rows, named(f"F d -3 m {choice}"), extra=extra), tmp_path)
        assert found.composition.formula == "Mg8 Al16 O32"
        assert found.get_space_group_info()[1] == 227
    said = refusal(cif(cubic(8.083), ["Xe1 Xe 0 0 0"], named("F d -3 m", 227)), tmp_path)
    assert "several settings" in said
    assert "Xe8" in said
    assert "Xe16" in said


def test_an_origin_that_contacts_decide_is_said(tmp_path: Path) -> None:
    """Germanium without a choice: 16 atoms would stand 2.0 Å apart."""
    for coordinate in ("0", "0.125"):
        row = "Ge1 Ge " + " ".join([coordinate] * 3)
        record = read(cif(cubic(5.658), [row], named("F d -3 m", 227)), tmp_path)
        assert record.structure is not None
        assert len(record.structure) == 8
        assert [remark.kind for remark in record.remarks] == [RemarkKind.SYMMETRY]


def test_axes_of_a_rhombohedral_group(tmp_path: Path) -> None:
    rhombohedral = (4.131, 4.131, 4.131, 54.1, 54.1, 54.1)
    for symbol in ("R -3 m :R", "R -3 m", "R -3 m R"):
        found = crystal(cif(rhombohedral, ["As1 As .227 .227 .227"], named(symbol, 166)), tmp_path)
        assert len(found) == 2
    for symbol in ("R -3 m :H", "R -3 m"):
        found = crystal(cif(hexagonal(3.76, 10.55), ["As1 As 0 0 .227"], named(symbol, 166)), tmp_path)
        assert len(found) == 6
    said = refusal(cif(rhombohedral, ["As1 As .227 .227 .227"], named("R -3 m :H", 166)), tmp_path)
    assert "do not fit the cell" in said


def test_settings_of_one_monoclinic_crystal(tmp_path: Path) -> None:
    """One crystal in P21/c and P 1 1 21/a has the same contacts; read as P21/n it would not."""
    rows = ["Zr1 Zr .2754 .0395 .2083", "O1 O .0700 .3317 .3447", "O2 O .4496 .7569 .4792"]
    standard = crystal(cif((5.1505, 5.2116, 5.3173, 90, 99.23, 90), rows, named("P 1 21/c 1", 14)), tmp_path)
    turned = [" ".join([*row.split()[:2], *np.array(row.split()[2:])[[2, 0, 1]]]) for row in rows]
    other = crystal(cif((5.3173, 5.1505, 5.2116, 90, 90, 99.23), turned, named("P 1 1 21/a")), tmp_path)
    assert sorted(np.round(standard.distance_matrix[0], 4)) == sorted(np.round(other.distance_matrix[0], 4))
    said = refusal(cif((5.1505, 5.2116, 5.3173, 90, 99.23, 90), rows, named("P 21/n", 14)), tmp_path)
    assert "by P 1 21/n 1 :b2, which the file names without listing operations, atoms collide" in said
    assert "by P 1 21/c 1 :b1 they would not" in said
    moved = [f"{row.split()[0]} {row.split()[1]} .10 .20 .30" for row in rows[:1]]
    diagonal = crystal(cif((5.1505, 5.2116, 5.3173, 90, 99.23, 90), moved, named("P 21/n", 14)), tmp_path)
    places = np.mod(diagonal.frac_coords, 1)
    assert np.isclose(places, [0.4, 0.7, 0.2]).all(axis=1).any(), "1/2-x, 1/2+y, 1/2-z"


def test_a_number_alone_means_the_standard_setting(tmp_path: Path) -> None:
    record = read(cif((10.332, 6.01, 4.692, 90, 90, 90), LFP, named("", 62)), tmp_path)
    assert record.structure is not None
    assert record.structure.composition.formula == "Li4 Fe4 P4 O16"
    other = read(
        cif((6.01, 4.692, 10.332, 90, 90, 90), [turned(row) for row in LFP], named("", 62)), tmp_path
    )
    assert other.structure is None or "symmetry" in other.flags[0]


LFP = [
    "Li1 Li 0 0 0",
    "Fe1 Fe .2822 .25 .9747",
    "P1 P .0948 .25 .4182",
    "O1 O .0968 .25 .7428",
    "O2 O .4571 .25 .2060",
    "O3 O .1656 .0465 .2848",
]


def turned(row: str) -> str:
    words = row.split()
    return " ".join([words[0], words[1], words[3], words[4], words[2]])


def test_pbnm_and_pnma_are_one_crystal(tmp_path: Path) -> None:
    pnma = crystal(cif((10.332, 6.01, 4.692, 90, 90, 90), LFP, named("P n m a", 62)), tmp_path)
    rows = []
    for row in LFP:
        label, symbol, x, y, z = row.split()
        rows.append(" ".join([label, symbol, z, x, y]))
    pbnm = crystal(cif((4.692, 10.332, 6.01, 90, 90, 90), rows, named("P b n m", 62)), tmp_path)
    assert len(pnma) == len(pbnm) == 28
    assert np.allclose(np.sort(pnma.distance_matrix[4]), np.sort(pbnm.distance_matrix[4]), atol=1e-3)


@pytest.mark.parametrize(
    ("symmetry", "words"),
    [
        (named("F m 9 m"), "space group 'F m 9 m' not known and no operations listed"),
        (named("F m -3 m", 227), "number 227 is not F m -3 m, and no operations listed"),
        ("_space_group_name_Hall 'F 4 4 4'", "'F 4 4 4' not known and no operations listed"),
        ("", "no space group named and no operations listed"),
        (named("", 999), "number 999"),
    ],
)
def test_symmetry_that_is_not_told(tmp_path: Path, symmetry: str, words: str) -> None:
    assert words in refusal(cif(cubic(6.29), KCL, symmetry), tmp_path)


def test_no_symmetry_but_all_atoms(tmp_path: Path) -> None:
    record = read(cif(cubic(4.12), ["Cs1 Cs 0 0 0", "Cl1 Cl .5 .5 .5"]), tmp_path)
    assert record.structure is not None
    assert len(record.structure) == 2
    assert "read as P 1" in record.flags[0]


def test_an_unknown_symbol_beside_a_number_of_one_setting(tmp_path: Path) -> None:
    record = read(cif(cubic(6.29), KCL, named("F m m m m", 225)), tmp_path)
    assert record.structure is not None
    assert len(record.structure) == 8
    assert "F m m m m not known" in record.flags[0]


def listed(*operations: str) -> str:
    return "\n".join(["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{one}'" for one in operations)])


FCC = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
FOUR_KCL = [
    f"{symbol}{k} {symbol} " + " ".join(str(c + shift) for c in place)
    for symbol, shift in (("K", 0), ("Cl", 0.5))
    for k, place in enumerate(FCC)
]


def test_listed_operations_and_symbols(tmp_path: Path) -> None:
    """All atoms with the identity are taken; two of them under a symbol that makes them eight are not."""
    symmetry = named(*ROCK_SALT) + "\n" + listed("x, y, z")
    assert len(crystal(cif(cubic(6.29), FOUR_KCL, symmetry), tmp_path)) == 8
    said = refusal(cif(cubic(6.29), KCL, symmetry), tmp_path)
    assert "the operations listed (number 1) and F m -3 m" in said
    primitive = (4.4477, 4.4477, 4.4477, 60, 60, 60)
    assert len(crystal(cif(primitive, KCL, symmetry), tmp_path)) == 2


def test_listed_operations_of_another_setting_are_used_and_said(tmp_path: Path) -> None:
    rows = ["Zr1 Zr .2754 .0395 .2083", "O1 O .0700 .3317 .3447", "O2 O .4496 .7569 .4792"]
    symmetry = named("P 21/n", 14) + "\n" + listed("x,y,z", "-x,1/2+y,1/2-z", "-x,-y,-z", "x,1/2-y,1/2+z")
    record = read(cif((5.1505, 5.2116, 5.3173, 90, 99.23, 90), rows, symmetry), tmp_path)
    assert record.structure is not None
    assert min(d for d in record.structure.distance_matrix.ravel() if d > 0.1) > 1.9
    assert "another setting" in record.flags[0]


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        (("x,y,z", "-x,y+1/2,-z"), "do not fit the cell"),
        (("x,y,z", "-x,-y,-z", "x,-y,z"), "are no group"),
        (("x,y,z", "x,y"), "cannot be read"),
        (("x,y,z", "x,y,w"), "cannot be read"),
        (("x,y,z", "x+1/0,y,z"), "cannot be read"),
    ],
)
def test_operations_that_are_no_group_of_the_cell(
    tmp_path: Path, operations: tuple[str, ...], words: str
) -> None:
    rows = ["Al1 Al .1 .2 .3"]
    assert words in refusal(cif((5, 6, 7, 80, 95, 100), rows, listed(*operations)), tmp_path)


def test_operation_forms() -> None:
    for text in ("1/2-x, y+z, -z", "-x+.5,z+y,-z", " -X+1/2 , Y+Z , -Z ", "0.5-x,y+z,-z,+1"):
        rotation, translation = read_operation(text)
        assert rotation.tolist() == [[-1, 0, 0], [0, 1, 1], [0, 0, -1]]
        assert translation.tolist() == [0.5, 0, 0]
    assert read_operation("x+0.333,y+.6667,z")[1].tolist() == pytest.approx([1 / 3, 2 / 3, 0], abs=1e-12)


# -- rounded coordinates --


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("0.3333", "0.6667"),
        ("0.333", "0.667"),
        ("0.333", "0.666"),
        ("0.33", "0.67"),
        ("1/3", "2/3"),
        ("-0.333", "0.333"),
        ("-.6667", "-.3333"),
        ("1.333", "0.667"),
        ("0.3333(2)", "0.6667(2)"),
    ],
)
def test_rounded_thirds_are_one_atom(tmp_path: Path, x: str, y: str) -> None:
    rows = ["B1 B 0 0 0", f"N1 N {x} {y} 0"]
    found = crystal(cif(hexagonal(2.5, 6.6), [rows[0], f"N1 N {x} {y} 0"], named("P -6 m 2", 187)), tmp_path)
    assert found.composition.formula == "B1 N1"
    place = found.frac_coords[1] % 1
    assert sorted(place[:2]) == pytest.approx([1 / 3, 2 / 3], abs=1e-9)


def test_other_rounded_special_positions(tmp_path: Path) -> None:
    """A sixth (0.167, 0.333) of a kagome layer, and x, 2x in general."""
    rows = ["Nb1 Nb 0 0 0", "Cr1 Cr 0.167 0.333 0.25"]
    found = crystal(cif(hexagonal(5.0, 8.2), rows, named("P 63/m m c", 194)), tmp_path)
    assert found.composition.formula == "Nb2 Cr6"
    two_digits = ["Nb1 Nb 0 0 0", "Cr1 Cr 0.17 0.33 0.25"]
    assert len(crystal(cif(hexagonal(5.0, 8.2), two_digits, named("P 63/m m c", 194)), tmp_path)) == 8


def test_images_that_are_apart_stay_apart(tmp_path: Path) -> None:
    """A hydrogen 0.74 Å from its image is a molecule, not a rounded position."""
    rows = ["H1 H 0 0 0.0925"]
    found = crystal(cif((4, 4, 4, 90, 90, 90), rows, named("P 4/m m m", 123)), tmp_path)
    assert len(found) == 2
    off_centre = ["Ti1 Ti 0.5 0.5 0.5381", "Ba1 Ba 0 0 0", "O1 O .5 .5 .0261", "O2 O .5 0 .4879"]
    found = crystal(cif((3.99, 3.99, 4.04, 90, 90, 90), off_centre, named("P 4 m m", 99)), tmp_path)
    assert found.composition.formula == "Ba1 Ti1 O3"
    assert found[0].frac_coords[2] == pytest.approx(0.5381)


def test_different_sites_are_never_merged_silently(tmp_path: Path) -> None:
    """The atoms of one orbit listed twice are said; two elements on one place are refused."""
    record = read(cif(cubic(6.29), FOUR_KCL, named(*ROCK_SALT)), tmp_path)
    assert record.structure is not None
    assert len(record.structure) == 8
    assert {remark.kind for remark in record.remarks} == {RemarkKind.REPEATED_SITES}
    said = refusal(cif(cubic(6.29), [*KCL, "Br1 Br .5 .5 .5"], named(*ROCK_SALT)), tmp_path)
    assert "Cl1 and Br1 stand on one place" in said


# -- what is stated beside the sites --


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("_chemical_formula_sum 'Ca H2 O2'", "sites give Ca O2, the file's formula is Ca H2 O2: H missing"),
        ("_chemical_formula_moiety 'Ca 2+, 2(H O 1-)'", "H missing"),
        ("_chemical_formula_structural 'Ca (O H)2'", "H missing"),
        ("_chemical_formula_sum ?", ""),
        ("_chemical_formula_sum 'O2 Sr'", "Ca not in the formula"),
        ("_chemical_formula_sum 'Ca O'", "amounts of"),
        ("_chemical_formula_sum 'Ca D2 O2'", "H missing"),
    ],
)
def test_sites_and_formula_disagree(tmp_path: Path, formula: str, words: str) -> None:
    rows = ["Ca1 Ca2+ 0 0 0", "O1 O2- .3333 .6667 .234"]
    text = cif(hexagonal(3.59, 4.91), rows, named("P -3 m 1", 164), extra=formula)
    if words:
        assert words in refusal(text, tmp_path)
    else:
        assert crystal(text, tmp_path).composition.formula == "Ca1 O2"


@pytest.mark.parametrize(("weight", "kinds"), [(74.09, [RemarkKind.FORMULA]), (72.1, []), ("n/a", [])])
def test_a_formula_weight_says_that_hydrogens_are_missing(
    tmp_path: Path, weight: object, kinds: list[RemarkKind]
) -> None:
    rows = ["Ca1 Ca2+ 0 0 0", "O1 O2- .3333 .6667 .234"]
    extra = f"_chemical_formula_weight {weight}\n_cell_formula_units_Z 1"
    record = read(cif(hexagonal(3.59, 4.91), rows, named("P -3 m 1", 164), extra=extra), tmp_path)
    assert record.structure is not None
    assert [remark.kind for remark in record.remarks] == kinds


def test_amounts_within_rounding_are_said(tmp_path: Path) -> None:
    extra = "_chemical_formula_sum 'K0.98 Cl'"
    record = read(cif(cubic(6.29), KCL, named(*ROCK_SALT), extra=extra), tmp_path)
    assert record.structure is not None
    assert [remark.kind for remark in record.remarks] == [RemarkKind.FORMULA]


@pytest.mark.parametrize("extra", ["_cell_formula_units_Z 4\n_chemical_formula_sum 'Cl K'", ""])
def test_formula_units(tmp_path: Path, extra: str) -> None:
    assert read(cif(cubic(6.29), KCL, named(*ROCK_SALT), extra=extra), tmp_path).flags == []


def test_formula_units_that_the_sites_do_not_make(tmp_path: Path) -> None:
    """Without operations they decide; with them they are said."""
    extra = "_cell_formula_units_Z 4\n_chemical_formula_sum 'Cl Cs'"
    rows = ["Cs1 Cs 0 0 0", "Cl1 Cl .5 .5 .5"]
    said = refusal(cif(cubic(4.12), rows, extra=extra), tmp_path)
    assert "4 formula units of Cl Cs stated, 2 atoms by the sites" in said
    record = read(cif(cubic(4.12), rows, listed("x,y,z"), extra=extra), tmp_path)
    assert record.structure is not None
    assert [remark.kind for remark in record.remarks] == [RemarkKind.CELL]


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("Al2 Ca1 D8 O12", "CaAl2(H2O3)4"),
        ("'Mg O2 H2'", "Mg(HO)2"),
        ("Ca0.5 Mg0.5 (C O3)", "Ca0.5Mg0.5C1O3"),
        ("Mg 2+, 2(O1 H1 1-)", "Mg(HO)2"),
        ("(Ca 2+)3, 2(P O4 3-)", "Ca3(PO4)2"),
        ("Cu S O4, 5(H2 O)", "CuH10SO9"),
        ("Mg (O H)2", "Mg(HO)2"),
    ],
)
def test_formulas(text: str, formula: str) -> None:
    composition = read_formula(text)
    assert composition is not None
    assert composition.reduced_formula == formula


@pytest.mark.parametrize("text", ["Wat Ca", "C H(", "Ca * 2", "approximately"])
def test_formulas_that_cannot_be_read_are_said(tmp_path: Path, text: str) -> None:
    assert read_formula(text) is None
    extra = f"_chemical_formula_sum '{text}'"
    record = read(cif(cubic(6.29), KCL, named(*ROCK_SALT), extra=extra), tmp_path)
    assert record.structure is not None
    assert [remark.kind for remark in record.remarks] == [RemarkKind.FORMULA]


# -- cell --


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ((1e-6, 1e5, 5, 90, 90, 90), "make no cell"),
        ((1e-6, 9e4, 5, 90, 90, 90), "a lattice vector is 9e+04 Å long"),
        ((2500, 4, 4, 90, 90, 90), "a lattice vector is 2.5e+03 Å long"),
        ((0.01, 60, 60, 90, 90, 90), "planes are 0.01 Å apart"),
        ((0.5, 60, 60, 90, 90, 90), "repeats every 0.5 Å"),
        ((4, 4, 4, 90, 90, 180), "make no cell"),
        ((4, 4, 4, 30, 30, 90), "make no cell"),
        ((0, 4, 4, 90, 90, 90), "make no cell"),
        ((-4, 4, 4, 90, 90, 90), "make no cell"),
        (("nan", 4, 4, 90, 90, 90), "is not a number"),
        (("1e999", 4, 4, 90, 90, 90), "not a finite number"),
        ((1.0, 1.0, 1.5, 90, 90, 90), "per atom"),
        (("?", 4, 4, 90, 90, 90), "no _cell_length_a"),
        (("4,05", 4, 4, 90, 90, 90), "write a point, not a comma"),
    ],
)
def test_cells_that_are_none(tmp_path: Path, cell: tuple, words: str) -> None:
    rows = ["Al1 Al 0 0 0", "Al2 Al .5 .5 .5"]
    assert words in refusal(cif(cell, rows, listed("x,y,z")), tmp_path)


def test_angles_default_to_ninety(tmp_path: Path) -> None:
    assert len(crystal(cif((6.29, 6.29, 6.29), KCL, named(*ROCK_SALT)), tmp_path)) == 8
    said = refusal(cif((3.21, 3.21, 5.21), ["Mg1 Mg .3333 .6667 .25"], named("P 63/m m c", 194)), tmp_path)
    assert "do not fit the cell" in said


def test_a_volume_that_is_not_the_cells(tmp_path: Path) -> None:
    extra = "_cell_volume 46.5(2)"
    text = cif((3.21, 3.21, 5.21), ["Mg1 Mg 0 0 0", "Mg2 Mg .3 .6 .5"], listed("x,y,z"), extra=extra)
    assert "lengths and angles give 53.7 Å³, _cell_volume says 46.5" in refusal(text, tmp_path)


def test_uncertainties_are_brackets_everywhere(tmp_path: Path) -> None:
    text = cif(
        ("3.2094(2)", "3.2094(2)", "5.2108(12)", "90.0(1)", "90.00", "120.00(3)"),
        ["Mg1 Mg 0.33333(4) 0.66667(4) 0.2500(1)"],
        named("P 63/m m c", 194),
    )
    assert len(crystal(text, tmp_path)) == 2
    assert number("12.34(15)", "x") == pytest.approx((12.34, 2, 0.15))


def test_cartesian_coordinates(tmp_path: Path) -> None:
    columns = "label type_symbol Cartn_x Cartn_y Cartn_z"
    rows = ["K1 K 0 0 0", "Cl1 Cl 3.145 3.145 3.145"]
    found = crystal(cif(cubic(6.29), rows, named(*ROCK_SALT), columns), tmp_path)
    assert found.composition.formula == "K4 Cl4"
    oblique = cif(hexagonal(3.2, 5.2), ["Mg1 Mg 0 0 0"], listed("x,y,z"), columns)
    assert "oblique cell" in refusal(oblique, tmp_path)
    matrix = "\n".join(
        f"_atom_sites_fract_tran_matrix_{i}{j} {value}"
        for i, row in enumerate([[1 / 6, 0, 0], [0, 1 / 7, 0], [0, 0, 1 / 5]], start=1)
        for j, value in enumerate(row, start=1)
    )
    text = cif((6, 7, 5, 90, 90, 90), ["Al1 Al 3 3.5 2.5"], listed("x,y,z"), columns, matrix)
    assert crystal(text, tmp_path)[0].frac_coords == pytest.approx([0.5, 0.5, 0.5])


@pytest.mark.parametrize("coordinate", ["?", ".", "x", "0.5.5", ""])
def test_sites_without_coordinates(tmp_path: Path, coordinate: str) -> None:
    text = cif(cubic(6.29), [KCL[0], f"Cl1 Cl .5 .5 {coordinate}"], named(*ROCK_SALT))
    said = refusal(text, tmp_path)
    assert "site 'Cl1'" in said or "values for 5 columns" in said


# -- syntax --


def test_text_fields_quotes_and_several_blocks(tmp_path: Path) -> None:
    intro = "data_global\n_publ_text\n;\ndata_collection by hand\nloop_\n_cell_length_a 99\n;\n"
    path = tmp_path / "two.cif"
    path.write_text(
        intro
        + cif(cubic(6.29), KCL, named(*ROCK_SALT), extra="_publ_author 'O'Neil, J.' # by 'hand'")
        + cif(cubic(5.64), ["Na1 Na 0 0 0", "Cl1 Cl .5 .5 .5"], named(*ROCK_SALT))
        + "END\n"
    )
    records = list(read_structures([path]))
    assert [record.id for record in records] == ["two.cif#0", "two.cif#1"]
    assert [r.structure.composition.reduced_formula for r in records if r.structure] == ["KCl", "NaCl"]


def test_names_of_newer_dictionaries_and_any_case(tmp_path: Path) -> None:
    text = cif(cubic(6.29), KCL, named(*ROCK_SALT))
    for old, new in (("_cell_length_", "_cell.length_"), ("_atom_site_", "_ATOM_SITE.")):
        text = text.replace(old, new)
    text = text.replace("loop_", "LOOP_").replace("data_", "DATA_").replace(" ", "\t")
    text = text.replace("F\tm\t-3\tm", "F m -3 m")
    assert len(crystal(text, tmp_path)) == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (cif(cubic(6.29), [KCL[0], "Cl1 Cl .5 .5"], named(*ROCK_SALT)), "9 values for 5 columns"),
        (
            cif(cubic(6.29), KCL, named(*ROCK_SALT)).replace("_cell_length_b 6.29\n", "_cell_length_b\n"),
            "no v",
        ),
        ("data_x\n_cell_length_a 3\n;\nnever ends\n", "never ends"),
        (cif(cubic(6.29), [], named(*ROCK_SALT)), "without atoms"),
        (cif(cubic(6.29), KCL, "_cell_modulation_dimension 1"), "modulated"),
    ],
)
def test_syntax_that_is_broken(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(text, tmp_path)


def test_tokens() -> None:
    text = (
        "data_a\n_one 'it's' _two \"x y\" # comment\n_three\n;first\nloop_ data_ _no\n;\n"
        "loop_\n_p _q\n1 'a b' ? .\n_last ''\ndata_b\n_one 2"
    )
    first, second = parse_blocks(text)
    assert first == CifBlock(
        "a",
        {"_one": "it's", "_two": "x y", "_three": "first\nloop_ data_ _no", "_last": ""},
        [{"_p": ["1", "?"], "_q": ["a b", "."]}],
    )
    assert second.items == {"_one": "2"}


def test_many_atoms_are_refused_early(tmp_path: Path) -> None:
    rows = [f"Al{k} Al 0.{k % 97:02d} 0.{k % 89:02d} {k / 40000:.6f}" for k in range(20_500)]
    assert "at most 20000" in refusal(cif((90, 90, 90, 90, 90, 90), rows, listed("x,y,z")), tmp_path)
    general = [f"Al{k} Al 0.1234{k:03d} 0.2345{k:03d} 0.3456{k:03d}" for k in range(400)]
    (block,) = crystal_blocks(cif(cubic(400), general, named("F m -3 m", 225)))
    with pytest.raises(StructureError, match="more than 20000 atoms"):
        read_block(block)
