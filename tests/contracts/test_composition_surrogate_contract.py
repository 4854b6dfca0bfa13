"""What every composition surrogate promises: adding one costs a line in SURROGATES."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import torch

from surrogates.checkpoints.checkpoint import (
    load_checkpoint,
    load_surrogate,
    packaged_folder,
    save_checkpoint,
)
from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS, SCALES
from surrogates.datasets.tables import formula_table
from surrogates.errors import CheckpointError, UnknownNameError, UnsupportedElementError
from surrogates.models.composition import CompositionEnsemble
from surrogates.models.composition_groups import CompositionGroups
from surrogates.physics.properties import (
    BULK_MODULUS,
    DENSITY,
    ENERGY_ABOVE_HULL,
    FORMATION_ENERGY,
    HARDNESS,
    SHEAR_MODULUS,
    VOLUME,
    Property,
)
from surrogates.protocol import CompositionBatch, CompositionSurrogate, Level
from surrogates.training.composition import train_composition
from surrogates.training.composition_networks import CompositionTraining
from surrogates.training.kernel import fit_table

HEAVINESS = Property("heaviness", "Z", "amu", 0.0, 300.0, "made up", True)
FORMULAS = [
    f"{a}{i}{b}{j}"
    for a in ("Ti", "V", "Cr", "W", "Al", "Mo")
    for b in ("B", "C", "N", "O")
    for i in (1, 2, 3)
    for j in (1, 2)
]


def heaviness(formulas: list[str]) -> np.ndarray:
    fractions = CompositionBatch.from_formulas(formulas).fractions.numpy()
    return fractions @ np.arange(1.0, N_ELEMENTS + 1)


@lru_cache(maxsize=1)
def tiny_network() -> CompositionEnsemble:
    """Return an ensemble of two, trained for a moment on made-up moduli."""
    values = dict(zip(FORMULAS, heaviness(FORMULAS).tolist(), strict=True))
    table = formula_table(
        [
            ("mp", "bulk_modulus_vrh", values),
            ("mp", "shear_modulus_vrh", {f: v / 2 for f, v in values.items()}),
            ("aflow", "bulk_modulus_vrh", {f: 1.2 * v for f, v in values.items()}),
            ("oqmd", "formation_energy_per_atom", {f: -v / 50 for f, v in values.items()}),
            ("mp", "band_gap", {f: max(0.0, v / 10 - 2) for f, v in values.items()}),
            ("mp", "volume_per_atom", dict(values)),
        ]
    )
    settings = CompositionTraining(members=2, steps=40, batch=64, width=16, trunk=32, learning_rate=1e-2)
    return train_composition(table, settings)[0]


@lru_cache(maxsize=1)
def tiny_groups() -> CompositionGroups:
    """Return the ensemble with another for the formation energy alone, which starts from fractions."""
    values = dict(zip(FORMULAS, heaviness(FORMULAS).tolist(), strict=True))
    energies = formula_table(
        [("oqmd", "formation_energy_per_atom", {f: -v / 50 for f, v in values.items()})]
    ).only(["formation_energy_per_atom"])
    settings = CompositionTraining(members=1, steps=20, batch=64, width=16, trunk=32, fractions=8)
    return CompositionGroups([tiny_network(), train_composition(energies, settings)[0]])


@lru_cache(maxsize=1)
def kernel() -> CompositionSurrogate:
    batch = CompositionBatch.from_formulas(FORMULAS)
    return fit_table(HEAVINESS, batch, heaviness(FORMULAS), FORMULAS, is_log=True)[0]


def packaged() -> CompositionSurrogate:
    if not (packaged_folder("composition") / "manifest.json").is_file():
        pytest.skip("no packaged composition weights")
    surrogate: CompositionSurrogate = load_surrogate("composition")
    return surrogate


SURROGATES: dict[str, Callable[[], CompositionSurrogate]] = {
    "tiny network": tiny_network,
    "tiny groups": tiny_groups,
    "kernel": kernel,
    "packaged": packaged,
}


@pytest.fixture(params=SURROGATES)
def surrogate(request: pytest.FixtureRequest) -> CompositionSurrogate:
    return SURROGATES[request.param]()


def batch(dtype: torch.dtype = torch.float32) -> CompositionBatch:
    made = CompositionBatch.from_formulas(["WC", "TiB2", "Al2O3", "V2C", "MoN"])
    return CompositionBatch(made.fractions.to(dtype), made.scale)


def test_states_what_it_looks_at_and_which_elements_it_knows(surrogate: CompositionSurrogate) -> None:
    assert surrogate.level is Level.COMPOSITION
    assert surrogate.elements
    for symbol in ELEMENT_SYMBOLS:
        one = CompositionBatch.from_formulas([symbol])
        if symbol in surrogate.elements:
            surrogate.predict(one, surrogate.properties)
        else:
            with pytest.raises(UnsupportedElementError, match=symbol):
                surrogate.predict(one, surrogate.properties)


def test_shapes_numbers_and_order_of_the_interval(surrogate: CompositionSurrogate) -> None:
    assert isinstance(surrogate, CompositionSurrogate)
    predictions = surrogate.predict(batch(), surrogate.properties)
    members = {p.samples.shape[0] for p in predictions.values()}
    assert len(members) == 1
    assert list(predictions) == list(surrogate.properties)
    for prop, p in predictions.items():
        assert p.property == prop
        assert p.mean.shape == (5,)
        assert torch.isfinite(torch.stack([p.mean, p.std, p.lower, p.upper])).all()
        assert bool((p.std > 0).all())
        assert bool(((p.lower <= p.mean) & (p.mean <= p.upper)).all())
        assert bool((p.mean >= prop.minimum).all())
        inside = (p.samples >= p.lower) & (p.samples <= p.upper)
        assert 0.8 <= float(inside.float().mean()) <= 0.98


def test_deterministic_and_independent_of_the_batch(surrogate: CompositionSurrogate) -> None:
    prop = surrogate.properties[0]
    together = surrogate.predict(batch(), [prop])[prop]
    alone = [
        surrogate.predict(CompositionBatch(batch().fractions[i : i + 1], batch().scale[:1]), [prop])[prop]
        for i in range(5)
    ]
    assert torch.allclose(together.mean, torch.cat([a.mean for a in alone]), rtol=1e-4)
    assert torch.allclose(together.samples, torch.cat([a.samples for a in alone], dim=1), rtol=1e-3)
    again = surrogate.predict(batch(), [prop])[prop]
    assert torch.equal(together.mean, again.mean)


def test_gradients_in_the_fractions_agree_with_finite_differences(surrogate: CompositionSurrogate) -> None:
    """Also for elements that are absent, from the side that exists."""
    prop = surrogate.properties[0]
    fractions = batch(torch.float64).fractions
    scale = batch().scale

    def value(x: torch.Tensor) -> torch.Tensor:
        p = surrogate.predict(CompositionBatch(x, scale), [prop])[prop]
        return torch.stack([p.mean, p.std])

    leaf = fractions.clone().requires_grad_()
    mean_gradient = torch.autograd.grad(value(leaf)[0].sum(), leaf)[0]
    leaf = fractions.clone().requires_grad_()
    std_gradient = torch.autograd.grad(value(leaf)[1].sum(), leaf)[0]
    step = 1e-6
    for symbol in ("W", "C", "Ti", "B"):
        column = ELEMENT_SYMBOLS.index(symbol)
        moved = fractions.clone()
        moved[:, column] += step
        difference = (value(moved) - value(fractions)) / step
        scale_of = float(difference.abs().max()) + 1e-6
        assert torch.allclose(difference[0], mean_gradient[:, column], rtol=2e-3, atol=2e-3 * scale_of)
        assert torch.allclose(difference[1], std_gradient[:, column], rtol=5e-3, atol=5e-3 * scale_of)


def test_a_later_group_answers_for_what_it_learned_and_nothing_else() -> None:
    whole = tiny_groups()
    asked = [FORMATION_ENERGY, DENSITY, BULK_MODULUS]
    found = whole.predict(batch(), asked)
    own = [group.predict(batch(), [FORMATION_ENERGY])[FORMATION_ENERGY].mean for group in whole.groups]
    assert not torch.allclose(own[0], own[1])
    assert torch.equal(found[FORMATION_ENERGY].mean, own[1])
    others = whole.groups[0].predict(batch(), asked[1:])
    assert all(torch.equal(found[p].mean, others[p].mean) for p in asked[1:])
    assert list(found) == asked


def test_refuses_what_it_does_not_know(surrogate: CompositionSurrogate) -> None:
    with pytest.raises(UnknownNameError, match="energy_above_hull"):
        surrogate.predict(batch(), [ENERGY_ABOVE_HULL])
    with pytest.raises(UnsupportedElementError, match="Po"):
        surrogate.predict(CompositionBatch.from_formulas(["PoC"]), surrogate.properties[:1])


def test_checkpoint_gives_the_same_surrogate_back(surrogate: CompositionSurrogate, tmp_path) -> None:
    save_checkpoint(surrogate.to_checkpoint(), tmp_path / "s", half=False)  # type: ignore[attr-defined]
    restored = load_surrogate(tmp_path / "s")
    prop = surrogate.properties[-1]
    old, new = (s.predict(batch(), [prop])[prop] for s in (surrogate, restored))
    assert torch.allclose(old.mean, new.mean, rtol=1e-4)
    assert torch.allclose(old.std, new.std, rtol=1e-3)


def test_damaged_checkpoint_is_named(tmp_path) -> None:
    checkpoint = tiny_network().to_checkpoint()
    folder = save_checkpoint(checkpoint, tmp_path)
    broken = load_checkpoint(folder)
    del broken.tensors["counts"]  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="does not fit together"):
        CompositionEnsemble.from_checkpoint(broken)


def test_scales_differ_where_they_were_learned() -> None:
    fractions = batch().fractions
    means = [
        tiny_network().predict(
            CompositionBatch(fractions, torch.full((5,), scale)), [BULK_MODULUS, SHEAR_MODULUS]
        )
        for scale in range(len(SCALES))
    ]
    aflow = SCALES.index("aflow_pbe")
    assert not torch.allclose(means[0][BULK_MODULUS].mean, means[aflow][BULK_MODULUS].mean)
    # the shear modulus was never seen on that scale: answered on the first
    assert torch.allclose(means[0][SHEAR_MODULUS].mean, means[aflow][SHEAR_MODULUS].mean)


def test_what_follows_from_other_properties() -> None:
    values = {p: v.mean for p, v in tiny_network().predict(batch(), tiny_network().properties).items()}
    k, g = values[BULK_MODULUS], values[SHEAR_MODULUS]
    chen = 2 * (g**3 / k**2) ** 0.585 - 3
    assert torch.allclose(values[HARDNESS], chen.clamp(min=0.0), rtol=1e-4)
    tungsten_carbide = (183.84 + 12.011) / 2 * 1.66053906660 / values[VOLUME][0]
    assert float(values[DENSITY][0]) == pytest.approx(float(tungsten_carbide), rel=1e-4)


def test_joint_samples_carry_the_correlation_of_errors() -> None:
    surrogate = packaged()
    if isinstance(surrogate, CompositionGroups):
        surrogate = surrogate.groups[0]
    assert isinstance(surrogate, CompositionEnsemble)
    predictions = surrogate.predict(batch(), [BULK_MODULUS, SHEAR_MODULUS])
    logs = torch.stack([predictions[p].samples[:, 0].log() for p in (BULK_MODULUS, SHEAR_MODULUS)])
    k, g = (surrogate.properties.index(p) for p in (BULK_MODULUS, SHEAR_MODULUS))
    assert float(torch.corrcoef(logs)[0, 1]) == pytest.approx(
        surrogate.calibration.correlation[k][g], abs=0.01
    )


def test_packaged_knows_hard_from_soft() -> None:
    surrogate = packaged()
    formulas = CompositionBatch.from_formulas(["WC", "TiN", "CsI", "K"])
    k = surrogate.predict(formulas, [BULK_MODULUS])[BULK_MODULUS].mean
    assert float(k[:2].min()) > 200 > 30 > float(k[2:].max())
