"""Values of one property by file and source, bounds that are one-sided, and what a network makes of them."""

import gzip
import json
from dataclasses import replace

import pytest
import torch

from surrogates.datasets.crystal_values import TargetConfig, value_labels, value_rows
from surrogates.datasets.elasticity import Labels
from surrogates.errors import ConfigError, DataError, EngineError
from surrogates.physics.properties import BAND_GAP, BULK_MODULUS, FORMATION_ENERGY, Property
from surrogates.tiers.calibration import Calibration
from surrogates.tiers.ensemble import LEAST_HELD, calibrated_prediction
from surrogates.tiers.spread import widened
from surrogates.training.configs import TrainingConfig
from surrogates.training.metrics import value_metrics
from surrogates.training.structure import residual_correlation, residuals

GAP = TargetConfig("band_gap", sources={"mp_structures": 1.0, "wbm": 0.5, "bad": 0.0}, censored=True)


def row(identity: str, gap: float | None, **changes: object) -> dict[str, object]:
    return {
        "id": identity,
        "source": "mp20",
        "formula": identity.upper(),
        "space_group": 225,
        "lattice": [[3.0, 0, 0], [0, 3.0, 0], [0, 0, 3.0]],
        "species": ["Mg", "O"],
        "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
        "band_gap": gap,
        **changes,
    }


def written(folder, files) -> None:
    (folder / "structures").mkdir()
    for name, rows in files.items():
        with gzip.open(folder / "structures" / f"{name}.jsonl.gz", "wt") as lines:
            lines.writelines(json.dumps(r) + "\n" for r in rows)


def test_rows_follow_files_sources_and_sizes(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERSE_DATA", str(tmp_path))
    kept = [row("a", 4.5), row("b", 0.0)]
    dropped = [
        row("c", None),
        row("d", -0.1),
        row("e", 30.0),
        row("f", 1.0, source="bad"),
        row("g", 1.0, species=["O"] * 25),
        row("h", 4.504, formula="A"),
    ]
    elsewhere = [row("i", 2.0, source="wbm_val"), row("j", 4.496, formula="A")]
    written(tmp_path, {"mp_structures": kept + dropped, "wbm": elsewhere, "elasticity": [row("k", 3.0)]})
    rows = value_rows(GAP)
    assert [(r["id"], r["file"]) for r in rows] == [
        ("a", "mp_structures"),
        ("b", "mp_structures"),
        ("i", "wbm"),
    ]
    labels = value_labels(replace(GAP, scored=("mp_structures",)), rows)
    assert labels.properties == (BAND_GAP,)
    assert labels.targets.flatten().tolist() == [4.5, 0.0, 2.0]
    assert labels.weight.tolist() == [1.0, 1.0, 0.5]
    assert labels.is_scored.tolist() == [True, True, False]


def test_a_positive_property_is_learned_in_logarithms_from_the_column_named():
    target = TargetConfig("bulk_modulus_vrh", column="k", sources={"mp_structures": 1.0})
    rows = [{**row("a", None), "k": 100.0, "file": "mp_structures"}]
    labels = value_labels(target, rows)
    assert labels.properties == (BULK_MODULUS,)
    assert labels.targets.flatten().tolist() == pytest.approx([2.0])
    assert target.value({"k": 0.0}) is None


def test_what_names_no_file_or_finds_no_row_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERSE_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match="none of the files"):
        value_rows(TargetConfig("band_gap", sources={"wmb": 1.0}))
    with pytest.raises(DataError, match=r"mp_structures.* is missing"):
        value_rows(GAP)
    written(tmp_path, {"mp_structures": [row("a", None)], "wbm": []})
    with pytest.raises(DataError, match="no row has 'band_gap'"):
        value_rows(GAP)


@pytest.mark.parametrize(
    ("target", "other", "said"),
    [
        (
            {"property": "band_gaps"},
            {},
            "target.property: unknown property 'band_gaps'; did you mean 'band_gap'",
        ),
        ({"property": "band_gap", "column": 3}, {}, "column: 3 should be a valid string"),
        ({"property": "band_gap", "source": {}}, {}, "unknown setting 'source'; did you mean 'sources'"),
        ({"property": "band_gap"}, {"energy": {"n_members": 1}}, "go with K and G"),
    ],
)
def test_a_target_that_does_not_fit_is_named(target, other, said):
    with pytest.raises(EngineError, match=said):
        TrainingConfig.from_mapping({"target": target, **other})


