"""How often is the type right that a known formula without a carried structure is given? On AFLOW's crystals.

    python -m experiments.studies.assigned_types [-n 150] [--seed 1]

Asked are formulas of the shared AFLOW rows of which exactly one signature is carried, of at most ten atoms,
and whose energy no shared row knows, so that the surrogate of energies has learned none of them. The own
entry of a formula is taken out of the count of kin. A tenth of a second each.
"""

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from inverse.assembly import load_structure_surrogate
from inverse.candidates.objective import Objective
from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.named_surrogate import surrogate_named
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.baselines.assigned_types import AS_LOW, FARTHEST, TypedCell, believed, typed_cells
from inverse.proposers.baselines.known_phases import MOST_TYPES
from inverse.proposers.screening import Screen
from inverse.proposers.search_space import SearchSpace
from inverse.reference import Facts, KnownMaterials, ReferenceHull
from inverse.reference.signatures import Cell, signature_text
from inverse.reference.skeletons import anonymous, n_atoms_of
from inverse.reference.structure_types import Prototype, alike_class
from surrogates.datasets.shared import crystal_rows

MOST_ATOMS = 10
"""Of the primitive cell."""


class OfKin(SearchSpace):
    """A space whose structure types do not count one formula's own entry."""

    own: str = ""

    def structure_types(self) -> list[Prototype]:
        """Return the types, the own signature counted once less."""
        text, elements = anonymous(self.own)
        kinds = tuple(alike_class(e) for e in elements)
        return [
            replace(p, kinds={**p.kinds, kinds: p.kinds[kinds] - 1})
            if p.text == text and kinds in p.kinds
            else p
            for p in super().structure_types()
        ]


def space() -> OfKin:
    """Return a space with the packaged surrogates, without a decoder."""
    config = CampaignConfig.from_mapping(
        {
            "targets": {"formation_energy_per_atom": {"max": 0}},
            "constraints": {"n_atoms": {"max": MOST_ATOMS}},
        }
    )
    objective, screen = Objective.of(config), Screen(config.constraints)
    base = Evaluator(load_structure_surrogate("cpu"), ReferenceHull.packaged().below, objective.properties)
    return OfKin(
        config=config,
        objective=objective,
        constraints=config.constraints,
        base=base,
        corrected=base,
        compositions=surrogate_named("composition"),
        decoder=None,
        condition=lambda **settings: None,
        composition_reason=screen.composition_breach,
        screening=screen.breach,
        is_known_formula=lambda formula: True,
    )


def asked(seed: int) -> Iterator[tuple[str, str, float]]:
    """Yield (formula, signature, tabulated energy in eV/atom) in random order."""
    known, facts = KnownMaterials.packaged(), Facts.packaged()
    rows = [row for name in ("mp_structures", "wbm", "elasticity") for row in crystal_rows(name)]
    learned = {row["formula"] for row in rows if row.get("formation_energy_per_atom") is not None}
    learned |= {row["formula"] for row in rows if row.get("energy_above_hull") is not None}
    found = sorted({row["formula"] for row in rows if row["source"] == "aflow_ael"} - learned)
    for i in np.random.default_rng(seed).permutation(len(found)):
        carried = known.signatures_of(found[i])
        energy = facts.formation_energy_of(found[i])
        if len(carried) == 1 and n_atoms_of(carried[0].text) <= MOST_ATOMS and energy is not None:
            yield found[i], carried[0].text, energy


def is_right(cell: TypedCell, text: str) -> bool:
    """Return whether a cell has the signature."""
    return signature_text(Cell.from_structure(cell.structure)) == text


def report(answers: Sequence[tuple[str, float, list[TypedCell]]]) -> None:
    """Print shares of right types: of all, of the believed, and of the most familiar alone."""
    chosen = [(text, believed(cells, energy)[:MOST_TYPES]) for text, energy, cells in answers]
    n_believed = sum(bool(cells) for _, cells in chosen)
    n_right = sum(is_right(cells[0], text) for text, cells in chosen if cells)
    n_among = sum(any(is_right(cell, text) for cell in cells) for text, cells in chosen)
    n_cells = sum(len(cells) for _, cells in chosen)
    n_tried = sum(any(is_right(cell, text) for cell in cells) for text, _, cells in answers)
    n_familiar = sum(is_right(cells[0], text) for text, _, cells in answers if cells)
    print(f"{len(answers)} formulas, the true type among those tried for {n_tried}")
    print(f"within {FARTHEST} eV/atom of the tabulated energy {n_believed}, of these right {n_right}")
    print(f"right among the first {MOST_TYPES} of each: {n_among}, {n_cells} crystals in all")
    print(f"most familiar within {AS_LOW} eV/atom of the lowest; the most familiar alone: {n_familiar} right")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    search, answers = space(), []
    began = time.process_time()
    for formula, text, energy in asked(given.seed):
        if len(answers) == given.n:
            break
        object.__setattr__(search, "own", text)
        answers.append((text, energy, typed_cells(search, formula, (1, MOST_ATOMS))))
    report(answers)
    print(f"{(time.process_time() - began) / max(len(answers), 1):.2f} CPU s each")


if __name__ == "__main__":
    main()
