"""How far a competing phase's energy would have to move to throw a crystal off the hull."""

from collections.abc import Sequence

import numpy as np

from inverse.candidates.types import HullMargin

MOST_NAMED = 5
"""Competing phases whose margins are kept, smallest first."""


def hull_margin(
    formulas: Sequence[str], fractions: np.ndarray, energies: np.ndarray, target: np.ndarray, limit: float
) -> HullMargin | None:
    """Return the margin of the phase that binds, and those of the others; None where none can.

    Of phase i at energy E_i: the largest energy E* at which some mixture with it lies at `limit`, by a linear
    programme in mixtures per atom of i, max t limit - v·E over t >= 1, v >= 0 with t x = x_i + v·X.
    The margin is E_i - E*, all other energies as they are.

    Args:
        formulas: of the N competing phases.
        fractions: (N, E) atomic fractions.
        energies: (N,) eV/atom.
        target: (E,) atomic fractions of the crystal.
        limit: the highest energy of the hull there at which the crystal is still within its target, its own
            less the distance that is allowed, eV/atom.
    """
    found: dict[str, float] = {}
    for i, formula in enumerate(formulas):
        others = np.arange(len(formulas)) != i
        lowest = _lowest_energy(fractions[others], energies[others], fractions[i], target, limit)
        if lowest is not None:
            margin = float(energies[i] - lowest)
            found[formula] = min(margin, found.get(formula, margin))
    if not found:
        return None
    ordered = dict(sorted(found.items(), key=lambda item: (item[1], item[0]))[:MOST_NAMED])
    binding = next(iter(ordered))
    return HullMargin(binding, ordered[binding], ordered)


def _lowest_energy(
    fractions: np.ndarray, energies: np.ndarray, own: np.ndarray, target: np.ndarray, limit: float
) -> float | None:
    """Return the energy of a phase at which a mixture with it lies at the limit; None where none has it."""
    from scipy.optimize import linprog

    # t of the crystal's atoms for each atom of the phase; the columns of the others count what makes up
    # the rest. Atoms balance by element, so t >= 1 follows where the phase is needed at all.
    costs = np.concatenate([[-limit], energies])
    balance = np.column_stack([target, -fractions.T])
    solved = linprog(costs, A_eq=balance, b_eq=own, bounds=(0, None), method="highs")
    # unbounded where the others alone lie below the limit: it has no margin that this phase could end
    return None if solved.status != 0 else -float(solved.fun)