def of_gaps(gaps: list[float], censored: bool = True, prop: Property = BAND_GAP) -> Labels:
    n = len(gaps)
    return Labels(
        ids=tuple(map(str, range(n))),
        formulas=tuple(map(str, range(n))),
        sources=("made",) * n,
        scale=torch.zeros(n, dtype=torch.long),
        targets=torch.tensor(gaps).unsqueeze(1),
        weight=torch.ones(n),
        is_scored=torch.ones(n, dtype=torch.bool),
        properties=(prop,),
        censored=censored,
    )


def test_below_a_bound_no_error_counts_and_no_error_bar_is_fitted():
    """A metal told to be far below zero is right; one told a gap is wrong; an insulator below zero is."""
    labels, values = of_gaps([0.0, 0.0, 1.0]), torch.tensor([[-2.0], [0.5], [-0.5]])
    errors = labels.one_sided(values - labels.targets, labels.targets)
    assert errors.flatten().tolist() == [0.0, 0.5, -1.5]
    found = residuals(labels, values, labels.is_scored).flatten()
    assert torch.isnan(found[0])
    assert found[1:].tolist() == [0.5, -1.5]
    plain = residuals(of_gaps([0.0, 0.0, 1.0], censored=False), values, labels.is_scored)
    assert plain.flatten().tolist() == [-2.0, 0.5, -1.5]
    assert residual_correlation(plain).tolist() == [[1.0]]


FLAT = Calibration(0.0, 1.0, (0.0, 0.0), (-99.0, 99.0), tuple(torch.linspace(0, 2.6, 33).tolist()))


def test_metrics_are_those_of_values_within_the_range():
    """Two of three metals are told right; the gap of 3 is missed by 2; intervals are one wide each way."""
    labels = of_gaps([0.0, 0.0, 0.0, 3.0, 1.0])
    values = torch.tensor([[-2.0], [-0.1], [0.4], [1.0], [1.5]])
    widths = torch.full_like(values, 1.0 / 1.6448536).log()
    found = value_metrics(labels, values, widths, [FLAT])["band_gap"]
    assert found["mae"] == pytest.approx((0.4 + 2.0 + 0.5) / 5, abs=1e-4)
    assert found["mae_of_the_median"] == pytest.approx(4.0 / 5)
    assert (found["n_at_zero"], found["zeros_right"], found["others_right"]) == (3, 0.6667, 1.0)
    assert (found["coverage_90"], found["coverage_90_of_others"]) == (0.8, 0.5)


def predicted(value: float, prop: Property = BAND_GAP, log_width: float = -0.7):
    values, widths = torch.full((1, 1), value, requires_grad=True), torch.full((1, 1), log_width)
    levels = torch.linspace(0.01, 0.99, 80)
    covered = torch.ones(1, dtype=torch.bool)
    return values, calibrated_prediction(prop, values, widths, FLAT, levels, covered)


def test_a_gap_is_never_negative_and_its_slope_is_never_lost():
    values, found = predicted(-1.5)
    for part in (found.mean, found.lower, found.upper, found.samples):
        assert float(part.detach().min()) == 0.0
    assert 0 < float(found.std.detach()) == pytest.approx(LEAST_HELD * 0.4966, rel=1e-3)
    (slope,) = torch.autograd.grad(found.mean.sum(), values)
    assert float(slope) == pytest.approx(1.0)
    wide = widened(predicted(0.1)[1], 3.0)
    assert float(wide.lower.detach()) == float(wide.samples.detach().min()) == 0.0


def test_what_lies_within_the_range_is_left_as_it_is():
    _, gap = predicted(4.0)
    _, energy = predicted(4.0, FORMATION_ENERGY)
    assert float(gap.mean.detach()) == float(energy.mean.detach()) == 4.0
    assert torch.equal(gap.std, energy.std)
    assert torch.equal(gap.samples, energy.samples)
    assert torch.allclose(gap.upper - gap.lower, 2 * 1.6448536 * gap.std)
