"""What report and terminal say of the user's own crystal."""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from rich.console import Console

from inverse.campaign.run import Run
from inverse.candidates.types import Candidate, Origin, Rule, Status, Verification
from inverse.inputs.campaign_config import CampaignConfig
from inverse.report.console import summary_of
from inverse.report.seeds import seed_lines
from tests.inverse.report.fake_run import candidate, verified

CONFIG = CampaignConfig.from_mapping(
    {
        "targets": {
            "bulk_modulus_vrh": {"min": 250},
            "shear_modulus_vrh": {"min": 190},
            "density": {"near": 6, "tolerance": 1},
        }
    }
)


def rocksalt(metal: str, light: str) -> Structure:
    return Structure(Lattice.cubic(3.0), [metal, light], [[0, 0, 0], [0.5, 0.5, 0.5]])


def judged(k: int, structure: Structure, origin: Origin, values: Sequence[float]) -> Candidate:
    names = ("bulk_modulus_vrh", "shear_modulus_vrh", "energy_above_hull", "density")
    made = {name: verified(name, value, 5.0) for name, value in zip(names, values, strict=True)}
    return replace(
        candidate(0, "predicted"),
        id=f"c{k:06d}",
        structure=structure,
        origin=origin,
        status=Status.VERIFIED,
        score=0.1 * k,
        verification=Verification("auto", True, values=made, is_stable=True, structure=structure),
    )


TIN = judged(0, rocksalt("Ti", "N"), Origin.SEED, (288.0, 169.0, 0.0, 5.4))
TAC = judged(3, rocksalt("Ta", "C"), Origin.CHILD, (330.0, 214.0, 0.15, 14.3))


def run(*candidates: Candidate) -> Run:
    return Run(Path("run"), CONFIG, tuple(candidates), {})


def test_the_seed_is_the_reference() -> None:
    assert seed_lines(run(TAC, TIN)) == [
        "TiN itself misses: shear modulus G 169 of 190 GPa asked.",
        "TaC (c000003) beside TiN: bulk modulus K +42 GPa (both meet the target), shear modulus G +45 GPa "
        "(better), density +8.9 g/cm³ (worse), energy above hull +0.150 eV/atom (worse).",
    ]
    assert seed_lines(run(TAC)) == []


def test_a_seed_beyond_an_upper_bound_and_one_outside_a_window() -> None:
    odd = judged(0, rocksalt("Ti", "N"), Origin.SEED, (288.0, 200.0, 0.25, 8.0))
    assert seed_lines(run(odd)) == [
        "TiN itself misses: density 8 where 5 to 7 g/cm³ asked; "
        "energy above hull 0.250 where at most 0.100 eV/atom asked."
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": Status.HIT}, "TiN itself meets every target."),
        (
            {"status": Status.FAILED, "rule": Rule.NOVELTY},
            "TiN itself meets every target. The search was not to hand it out (novelty).",
        ),
        (
            {"verification": None, "status": Status.PREDICTED, "reason": ""},
            "TiN, your crystal, was not verified.",
        ),
        (
            {
                "verification": Verification("auto", False, "colliding atoms"),
                "status": Status.FAILED,
                "reason": "colliding atoms",
            },
            "TiN, your crystal: colliding atoms.",
        ),
    ],
)
def test_whatever_became_of_the_seed_is_said(changes: dict[str, object], said: str) -> None:
    good = judged(0, rocksalt("Ti", "N"), Origin.SEED, (288.0, 200.0, 0.0, 6.0))
    assert seed_lines(run(replace(good, **changes))) == [said]


def test_what_the_reader_said_of_a_seeds_file_stands_with_its_verdict() -> None:
    odd = replace(TIN, remarks=("isotope: D (deuterium) read as H", "occupancy: X1: occupancy 0, left out"))
    assert seed_lines(run(odd)) == [
        "TiN itself misses: shear modulus G 169 of 190 GPa asked. Of its file: "
        "isotope: D (deuterium) read as H; occupancy: X1: occupancy 0, left out."
    ]


def test_the_terminal_marks_the_seed_and_says_the_sentence() -> None:
    console = Console(file=StringIO(), width=200)
    console.print(summary_of(run(TAC, TIN)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "TiN itself misses: shear modulus G 169 of 190 GPa asked." in text
    assert "no hit, yours" in text
