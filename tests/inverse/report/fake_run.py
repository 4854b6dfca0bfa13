"""A synthetic run folder: what a campaign leaves behind, without a campaign."""

from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.campaign.run_folder import RunFolder
from inverse.candidates.types import (
    Breach,
    Candidate,
    HitClass,
    KnownPhase,
    PredictedValue,
    Rule,
    Stage,
    Status,
    Verification,
    VerifiedValue,
)
from inverse.inputs.campaign_config import CampaignConfig

CONFIG: dict[str, Any] = {
    "name": "superhard-fake",
    "targets": {
        "bulk_modulus_vrh": {"min": 300},
        "shear_modulus_vrh": {"min": 150},
        "energy_above_hull": {"max": 0.1},
        "density": {"minimise": True, "weight": 0.2},
    },
    "constraints": {
        "elements": {
            "include_any": ["B", "C", "N"],
            "exclude": ["Os", "Re"],
            "exclude_groups": ["radioactive"],
        },
        "n_elements": [2, 4],
        "n_atoms": {"max": 8},
    },
    "seed": 7,
}

METALS = ["W", "Mo", "Ta", "Nb", "Ti", "V", "Cr", "Hf", "Zr", "Ru"]
UNITS = {
    "bulk_modulus_vrh": "GPa",
    "shear_modulus_vrh": "GPa",
    "formation_energy_per_atom": "eV/atom",
    "energy_above_hull": "eV/atom",
    "density": "g/cm³",
}
JUDGE = {"shear_modulus_vrh": "diep"}


