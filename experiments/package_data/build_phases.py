"""Formation energies of known phases on the scale of `mp_structures` -> inverse/reference/phases.parquet.

    python -m experiments.package_data.build_phases

1. Offsets Materials Project tables -> `mp_structures`, then OQMD -> that: per element, per anion (the most
   electronegative element) and per transition metal in an oxide or fluoride; Cauchy-weighted least squares,
   so that other polymorphs and failed calculations do not pull.
2. One energy per formula: `mp_structures` before the Materials Project tables before OQMD.
3. A phase that only OQMD knows and that lies far below the hull of what Materials Project knows is dropped.
"""

import json
from glob import glob
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
from pymatgen.core import Composition
from scipy.spatial import ConvexHull, QhullError

from experiments.package_data.sources import WORK, data_folder, read_rows, read_table
from inverse.reference.energy_scale import offset_features
from inverse.reference.phases import NO_ENERGY, PACKAGE_DATA

DROP_BELOW = 0.15
"""eV/atom; OQMD-only phases further below the Materials Project hull are taken for failed calculations."""
CLAMP_BELOW = 0.05
"""eV/atom; the rest may lower that hull by at most this much, since OQMD's scale is known no better."""


def amounts_of(formulas: list[str]) -> list[dict[str, float]]:
    """Return atomic fractions of each formula."""
    return [Composition(f).fractional_composition.get_el_amt_dict() for f in formulas]


def design(rows: list[dict[str, float]], names: list[str]) -> np.ndarray:
    """Return the (N, F) matrix of the named features."""
    index = {n: i for i, n in enumerate(names)}
    matrix = np.zeros((len(rows), len(names)))
    for r, row in enumerate(rows):
        for name, value in row.items():
            if name in index:
                matrix[r, index[name]] = value
    return matrix


def robust_offsets(rows: list[dict[str, float]], difference: np.ndarray, scale: float = 0.02) -> pd.Series:
    """Return offset per unit fraction of each feature seen at least 8 times; Cauchy weights, small ridge."""
    count = pd.Series([n for row in rows for n in row]).value_counts()
    names = sorted(count[count >= 8].index)
    matrix = design(rows, names)
    weights = np.ones(len(difference))
    for _ in range(30):
        weighted = matrix * weights[:, None]
        solution = np.linalg.solve(weighted.T @ matrix + 0.05 * np.eye(len(names)), weighted.T @ difference)
        weights = 1.0 / (1.0 + ((difference - matrix @ solution) / scale) ** 2)
    return pd.Series(solution, index=names)


def shift(energies: pd.Series, offsets: pd.Series, features: dict[str, dict[str, float]]) -> pd.Series:
    """Return energies on the other scale."""
    matrix = design([features[f] for f in energies.index], list(offsets.index))
    return energies + matrix @ offsets.to_numpy()


def lowest(frame: pd.DataFrame, column: str = "reduced_formula") -> pd.Series:
    """Return the lowest formation energy of each formula."""
    return frame.dropna(subset=["formation_energy_per_atom"]).groupby(column).formation_energy_per_atom.min()


def all_formulas() -> list[str]:
    """Return every distinct reduced formula of the tables but `vickers_hardness` (fractional formulas)."""
    names: set[str] = set()
    for path in glob(str(data_folder() / "tables" / "*.parquet")):
        if "vickers" not in path:
            names |= set(pd.read_parquet(path, columns=["reduced_formula"]).reduced_formula)
    return sorted(names)


