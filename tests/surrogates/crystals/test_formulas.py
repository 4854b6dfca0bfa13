"""Formulas as chemists write them, and as people type them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition

from surrogates.crystals.formulas import display_formula, plain_formula
from surrogates.crystals.typed_formulas import composition_of
from surrogates.errors import EngineError, FormulaError, UnsupportedElementError
from surrogates.protocol import CompositionBatch

WRITTEN = """
WB MoB TaW2B4 MoW3B4 FeW3B4 TiMoB4 Mo2BC WC TiN PbTe SiC BN B4C GaAs BaAg2Se2 InBi2Se4 SrTiO3 MgAl2O4
LiFePO4 Al2O3 TiNiSn Ca(OH)2 CaCO3 NaCl CsPbI3 LaFeAsO Ti3AlC2 InGaAs MoS2 ZrO2 Fe2O3 KO2 Li2O2 Na2O2 H2O2
H2O HCl CO2 NaH LiBH4 CH4 SiH4 NH3 NaNH2 HCN O2 N2 H2 W XeF2 AuSb2 PtSb2 ZrW2O8 NaOH Mg(OH)2 B(OH)3
Cu2CO3(OH)2 Ca5(PO4)3OH Ca5(PO4)3F Na2CO3 NaHCO3 Al2(SO4)3 KHSO4 H2SO4 HNO3 H3PO4 KH2PO4 AgNO3 Pb(NO3)2
NH4NO3 (NH4)2SO4 NH4Cl NH4H2PO4 NH4OH NH4HF2 FePO4 Na2S2O3 CaSO4 KAl(SO4)2
"""


@pytest.mark.parametrize("formula", WRITTEN.split())
def test_formulas_are_written_as_chemists_write_them(formula: str) -> None:
    reduced = Composition(formula).reduced_formula
    assert display_formula(reduced) == formula
    assert display_formula(Composition(reduced) * 2) == formula


@pytest.mark.parametrize(
    "formula",
    [
        "CaSH4O6",
        "AlHO2",
        "CH2O2",
        "Na3Zr2Si2PO12",
        "Ca7Si2P2O16",
        "Li2NBH5",
        "MgCl2H18N6",
        "KNO2",
        "PbCI3H6N",
        "P2O5",
        "SO3",
    ],
)
def test_groups_that_do_not_account_for_it_are_not_guessed(formula: str) -> None:
    """Hydrates, oxide hydroxides, silicates, ammines, amines: a formula does not say what is bonded."""
    written = display_formula(formula)
    assert "(" not in written
    assert not any(group in written for group in ("OH", "PO4", "CO3", "NO3", "NH4"))


@pytest.mark.parametrize(
    ("formula", "plain"),
    [("CaH2O2", "CaO2H2"), ("Al2S3O12", "Al2S3O12"), ("N2H8SO4", "N2H8SO4"), ("Fe0.95O", "Fe0p95O")],
)
def test_names_of_files_hold_letters_and_digits_only(formula: str, plain: str) -> None:
    assert plain_formula(formula) == plain


amounts = st.dictionaries(
    st.sampled_from(["H", "C", "N", "O", "P", "S", "Ca", "Al", "Fe", "W", "B", "Cl", "Ar", "Te"]),
    st.integers(1, 12),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(amounts)
@pytest.mark.filterwarnings("ignore:No Pauling electronegativity")
def test_no_writing_changes_the_composition(chosen: dict[str, int]) -> None:
    reduced = Composition(chosen).reduced_composition
    for text in (display_formula(Composition(chosen)), plain_formula(Composition(chosen))):
        assert Composition(text).reduced_composition == reduced
        assert composition_of(text).reduced_composition == reduced
    assert plain_formula(Composition(chosen)).isalnum()


READ = {
    "TiO₂": "TiO2",
    "Al₂O₃": "Al2O3",
    "Ca(OH)₂": "CaO2H2",
    " Al2 O3 ": "Al2O3",
    "Fe 2 O 3": "Fe2O3",
    "Al2\u00a0O3": "Al2O3",
    "W\u200bC": "WC",
    "\ufeffWC": "WC",
    "TiO2.": "TiO2",
    "K4[Fe(CN)6]": "K4FeC6N6",
    "CuSO4.5H2O": "CuSO9H10",
    "CuSO4·5H2O": "CuSO9H10",
    "CuSO4 · 5 H2O": "CuSO9H10",
    "CuSO4•5H₂O": "CuSO9H10",
    "CuSO4(H2O)5": "CuSO9H10",
    "MgCl2*6H2O": "MgCl2O6H12",
    "MgCl2.6H2O": "MgCl2O6H12",
    "Na2CO3.10H2O": "Na2CO13H20",
    "KAl(SO4)2.12H2O": "KAlS2O20H24",
    "LiOH.H2O": "LiO2H3",
    "CaCl2.6NH3": "CaCl2N6H18",
    "CaSO4.0.5H2O": "Ca2S2O9H2",
    "CaSO4·½H2O": "Ca2S2O9H2",
    "CaSO4·1/2H2O": "Ca2S2O9H2",
    "CaSO4.½H2O": "Ca2S2O9H2",
    "La0.5Ni5H20": "La0.5Ni5H20",
    "C10H20": "CH2",
    "Na0.3CoO2.1.3H2O": "Na0.3CoO3.3H2.6",
    "(NH4)2SO4.FeSO4.6H2O": "N2FeS2O14H20",
    "MgO.Al2O3": "MgAl2O4",
    "3Al2O3.2SiO2": "Al6Si2O13",
    "Fe0.95O": "Fe0.95O",
    "Fe.95O": "Fe0.95O",
    "Li0.5CoO2": "Li0.5CoO2",
    "Ti0.5.": "Ti",
    "Na1.5CoO2": "Na1.5CoO2",
    "Na1.5H2O": "Na1.5OH2",
    "YBa2Cu3O6.9": "YBa2Cu3O6.9",
    "La1.85Sr0.15CuO4": "La1.85Sr0.15CuO4",
    "La.85Sr.15MnO3": "La0.85Sr0.15MnO3",
    "Ni0.8Co0.1Mn0.1O2": "Ni0.8Co0.1Mn0.1O2",
    "Bi2.1Sr1.9CaCu2O8": "Bi2.1Sr1.9CaCu2O8",
    "Ti41.5Zr41.5Hf5Nb2Cu7.5Ni1Sn1.5": "Ti41.5Zr41.5Hf5Nb2Cu7.5Ni1Sn1.5",
    "Nb5.96e-05Fe0.7": "Fe0.7Nb0.0000596",
    "C60": "C",
    "XeF2": "XeF2",
    "Dy2O3": "Dy2O3",
}


@pytest.mark.parametrize(("typed", "meant"), READ.items())
def test_formulas_are_read_as_typed(typed: str, meant: str) -> None:
    found, expected = (c.fractional_composition for c in (composition_of(typed), Composition(meant)))
    assert found.almost_equals(expected, rtol=1e-9, atol=1e-12)
    assert torch_free(CompositionBatch.from_formulas([typed])) == torch_free(
        CompositionBatch.from_formulas([meant])
    )


def torch_free(batch: CompositionBatch) -> list[float]:
    return [round(x, 6) for x in batch.fractions[0].tolist()]


REFUSED = {
    "Al2O3.5SiO2": r"3\.5 may be an amount, or 5 parts of SiO2; write ·",
    "BaO.6Fe2O3": r"\.6 may be an amount, or 6 parts of Fe2O3",
    "CuSO4 5H2O": "two numbers side by side; a hydrate is written with ·",
    "CuSO4·xH2O": "an open amount",
    "LixCoO2": "an open amount",
    "La1-xSrxMnO3": "an open amount",
    "YBa2Cu3O7-δ": "an open amount",
    "Fe3+": "a charge",
    "NH4+": "a charge",
    "SO4--": "a charge",
    "SO4^2-": "a charge",
    "Fe²⁺": "a charge",
    "alpha-SiO2": "names no phase; write SiO2, or give a structure file",
    "α-Al2O3": "names no phase; write Al2O3",
    "c-BN": "names no phase; write BN",
    "3C-SiC": "names no phase; write SiC",
    "SiO2 (quartz)": "'quartz': a formula names no phase; write SiO2",
    "TiO2 rutile": "'rutile': a formula names no phase",
    "H2O(l)": r"'\(l\)': a formula names no state",
    "W-B-C": "a chemical system, not a formula",
    "W–B": "a chemical system, not a formula",
    "WC-Co": "a dash; write amounts",
    "tio2": "did you mean TiO2",
    "Mgo": "did you mean MgO",
    "NACL": "did you mean NaCl",
    "co": "did you mean Co or CO",
    "Ti02": "is the 0 the letter O",
    "Al203": "did you mean Al2O3, with the letter O",
    "MgAl204": "did you mean MgAl2O4",
    "NiCl2.6H20": "did you mean NiCl2.6H2O, with the letter O",
    "CuSO4·5H20": "did you mean CuSO4·5H2O, with the letter O",
    "CuSO4(H20)5": "did you mean CuSO4(H2O)5, with the letter O".replace("(", "\\(").replace(")", "\\)"),
    "2TiO2": "it begins with the number 2",
    "(Ti,Al)N": r"',' \(comma\) has no place",
    "ＴiO2": "fullwidth latin capital letter t",
    "Al2(SO4": "its brackets do not match",
    "Al2)": "its brackets do not match",
    "CuSO4..5H2O": "a full stop without a formula on both sides",
    "CuSO4·": "a part without a formula",
    "H1000000000": "too many atoms",
    "Fe0": "it has no atoms",
    "": "no formula",
    "W" * 400: "longer than 300 characters",
}


@pytest.mark.parametrize(("typed", "reason"), REFUSED.items())
def test_what_is_no_formula_is_refused_by_name(typed: str, reason: str) -> None:
    with pytest.raises(FormulaError, match=reason):
        composition_of(typed)


@pytest.mark.parametrize("carried", ["Ba20Hg103", "Sr21Hg109", "K49Tl108", "Zr15Si302"])
def test_large_cells_are_no_mistyped_oxides(carried: str) -> None:
    assert composition_of(carried) == Composition(carried)


@pytest.mark.parametrize(
    ("typed", "hint"), [("X2O", "'X' is no element; did you mean 'Xe'"), ("Qq", "'Qq' is no")]
)
def test_symbols_of_no_element_are_named(typed: str, hint: str) -> None:
    with pytest.raises(UnsupportedElementError, match=hint):
        composition_of(typed)


@pytest.mark.parametrize("typed", ["D2O", "T2O", "LiD·2H2O"])
def test_isotopes_are_refused_by_name(typed: str) -> None:
    with pytest.raises(UnsupportedElementError, match="isotope"):
        composition_of(typed)


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="CuSO45H2.·*()[]₂αx-–+ 0½/\n\x00é", max_size=14))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a composition or an error of this program comes back."""
    try:
        found = composition_of(text)
    except EngineError:
        return
    assert found.num_atoms > 0