def structure(k: int, stretch: float = 1.0) -> Structure:
    metal, other = METALS[k % 10], METALS[(k // 10 + k + 1) % 10]
    light = "BCN"[k % 3]
    a = (3.0 + 0.05 * (k % 7)) * stretch
    if k % 2:
        return Structure(Lattice.hexagonal(a, a * 0.97), [metal, light], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    lattice = Lattice.tetragonal(a, 2 * a * 0.98)
    coords = [[0, 0, 0], [0, 0, 0.5], [0.5, 0.5, 0.25], [0.5, 0.5, 0.75]]
    return Structure(lattice, [metal, other, light, light], coords)


def predicted(mean: float, std: float) -> PredictedValue:
    return PredictedValue(mean, std, mean - 1.645 * std, mean + 1.645 * std)


def verified(name: str, mean: float, std: float) -> VerifiedValue:
    return VerifiedValue(
        mean,
        std,
        mean - 1.645 * std,
        mean + 1.645 * std,
        mean * 0.93,
        JUDGE.get(name, "7net-l3i5"),
        UNITS[name],
    )


def ladder(failed: str = "") -> tuple[Stage, ...]:
    names = ["generated", "screened", "predicted", "relaxed", "hull", "tensor", "second_opinion", "phonons"]
    stages, dead = [], False
    for name in names:
        if dead or name in ("second_opinion", "phonons"):
            stages.append(Stage(name, None))
        elif name == failed:
            stages.append(Stage(name, False, "relaxation took longer than 60 s", 60.0))
            dead = True
        else:
            stages.append(Stage(name, True, "", 1.2))
    return tuple(stages)


def verification(k: int, rng: np.random.Generator, guess: dict[str, PredictedValue]) -> Verification:
    if k % 9 == 4:
        return Verification(
            "auto", False, "relaxed: 7net-l3i5 did not converge in 60 s", ladder=ladder("relaxed"), seconds=60
        )
    if k % 9 == 7:
        return Verification(
            "auto", False, "judges disagree on the phase", ladder=ladder("tensor"), seconds=31
        )
    errors = {"bulk_modulus_vrh": 12.0, "shear_modulus_vrh": 15.0, "density": 0.1}
    values = {}
    for name, value in guess.items():
        std = errors.get(name, 0.04)
        mean = (
            value.mean * (1 - 0.06) + rng.normal(0, std)
            if name != "energy_above_hull"
            else abs(rng.normal(0.06, 0.06))
        )
        values[name] = verified(name, float(mean), std)
    flags = ("amplitude_dependent",) if k % 11 == 0 else ()
    return Verification(
        "auto", True, "", values, flags, k % 13 != 5, structure(k, 1.01), ladder(), 14.0 + k % 5
    )


def candidate(k: int, status: str, can_hit: bool = True) -> Candidate:
    rng = np.random.default_rng([7, k])
    guess = {
        "bulk_modulus_vrh": predicted(float(rng.normal(330, 25)), 18.0),
        "shear_modulus_vrh": predicted(float(rng.normal(180, 25)), 17.0),
        "formation_energy_per_atom": predicted(float(rng.normal(-0.2, 0.2)), 0.06),
        "energy_above_hull": predicted(float(abs(rng.normal(0.06, 0.05))), 0.06),
        "density": predicted(float(rng.normal(12, 2)), 0.2),
    }
    common: dict[str, Any] = {
        "id": f"c{k:06d}",
        "structure": structure(k),
        "proposer": ["gradient", "decoder", "substitution"][k % 3],
        "seed": k,
        "history": {"template": "WC", "gradient_steps": k % 30, "decomposition": {"WC": 0.6, "B4C": 0.4}},
        "log_likelihood": -1.2 - 0.01 * k,
        "predictions": guess,
        "probability_target_met": float(rng.uniform(0.2, 0.9)),
    }
    if status == "screened_out":
        broken = [
            Breach(Rule.DISTANCE, "W-C 1.21 Å"),
            Breach(Rule.N_ATOMS, "12 is not within 1 to 8"),
            Breach(Rule.NO_PREDICTION, "bulk_modulus_vrh"),
            Breach(Rule.NOVELTY, "in mp"),
        ][k % 4]
        return Candidate(
            **{**common, "predictions": {}, "probability_target_met": None},
            status=Status.SCREENED_OUT,
            reason=str(broken),
            rule=broken.rule,
        )
    if status == "predicted":
        return Candidate(**common, status=Status.PREDICTED)
    verdict = verification(k, rng, guess)
    if not verdict.converged:
        return Candidate(
            **common, status=Status.FAILED, reason=verdict.reason, verification=verdict, score=-1.0
        )
    v = verdict.values
    met = (
        v["bulk_modulus_vrh"].mean >= 300
        and v["shear_modulus_vrh"].mean >= 150
        and v["energy_above_hull"].mean <= 0.1
        and bool(verdict.is_stable)
    )
    duplicate = "c000001" if met and k % 6 == 3 and k > 1 else ""
    probability = float(rng.uniform(0.6, 0.99)) if met else float(rng.uniform(0.0, 0.4))
    hit = met and not duplicate and can_hit
    return Candidate(
        **common,
        status=Status.HIT if hit else Status.VERIFIED,
        verification=verdict,
        probability_after=probability,
        hit_class=list(HitClass)[k % 3],
        derivative_of="WC" if k % 3 == 1 else "",
        vacancy_of="TiC" if k % 3 == 2 else "",
        nearest_known="WC (mp-1894, P-6m2)",
        known_phase=(None, KnownPhase("mp-1894"), KnownPhase())[k % 3],
        duplicate_of=duplicate,
        parent_prototype="P-6m2|1 a -6m2 X|1 d -6m2 Y",
        score=probability,
    )


def candidates(
    n_verified: int = 45, n_predicted: int = 10, n_screened: int = 25, can_hit: bool = True
) -> list[Candidate]:
    kinds = ["verified"] * n_verified + ["predicted"] * n_predicted + ["screened_out"] * n_screened
    made = [candidate(k, kind) for k, kind in enumerate(kinds)]
    if can_hit:
        return made
    low = []
    for c in made:
        if c.verification is not None and c.verification.converged:
            values = {
                name: value if name != "shear_modulus_vrh" else verified(name, value.mean * 0.6, value.std)
                for name, value in c.verification.values.items()
            }
            from dataclasses import replace

            c = replace(
                c,
                status=Status.VERIFIED,
                verification=replace(c.verification, values=values),
                duplicate_of="",
            )
        low.append(c)
    return low


def manifest(made: list[Candidate]) -> dict[str, Any]:
    from inverse.inputs.records import plain  # noqa: F401 - the journal needs plain JSON

    return {
        "format_version": 1,
        "name": "superhard-fake",
        "created": "2026-11-23T00:10:00+00:00",
        "updated": "2026-11-23T00:24:31+00:00",
        "status": "finished",
        "stop_reason": "45 of 45 verifications done",
        "command": "inverse run superhard-quick --seed 7",
        "seed": 7,
        "device": "cpu",
        "seconds": 871.4,
        "versions": {
            "inverse-crystals": "0.1.0",
            "python": "3.11.7",
            "torch": "2.13.0",
            "pymatgen": "2026.1",
        },
        "weights": {"structure": {"file": "structure.safetensors", "sha256": "ab" * 32, "format": 1}},
        "judges": {
            "bulk_modulus_vrh": "7net-l3i5",
            "shear_modulus_vrh": "diep",
            "energy_above_hull": "7net-l3i5",
        },
        "settings": {"fmax": 0.02, "strain": 0.01, "displacement": 0.015},
        "steps": [{"step": 0, "proposed": 40, "started": 20, "hits": 6, "seconds": 400.0}],
        "funnel": {
            "evaluated": 15400,
            "proposed": 812,
            "screened_out": {"distances": 500, "density": 44},
            "started": 45,
        },
        "baselines": {
            "lookup": {
                "n_hits": 23,
                "n_considered": 404000,
                "basis": "dft",
                "best": [{"formula": "WC", "values": {"bulk_modulus_vrh": 387, "shear_modulus_vrh": 279}}],
            },
            "orderings": {
                "n_hits": 61,
                "n_considered": 480,
                "n_started": 0,
                "basis": "predicted",
                "best": [{"formula": "WMoC2"}],
                "note": "linear mixing of the end members' moduli",
            },
        },
    }


def write_fake_run(path: Path, made: list[Candidate] | None = None) -> Path:
    made = candidates() if made is None else made
    config = CampaignConfig.from_mapping(CONFIG)
    with RunFolder.create(path, config.to_yaml(), "fake") as folder:
        folder.write_step(0, made, [], {})
        folder.finish_step(0, made, {})
        folder.write_manifest(manifest(made))
    return path