def reconciled(report: dict[str, object]) -> tuple[pd.DataFrame, dict[str, dict[str, float]]]:
    """Return per formula the three energies on one scale, and the fractions of every formula."""
    structures = lowest(pd.DataFrame(read_rows("mp_structures")), "formula")
    tables = lowest(read_table("mp_ground_states")).combine_first(lowest(read_table("mp_formation_energy")))
    oqmd = lowest(read_table("oqmd"))
    formulas = sorted(set(all_formulas()) | set(structures.index))
    fractions = dict(zip(formulas, amounts_of(formulas), strict=True))
    features = {f: offset_features(fractions[f]) for f in formulas}

    both = structures.index.intersection(tables.index)
    difference = (structures[both] - tables[both]).to_numpy()
    offsets = robust_offsets([features[f] for f in both], difference)
    shifted = shift(tables, offsets, features)
    report["mp_to_structures"] = _agreement(difference, (structures[both] - shifted[both]).to_numpy())
    best = structures.combine_first(shifted)

    both = best.index.intersection(oqmd.index)
    difference = (best[both] - oqmd[both]).to_numpy()
    offsets_oqmd = robust_offsets([features[f] for f in both], difference)
    shifted_oqmd = shift(oqmd, offsets_oqmd, features)
    report["oqmd_to_structures"] = _agreement(difference, (best[both] - shifted_oqmd[both]).to_numpy())
    for name, series in (("mp", offsets), ("oqmd", offsets_oqmd)):
        report[f"offsets_{name}"] = {k: round(float(v), 3) for k, v in series.items() if abs(v) > 0.02}
    write_offsets(report)
    frame = pd.DataFrame({"structures": structures, "mp": shifted, "oqmd": shifted_oqmd}, index=formulas)
    return frame, fractions


def write_offsets(report: dict[str, object]) -> None:
    """Write the offsets of the older Materials Project scale as package data."""
    content = {
        "format": 1,
        "unit": "eV/atom per unit fraction",
        "fitted_to": report["mp_to_structures"],
        "offsets": report["offsets_mp"],
    }
    (PACKAGE_DATA / "energy_scale.json").write_text(json.dumps(content, indent=1) + "\n")


