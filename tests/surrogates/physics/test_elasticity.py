import pytest
import torch
from pymatgen.analysis.elasticity import ElasticTensor

from surrogates.errors import ShapeError, UnstableCrystalError
from surrogates.physics import elasticity, isotropic


def random_stiffness(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(n, 6, 6, generator=generator, dtype=torch.float64)
    return 40 * root @ root.transpose(1, 2) + 30 * torch.eye(6, dtype=torch.float64)


def test_moduli_agree_with_pymatgen():
    stiffness = random_stiffness(20)
    ours = {
        "k_voigt": elasticity.voigt_bulk_modulus(stiffness),
        "k_reuss": elasticity.reuss_bulk_modulus(stiffness),
        "k_vrh": elasticity.hill_bulk_modulus(stiffness),
        "g_voigt": elasticity.voigt_shear_modulus(stiffness),
        "g_reuss": elasticity.reuss_shear_modulus(stiffness),
        "g_vrh": elasticity.hill_shear_modulus(stiffness),
        "universal_anisotropy": elasticity.universal_anisotropy(stiffness),
    }
    for c in range(20):
        theirs = ElasticTensor.from_voigt(stiffness[c].numpy())
        for name, values in ours.items():
            assert float(values[c]) == pytest.approx(getattr(theirs, name), rel=1e-9), name


def test_young_and_poisson_agree_with_pymatgen():
    stiffness = random_stiffness(5, seed=1)
    bulk, shear = elasticity.hill_bulk_modulus(stiffness), elasticity.hill_shear_modulus(stiffness)
    for c in range(5):
        theirs = ElasticTensor.from_voigt(stiffness[c].numpy())
        assert float(isotropic.young_modulus(bulk, shear)[c]) == pytest.approx(theirs.y_mod / 1e9, rel=1e-9)
        poisson = float(isotropic.poisson_ratio(bulk, shear)[c])
        assert poisson == pytest.approx(theirs.homogeneous_poisson, rel=1e-9)


def test_voigt_is_never_below_reuss():
    stiffness = random_stiffness(200, seed=2)
    assert bool((elasticity.voigt_bulk_modulus(stiffness) >= elasticity.reuss_bulk_modulus(stiffness)).all())
    assert bool(
        (elasticity.voigt_shear_modulus(stiffness) >= elasticity.reuss_shear_modulus(stiffness)).all()
    )


def test_an_isotropic_tensor_gives_its_own_lame_constants():
    stiffness = torch.zeros(1, 6, 6, dtype=torch.float64)
    lame, shear = 70.0, 45.0
    stiffness[:, :3, :3] = lame
    stiffness[:, range(6), range(6)] += torch.tensor([2 * shear] * 3 + [shear] * 3, dtype=torch.float64)
    assert float(elasticity.hill_bulk_modulus(stiffness)) == pytest.approx(lame + 2 * shear / 3)
    assert float(elasticity.hill_shear_modulus(stiffness)) == pytest.approx(shear)
    assert float(elasticity.universal_anisotropy(stiffness)) == pytest.approx(0.0, abs=1e-9)


def test_hardness_of_diamond():
    """Chen 2011 gives 93.6 GPa for K 442, G 536 (k = 1.211); Tian 2012 gives 97.7 for similar input."""
    bulk, shear = torch.tensor(442.0), torch.tensor(535.7)
    assert float(isotropic.chen_hardness(bulk, shear)) == pytest.approx(95, abs=3)
    assert float(isotropic.tian_hardness(bulk, shear)) == pytest.approx(97.7, abs=3)


def test_gradient_of_the_hill_shear_modulus():
    stiffness = random_stiffness(2, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(elasticity.hill_shear_modulus, (stiffness,))


def test_an_unstable_crystal_is_named():
    stiffness = random_stiffness(3, seed=4)
    stiffness[1] -= 200 * torch.eye(6, dtype=torch.float64)
    assert elasticity.is_born_stable(stiffness).tolist() == [True, False, True]
    with pytest.raises(UnstableCrystalError, match=r"crystal 1: -\d+"):
        elasticity.hill_bulk_modulus(stiffness)


def test_nan_is_not_stable():
    assert elasticity.is_born_stable(torch.full((1, 6, 6), float("nan"))).tolist() == [False]


def test_a_wrong_shape_is_refused():
    with pytest.raises(ShapeError, match=r"\(6, 6\), not \(C, 6, 6\)"):
        elasticity.hill_bulk_modulus(torch.eye(6))


def test_debye_temperature_agrees_with_pymatgen():
    from pymatgen.core import Lattice, Structure

    stiffness = random_stiffness(3, seed=2)
    rock_salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5] * 3])
    bulk, shear = elasticity.hill_bulk_modulus(stiffness), elasticity.hill_shear_modulus(stiffness)
    density = torch.tensor(float(rock_salt.density), dtype=torch.float64)
    volume = torch.tensor(rock_salt.volume / len(rock_salt), dtype=torch.float64)
    ours = isotropic.debye_temperature(bulk, shear, density, volume)
    for c in range(3):
        theirs = ElasticTensor.from_voigt(stiffness[c].numpy()).debye_temperature(rock_salt)
        assert float(ours[c]) == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (isotropic.chen_hardness, 93.1),
        (isotropic.tian_hardness, 95.0),
        (isotropic.teter_hardness, 79.6),
    ],
)
def test_three_hardnesses_of_diamond(formula, expected):
    assert float(formula(torch.tensor(442.0), torch.tensor(527.0))) == pytest.approx(expected, rel=0.002)
