import pytest
import torch

from surrogates.datasets.elasticity import elasticity_labels, formula_fold, is_scored
from surrogates.datasets.energies import elastic_energy, shaking_energy
from surrogates.datasets.reference_set import fitted_rows, held_rows, reference_rows
from surrogates.datasets.shared import crystal_rows, has_structures
from surrogates.errors import DataError
from surrogates.physics.units import GPA_PER_EV_PER_A3
from surrogates.platform.data_folder import data_folder


def row(**changes):
    return {
        "id": "a",
        "source": "aflow_ael",
        "formula": "WC",
        "label": "exact",
        "species": ["W", "C"],
        "bulk_modulus_vrh": 380.0,
        "shear_modulus_vrh": 270.0,
        "bulk_modulus_eos": None,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"shear_modulus_vrh": None}, True),
        ({"bulk_modulus_vrh": 4.9}, False),
        ({"bulk_modulus_vrh": None}, False),
        ({"shear_modulus_vrh": 0.5}, False),
        ({"shear_modulus_vrh": 380 * 1.31}, False),
        ({"species": ["W"] * 61}, False),
    ],
)
def test_which_rows_are_scored(changes, wanted):
    assert is_scored(row(**changes)) is wanted


def test_eos_moduli_stand_on_their_own_scale_and_never_as_vrh():
    eos = row(
        source="alex_hp_eos",
        label="vinet rough",
        bulk_modulus_vrh=None,
        shear_modulus_vrh=None,
        bulk_modulus_eos=100.0,
    )
    labels = elasticity_labels([row(), eos])
    assert labels.scale.tolist() == [1, 3]
    assert labels.is_scored.tolist() == [True, False]
    assert float(labels.targets[1, 0]) == pytest.approx(2.0)
    assert torch.isnan(labels.targets[1, 1])
    assert labels.weight[1] < labels.weight[0]


def test_folds_never_move():
    assert [formula_fold(f, 5) for f in ("WC", "TiC", "Al2O3")] == [4, 0, 3]


def test_elastic_energy_has_the_moduli_as_curvature():
    volume, bulk, shear = (torch.tensor([v], dtype=torch.float64) for v in (10.0, 200.0, 80.0))
    h = 1e-4
    swell = elastic_energy(volume, bulk, shear, h * torch.eye(3, dtype=torch.float64)[None])
    assert float(swell) == pytest.approx(0.5 * 200 * 10 * (3 * h) ** 2 / GPA_PER_EV_PER_A3, rel=1e-2)
    slide = torch.zeros(1, 3, 3, dtype=torch.float64)
    slide[0, 0, 1] = slide[0, 1, 0] = h
    cost = elastic_energy(volume, bulk, shear, slide)
    assert float(cost) == pytest.approx(2 * 80 * 10 * h**2 / GPA_PER_EV_PER_A3, rel=1e-2)
    squeeze = elastic_energy(volume, bulk, shear, -0.05 * torch.eye(3, dtype=torch.float64)[None])
    stretch = elastic_energy(volume, bulk, shear, 0.05 * torch.eye(3, dtype=torch.float64)[None])
    assert squeeze > stretch > 0


def test_shaking_copper_costs_what_its_debye_temperature_says():
    volume, bulk, shear, size = (torch.tensor([v]) for v in (11.8, 140.0, 48.0, 0.1))
    assert float(shaking_energy(volume, bulk, shear, size)) == pytest.approx(1.5 * 8.0 * 0.01, rel=0.15)


def test_missing_data_names_the_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERSE_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert not has_structures()
    with pytest.raises(DataError, match="INVERSE_DATA"):
        next(crystal_rows("elasticity"))


def test_reference_rows_for_error_bars_stand_in_no_fit():
    fitted, held = fitted_rows(), held_rows()
    assert {row["formula"] for row in fitted}.isdisjoint(row["formula"] for row in held)
    assert len(fitted) + len(held) == len(reference_rows())
    assert 0.12 < len(held) / len(reference_rows()) < 0.22
