"""Tables of the 1,731 Wyckoff positions and of the lattice systems; for `symmetry` only.

Setting: International Tables A, unique axis b, origin choice 2, hexagonal axes for rhombohedral groups.
Written and proved against spglib by `experiments.package_data.make_wyckoff_tables` from pyxtal's table (MIT).
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import torch
from safetensors import safe_open
from torch import Tensor

from surrogates.errors import CheckpointError, StructureError

LETTERS = "abcdefghijklmnopqrstuvwxyzA"
"""Letter of each Wyckoff index; group 47 alone needs the last one."""

N_SPACE_GROUPS = 230

_DENOMINATOR = 24
_THIRD = 1.0 / 3.0
_PRIMITIVE_ROWS: dict[str, list[list[float]]] = {
    "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "A": [[1, 0, 0], [0, 0.5, 0.5], [0, -0.5, 0.5]],
    "C": [[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]],
    "I": [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
    "F": [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    "R": [[2 * _THIRD, _THIRD, _THIRD], [-_THIRD, _THIRD, _THIRD], [-_THIRD, -2 * _THIRD, _THIRD]],
}
_CENTRING_VECTORS: dict[str, list[list[float]]] = {
    "P": [[0, 0, 0]],
    "A": [[0, 0, 0], [0, 0.5, 0.5]],
    "C": [[0, 0, 0], [0.5, 0.5, 0]],
    "I": [[0, 0, 0], [0.5, 0.5, 0.5]],
    "F": [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    "R": [[0, 0, 0], [2 * _THIRD, _THIRD, _THIRD], [_THIRD, 2 * _THIRD, 2 * _THIRD]],
}
_LAST_GROUP_OF_SYSTEM = (2, 15, 74, 142, 194, 230)
_FREE_LATTICE = (
    (1, 1, 1, 1, 1, 1),
    (1, 1, 1, 0, 1, 0),
    (1, 1, 1, 0, 0, 0),
    (1, 0, 1, 0, 0, 0),
    (1, 0, 1, 0, 0, 0),
    (1, 0, 0, 0, 0, 0),
)
_LATTICE_SOURCE = (
    (0, 1, 2, 3, 4, 5),
    (0, 1, 2, 3, 4, 5),
    (0, 1, 2, 3, 4, 5),
    (0, 0, 2, 3, 4, 5),
    (0, 0, 2, 3, 4, 5),
    (0, 0, 0, 3, 4, 5),
)
_ATANH_HALF = 0.5493061443340549


@dataclass(frozen=True)
class WyckoffPosition:
    """One Wyckoff position of a space group.

    Attributes:
        letter: as in the International Tables.
        multiplicity: points in the conventional cell.
        primitive_multiplicity: points in the primitive cell.
        site_symmetry: spglib's symbol, such as "-43m" or "..m".
        n_free: free coordinates; a position without any can be occupied once only.
    """

    letter: str
    multiplicity: int
    primitive_multiplicity: int
    site_symmetry: str
    n_free: int


@dataclass(frozen=True)
class WyckoffTables:
    """All positions, flat; position p of group g is `position_start[g - 1] + wyckoff index`.

    Attributes:
        rotations: (N, 3, 3) of every representative, centring left out.
        translations: (N, 3).
        operation_start: (P + 1,) first representative of each position.
        position_start: (231,) first position of each group.
        is_free: (P, 3) which of x, y, z move the position.
        centring_vectors: (230, 4, 3), filled with zeros.
        n_centring: (230,) lattice points of the conventional cell.
        primitive_rows: (230, 3, 3) primitive = primitive_rows @ conventional.
        hall_number: (230,) Hall number to ask spglib for; 0 when it is spglib's own choice.
        lattice_source: (230, 6) slot of `free_lattice` that feeds log a, b, c and the three angle parameters.
        lattice_constant: (230, 6) added to it.
        is_lattice_free: (230, 6) which slots count.
        site_symmetry: P symbols.
    """

    rotations: Tensor
    translations: Tensor
    operation_start: Tensor
    position_start: Tensor
    is_free: Tensor
    centring_vectors: Tensor
    n_centring: Tensor
    primitive_rows: Tensor
    hall_number: Tensor
    lattice_source: Tensor
    lattice_constant: Tensor
    is_lattice_free: Tensor
    site_symmetry: tuple[str, ...]

    @property
    def n_representatives(self) -> Tensor:
        """(P,) points of each position in the primitive cell."""
        return self.operation_start[1:] - self.operation_start[:-1]

    @property
    def n_positions(self) -> Tensor:
        """(230,) positions of each group."""
        return self.position_start[1:] - self.position_start[:-1]

    def to(self, device: torch.device, dtype: torch.dtype) -> "WyckoffTables":
        """Return the tables on a device, floating ones in `dtype`."""
        moved = {
            name: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return WyckoffTables(**moved, site_symmetry=self.site_symmetry)


@lru_cache(maxsize=8)
def wyckoff_tables(device: torch.device | None = None, dtype: torch.dtype = torch.float64) -> WyckoffTables:
    """Return the tables, read once from package data."""
    if device is not None or dtype != torch.float64:
        return wyckoff_tables().to(device or torch.device("cpu"), dtype)
    path = resources.files("surrogates.crystals") / "wyckoff_tables.safetensors"
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata()
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Wyckoff tables {path} cannot be read: {error}") from None
    operations = arrays["operations"].double()
    start = arrays["operation_start"].long()
    centring = metadata["centering"]
    vectors = torch.zeros(N_SPACE_GROUPS, 4, 3, dtype=torch.float64)
    for group, kind in enumerate(centring):
        listed = torch.tensor(_CENTRING_VECTORS[kind], dtype=torch.float64)
        vectors[group, : len(listed)] = listed
    system = [sum(group > last for last in _LAST_GROUP_OF_SYSTEM) for group in range(1, N_SPACE_GROUPS + 1)]
    constant = torch.zeros(N_SPACE_GROUPS, 6, dtype=torch.float64)
    constant[142:194, 5] = -_ATANH_HALF
    return WyckoffTables(
        rotations=operations[:, :, :3].contiguous(),
        translations=operations[:, :, 3] / _DENOMINATOR,
        operation_start=start,
        position_start=arrays["position_start"].long(),
        is_free=operations[start[:-1], :, :3].abs().sum(dim=1) > 0,
        centring_vectors=vectors,
        n_centring=torch.tensor([len(_CENTRING_VECTORS[kind]) for kind in centring]),
        primitive_rows=torch.tensor([_PRIMITIVE_ROWS[kind] for kind in centring], dtype=torch.float64),
        hall_number=arrays["hall_number"].long(),
        lattice_source=torch.tensor([_LATTICE_SOURCE[s] for s in system]),
        lattice_constant=constant,
        is_lattice_free=torch.tensor([_FREE_LATTICE[s] for s in system], dtype=torch.bool),
        site_symmetry=tuple(json.loads(metadata["site_symmetry"])),
    )


@lru_cache(maxsize=N_SPACE_GROUPS)
def wyckoff_positions(space_group: int) -> tuple[WyckoffPosition, ...]:
    """Return the positions of a space group; index i is Wyckoff index i (letter a first).

    >>> [p.letter + p.site_symmetry for p in wyckoff_positions(225)[:3]]
    ['am-3m', 'bm-3m', 'c-43m']

    Raises:
        StructureError: not 1 to 230.
    """
    if not 1 <= space_group <= N_SPACE_GROUPS:
        raise StructureError(f"space group {space_group} does not exist; valid: 1 to 230")
    tables = wyckoff_tables()
    first, last = tables.position_start[space_group - 1 : space_group + 1].tolist()
    n_centring = int(tables.n_centring[space_group - 1])
    counts = tables.n_representatives[first:last].tolist()
    free = tables.is_free[first:last].sum(dim=1).tolist()
    return tuple(
        WyckoffPosition(LETTERS[i], n * n_centring, n, tables.site_symmetry[first + i], f)
        for i, (n, f) in enumerate(zip(counts, free, strict=True))
    )