def _agreement(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    return {
        "n": len(before),
        "mae_before": round(float(np.abs(before).mean()), 4),
        "mae_after": round(float(np.abs(after).mean()), 4),
        "median_abs_after": round(float(np.median(np.abs(after))), 4),
        "over_0.1_after": round(float((np.abs(after) > 0.1).mean()), 4),
    }


def hull_reference(
    targets: list[str], energies: dict[str, float], fractions: dict[str, dict[str, float]]
) -> dict[str, float]:
    """Return the energy of the hull spanned by `energies` at the composition of each target."""
    by_system: dict[str, list[str]] = {}
    for formula, energy in energies.items():
        if energy < 0 and len(fractions[formula]) > 1:
            by_system.setdefault("-".join(sorted(fractions[formula])), []).append(formula)
    wanted: dict[str, list[str]] = {}
    for formula in targets:
        wanted.setdefault("-".join(sorted(fractions[formula])), []).append(formula)
    result: dict[str, float] = {}
    for system, formulas in wanted.items():
        result |= _hull_of_system(system.split("-"), formulas, by_system, energies, fractions)
    return result


def _hull_of_system(elements, formulas, by_system, energies, fractions) -> dict[str, float]:  # type: ignore[no-untyped-def]
    from itertools import combinations

    members = [
        f
        for size in range(2, len(elements) + 1)
        for subset in combinations(elements, size)
        for f in by_system.get("-".join(subset), ())
    ]
    if not members or len(elements) == 1:
        return dict.fromkeys(formulas, 0.0)
    points = [[fractions[f].get(e, 0.0) for e in elements[1:]] + [energies[f]] for f in members]
    corners = [[float(e == c) for e in elements[1:]] + [0.0] for c in elements]
    try:
        equations = ConvexHull(np.array(points + corners)).equations
    except QhullError:
        equations = ConvexHull(np.array(points + corners), qhull_options="QJ").equations
    lower = equations[equations[:, -2] < -1e-9]
    x = np.array([[fractions[f].get(e, 0.0) for e in elements[1:]] for f in formulas])
    planes = -(x @ lower[:, :-2].T + lower[:, -1]) / lower[:, -2]
    return dict(zip(formulas, planes.max(axis=1).tolist(), strict=True))


def choose(
    frame: pd.DataFrame, fractions: dict[str, dict[str, float]], report: dict[str, object]
) -> pd.DataFrame:
    """Return per formula the energy to carry (NaN when dropped) and its source (index into SOURCES)."""
    energy = frame.structures.copy()
    source = pd.Series(np.where(energy.notna(), 1, 0), index=frame.index)
    contradicted = frame.mp < frame.oqmd - 0.4
    lower_polymorph = (frame.mp < energy - 0.05) & ~contradicted
    use_mp = (energy.isna() & frame.mp.notna()) | lower_polymorph
    energy[use_mp], source[use_mp] = frame.mp[use_mp], 2
    known = energy.dropna()
    only = frame.index[energy.isna() & frame.oqmd.notna()]
    reference = pd.Series(hull_reference(list(only), known.to_dict(), fractions))
    depth = frame.oqmd[only] - reference[only]
    kept = depth.index[depth >= -DROP_BELOW]
    energy[kept], source[kept] = np.maximum(frame.oqmd[kept], reference[kept] - CLAMP_BELOW), 3
    report["oqmd_only"] = {
        "n": len(only),
        "dropped": int((depth < -DROP_BELOW).sum()),
        "clamped": int(((depth < -CLAMP_BELOW) & (depth >= -DROP_BELOW)).sum()),
        "below_mp_hull": int((depth < 0).sum()),
    }
    elements = [f for f in frame.index if len(fractions[f]) == 1]
    energy[elements] = energy[elements].where(energy[elements].isna(), 0.0)
    return pd.DataFrame({"energy": energy, "source": source.where(energy.notna(), 0)})


def stable_but_above(
    chosen: pd.DataFrame, fractions: dict[str, dict[str, float]], limit: float = 0.1
) -> dict[str, object]:
    """Return the share of phases stable by Materials Project that end above `limit` on the carried hull."""
    structures = pd.DataFrame(read_rows("mp_structures"))
    tables = read_table("mp_ground_states")
    called = {
        "mp_structures": structures[structures.energy_above_hull <= 1e-6].formula.unique(),
        "mp_ground_states": tables[tables.decomposition_energy <= 0].reduced_formula.unique(),
    }
    energies = chosen.energy.dropna()
    result: dict[str, object] = {}
    for name, formulas in called.items():
        formulas = [f for f in formulas if f in energies.index and len(fractions[f]) > 1]
        reference = pd.Series(hull_reference(formulas, energies.to_dict(), fractions))
        above = energies[reference.index] - reference
        result[name] = {
            "stable": len(formulas),
            "above": int((above > limit).sum()),
            "share": round(float((above > limit).mean()), 4),
            "above_0.05": round(float((above > 0.05).mean()), 4),
            "median": round(float(above.median()), 4),
            "worst": {f: round(float(v), 3) for f, v in above.nlargest(25).items()},
        }
    return result


def write(chosen: pd.DataFrame, fractions: dict[str, dict[str, float]]) -> Path:
    """Write the package data, sorted by chemical system."""
    systems = {f: "-".join(sorted(fractions[f])) for f in chosen.index}
    order = sorted(chosen.index, key=lambda f: (systems[f], f))
    millis = (chosen.energy[order] * 1000).round().fillna(NO_ENERGY).clip(NO_ENERGY, 32767).astype("int16")
    table = pa.table(
        {
            "chemical_system": [systems[f] for f in order],
            "formula": order,
            "formation_energy_mev": pa.array(millis.to_numpy()),
            "source": pa.array(chosen.source[order].to_numpy(), pa.uint8()),
        }
    )
    path = PACKAGE_DATA / "phases.parquet"
    parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=["chemical_system"],
        column_encoding={"formula": "DELTA_BYTE_ARRAY"},
    )
    return path


def build() -> None:
    """Run all steps and write the report beside the scratch files."""
    report: dict[str, object] = {}
    frame, fractions = reconciled(report)
    chosen = choose(frame, fractions, report)
    path = write(chosen, fractions)
    report["stable_by_mp"] = stable_but_above(chosen, fractions)
    report["file"] = {
        "rows": len(chosen),
        "with_energy": int(chosen.energy.notna().sum()),
        "bytes": path.stat().st_size,
    }
    (WORK / "phases_report.json").write_text(json.dumps(report, indent=1))
    print(json.dumps({k: v for k, v in report.items() if not k.startswith("offsets")}, indent=1))


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    build()
