"""The config's rules once more, written from the config's text alone; shares no code with the screen."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
import spglib
import yaml
from pymatgen.core import Structure
from scipy.spatial import KDTree

_RADII_TEXT = """
H 31 He 28 Li 128 Be 96 B 84 C 76 N 71 O 66 F 57 Ne 58 Na 166 Mg 141 Al 121 Si 111 P 107 S 105 Cl 102 Ar 106
K 203 Ca 176 Sc 170 Ti 160 V 153 Cr 139 Mn 139 Fe 132 Co 126 Ni 124 Cu 132 Zn 122 Ga 122 Ge 120 As 119 Se 120
Br 120 Kr 116 Rb 220 Sr 195 Y 190 Zr 175 Nb 164 Mo 154 Tc 147 Ru 146 Rh 142 Pd 139 Ag 145 Cd 144 In 142 Sn 139
Sb 139 Te 138 I 139 Xe 140 Cs 244 Ba 215 La 207 Ce 204 Pr 203 Nd 201 Pm 199 Sm 198 Eu 198 Gd 196 Tb 194 Dy 192
Ho 192 Er 189 Tm 190 Yb 187 Lu 187 Hf 175 Ta 170 W 162 Re 151 Os 144 Ir 141 Pt 136 Au 136 Hg 132 Tl 145 Pb 146
Bi 148 Po 140 At 150 Rn 150 Fr 260 Ra 221 Ac 215 Th 206 Pa 200 U 196 Np 190 Pu 187 Am 180 Cm 169
"""
"""Covalent radii, pm: Cordero et al., Dalton Trans. 2832 (2008), doi:10.1039/b801115j."""

_WORDS = _RADII_TEXT.split()
_RADII = {symbol: int(pm) / 100 for symbol, pm in zip(_WORDS[::2], _WORDS[1::2], strict=True)}


class KnownFormulas(Protocol):
    """What the referee asks about novelty."""

    def is_known_formula(self, formula: str) -> bool:
        """Return whether the reduced formula is in any carried table."""
        ...

    def has_structure(self, structure: Structure) -> bool:
        """Return whether the structure's signature is carried for its formula."""
        ...


def broken_rules(
    structure: Structure, rules: Mapping[str, Any], known: KnownFormulas | None = None
) -> list[str]:
    """Return the names of the rules of a config's `constraints` that a generated structure breaks."""
    asked = rules.get("elements") or {}
    has = {str(site.specie.symbol) for site in structure}
    excluded = set(asked.get("exclude") or ())
    for name in asked.get("exclude_groups") or ():
        excluded.update(_groups()[name])
    n_low, n_high = _limits(rules.get("n_elements"), 1, 5)
    a_low, a_high = _limits(rules.get("n_atoms"), 1, 20)
    verdicts = {
        "exclude": not has & excluded,
        "only": not asked.get("only") or has <= set(asked["only"]),
        "include_all": set(asked.get("include_all") or ()) <= has,
        "include_any": not asked.get("include_any") or bool(has & set(asked["include_any"])),
        "chemical_systems": _in_systems(has, rules),
        "n_elements": n_low <= len(has) <= n_high,
        "n_atoms": a_low <= _primitive_atoms(structure) <= a_high,
        "distance": _closest(structure) >= 0.7 - 1e-9,
        "novelty": _is_novel(structure, rules.get("novelty", "any"), known),
    }
    return [name for name, kept in verdicts.items() if not kept]


@cache
def _groups() -> dict[str, list[str]]:
    """Return the file's groups."""
    text = files("inverse.inputs").joinpath("element_groups.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _limits(value: Any, low: int, high: int) -> tuple[int, int]:
    """Return the two ends of a range in any of its spellings."""
    if value is None:
        return low, high
    if isinstance(value, Mapping):
        return int(value.get("min", 1)), int(value.get("max", 10**6))
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _in_systems(has: set[str], rules: Mapping[str, Any]) -> bool:
    systems = [set(text.split("-")) for text in rules.get("chemical_systems") or ()]
    if not systems:
        return True
    return any(has <= s if rules.get("subsystems") else has == s for s in systems)


def _primitive_atoms(structure: Structure) -> int:
    """Return the size of spglib's primitive cell."""
    numbers = [int(site.specie.Z) for site in structure]
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    found = spglib.find_primitive(cell, symprec=0.01)
    return len(structure) if found is None else len(found[2])


def _closest(structure: Structure) -> float:
    """Return the smallest distance over the sum of covalent radii, by a tree over explicit images."""
    cell = structure.get_reduced_structure()
    matrix = cell.lattice.matrix
    radii = np.array([_RADII.get(site.specie.symbol, 0.2) for site in cell])
    reach = 1.4 * float(radii.max())
    heights = [
        abs(np.linalg.det(matrix)) / np.linalg.norm(np.cross(matrix[i - 2], matrix[i - 1])) for i in range(3)
    ]
    spans = [np.arange(-int(reach // h) - 2, int(reach // h) + 3) for h in heights]
    shifts = np.array(np.meshgrid(*spans)).reshape(3, -1).T
    home = cell.frac_coords @ matrix
    images = (home[None] + (shifts @ matrix)[:, None]).reshape(-1, 3)
    owner = np.tile(np.arange(len(cell)), len(shifts))
    smallest = np.inf
    tree = KDTree(images)
    for i, near in enumerate(tree.query_ball_point(home, reach)):
        gaps = np.linalg.norm(images[near] - home[i], axis=1)
        ratio = gaps / (radii[i] + radii[owner[near]])
        smallest = min(smallest, float(ratio[gaps > 1e-6].min(initial=np.inf)))
        if (gaps <= 1e-6).sum() > 1:
            return 0.0
    return smallest


def _is_novel(structure: Structure, wanted: str, known: KnownFormulas | None) -> bool:
    if wanted == "any" or known is None:
        return True
    if not known.is_known_formula(structure.composition.reduced_formula):
        return True
    return wanted == "new_structure" and not known.has_structure(structure)
