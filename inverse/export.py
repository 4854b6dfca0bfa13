"""Inputs for the next step: CIF, VASP (the Materials Project's own sets), Quantum ESPRESSO; with a job script.

What the reference energies were made with is matched: PBE, spin-polarised, the Materials Project's +U and
k-point density. VASP's POTCAR files are licensed, so only their names are written (POTCAR.spec).
"""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from inverse.report.run import Run, read_run
from inverse.report.table import best_structure, is_ranked
from inverse.types import Candidate, Status
from surrogates.errors import ConfigError, RunFolderError, UnsupportedElementError, nearest

FALLBACK_COUNT = 10
"""Best verified candidates that are exported when a run has no hits and no shortlist is given."""

KPOINT_SPACING = 0.22
"""Å⁻¹ (2π included) of Quantum ESPRESSO meshes; about the Materials Project's density for small cells."""

ELASTIC_INCAR: Mapping[str, Any] = {
    "IBRION": 6,
    "ISIF": 3,
    "NFREE": 2,
    "POTIM": 0.015,
    "NSW": 1,
    "ENCUT": 700,
    "EDIFF": 1e-6,
    "LREAL": False,
    "LCHARG": False,
    "PREC": "Accurate",
    "ISMEAR": 0,
    "SIGMA": 0.05,
}
"""Finite-difference elastic tensor (ions relaxed by internal strain), set beside the static run."""

MAGNETIC = frozenset(
    ["V", "Cr", "Mn", "Fe", "Co", "Ni", "Mo", "W"]
    + ["Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb"]
)
"""Elements that the Materials Project's sets start with a large moment."""

HUBBARD_U: Mapping[str, tuple[str, float]] = {
    "Co": ("3d", 3.32),
    "Cr": ("3d", 3.7),
    "Fe": ("3d", 5.3),
    "Mn": ("3d", 3.9),
    "Mo": ("4d", 4.38),
    "Ni": ("3d", 6.2),
    "V": ("3d", 3.25),
    "W": ("5d", 6.2),
}
"""eV: the Materials Project's +U, applied to oxides and fluorides only."""


def export(
    run_folder: str | Path,
    format: str = "cif",
    shortlist: str | Path | None = None,
    output: str | Path | None = None,
) -> list[Path]:
    """Write inputs of every exported candidate to output/<id>_<formula>/ and return the written files.

    Args:
        run_folder: of the run.
        format: vasp, qe or cif.
        shortlist: file with candidate ids (one a line, or a CSV with an `id` column); without it the hits,
            and the best verified candidates where there are none.
        output: folder; <run folder>/export_<format> without it.

    Raises:
        ConfigError: an unknown format, or a shortlist that names no candidate of this run.
        RunFolderError: no run there, nothing to export, or the folder cannot be written.
    """
    if format not in WRITERS:
        raise ConfigError(f"--format {format!r} is not known; {nearest(format, WRITERS)}")
    run = read_run(run_folder)
    chosen = choose(run, shortlist)
    folder = Path(output) if output is not None else Path(run_folder) / f"export_{format}"
    written: list[Path] = []
    try:
        for candidate in chosen:
            structure = best_structure(candidate)
            name = f"{candidate.id}_{structure.composition.reduced_formula}"
            place = folder if format == "cif" else folder / name
            place.mkdir(parents=True, exist_ok=True)
            written += WRITERS[format](structure, place, name)
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return written


def choose(run: Run, shortlist: str | Path | None = None) -> list[Candidate]:
    """Return the candidates to export, best first.

    Raises:
        ConfigError: the shortlist cannot be read, is empty, or names a candidate that is not in the run.
        RunFolderError: without a shortlist, nothing was verified.
    """
    if shortlist is None:
        hits = [c for c in run.candidates if c.status is Status.HIT]
        best = hits or [c for c in run.candidates if is_ranked(c)][:FALLBACK_COUNT]
        if not best:
            raise RunFolderError(f"{run.folder}: nothing was verified, so there is nothing to export")
        return best
    by_id = {candidate.id: candidate for candidate in run.candidates}
    wanted = read_shortlist(shortlist)
    for identity in wanted:
        if identity not in by_id:
            raise ConfigError(
                f"{shortlist}: no candidate {identity!r} in {run.folder}; {nearest(identity, by_id)}"
            )
    return [by_id[identity] for identity in wanted]


def read_shortlist(path: str | Path) -> list[str]:
    """Return the ids of a shortlist: a CSV with an `id` column (candidates.csv itself), or one id a line.

    Raises:
        ConfigError: the file cannot be read or names nothing.
    """
    path = Path(path)
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--shortlist {path}: cannot be read ({error})") from None
    if lines and "id" in next(csv.reader(lines[:1])):
        found = [row["id"] for row in csv.DictReader(lines) if row.get("id")]
    else:
        found = [line.split("#")[0].split(",")[0].strip() for line in lines]
    names = list(dict.fromkeys(name for name in found if name))
    if not names:
        raise ConfigError(f"--shortlist {path}: names no candidate; write one id a line")
    return names


def write_cif_files(structure: Structure, folder: Path, name: str) -> list[Path]:
    """Write folder/<name>.cif: all atoms listed (P1), ten digits."""
    from pymatgen.io.cif import CifWriter

    path = folder / f"{name}.cif"
    path.write_text(str(CifWriter(structure, significant_figures=10)), encoding="utf-8")
    return [path]


def write_vasp_files(structure: Structure, folder: Path, name: str) -> list[Path]:
    """Write three VASP steps (relax, static, elastic) with POTCAR.spec, and a job script that joins them.

    MPRelaxSet and MPStaticSet: PBE, ISPIN 2 with the sets' moments, +U on the oxides and fluorides of V, Cr,
    Mn, Fe, Co, Ni, Mo and W. The elastic step is IBRION 6.
    """
    from pymatgen.io.vasp.sets import MPRelaxSet, MPStaticSet

    sorted_structure = structure.get_sorted_structure()
    steps = {
        "relax": MPRelaxSet(sorted_structure, force_gamma=_needs_gamma(structure)),
        "static": MPStaticSet(sorted_structure, force_gamma=_needs_gamma(structure)),
        "elastic": MPStaticSet(
            sorted_structure,
            force_gamma=_needs_gamma(structure),
            user_incar_settings=dict(ELASTIC_INCAR),
            reciprocal_density=200,
        ),
    }
    written = []
    for step, inputs in steps.items():
        place = folder / step
        inputs.write_input(str(place), potcar_spec=True, make_dir_if_not_present=True)
        written += [place / file for file in ("INCAR", "KPOINTS", "POSCAR", "POTCAR.spec")]
    return [*written, _write_job(folder, name, _VASP_COMMANDS)]


def write_espresso_files(structure: Structure, folder: Path, name: str) -> list[Path]:
    """Write pw.x inputs (vc-relax, scf), spin-polarised, +U, SSSP pseudopotentials, and a job script.

    Raises:
        UnsupportedElementError: an element without a pseudopotential in the carried table.
    """
    written = []
    for step, calculation in (("relax", "vc-relax"), ("static", "scf")):
        path = folder / f"{step}.in"
        path.write_text(espresso_input(structure, calculation, name), encoding="utf-8")
        written.append(path)
    names = "\n".join(sorted({str(table_row(symbol)[0]) for symbol in _symbols(structure)}))
    needed = folder / "pseudopotentials.txt"
    needed.write_text(names + "\n", encoding="utf-8")
    return [*written, needed, _write_job(folder, name, _ESPRESSO_COMMANDS)]


def espresso_input(structure: Structure, calculation: str, prefix: str) -> str:
    """Return the text of a pw.x input; cut-offs are the largest that any element of the crystal asks for.

    Raises:
        UnsupportedElementError: an element without a pseudopotential in the carried table.
    """
    import io

    from ase.io.espresso import SSSP_VALENCE, write_espresso_in
    from pymatgen.io.ase import AseAtomsAdaptor

    symbols = _symbols(structure)
    rows = {symbol: table_row(symbol) for symbol in symbols}
    plain = Structure.from_sites([*structure.copy(site_properties={})])
    atoms = AseAtomsAdaptor.get_atoms(plain, msonable=False)
    kpoints = [
        max(1, round(length / KPOINT_SPACING + 0.499)) for length in structure.lattice.reciprocal_lattice.abc
    ]
    data: dict[str, dict[str, Any]] = {
        "control": {
            "calculation": calculation,
            "prefix": re.sub(r"\W", "_", prefix),
            "pseudo_dir": "./pseudo",
            "outdir": "./out",
            "tstress": True,
            "tprnfor": True,
            "etot_conv_thr": 1e-5 * len(structure),
            "forc_conv_thr": 1e-4,
        },
        "system": {
            "ecutwfc": max(float(row[1]) for row in rows.values()),
            "ecutrho": max(float(row[2]) for row in rows.values()),
            "occupations": "smearing",
            "smearing": "cold",
            "degauss": 0.015,
            "nspin": 2,
        },
        "electrons": {"conv_thr": 2e-10 * len(structure), "mixing_beta": 0.4, "electron_maxstep": 120},
        "ions": {"ion_dynamics": "bfgs"},
        "cell": {"cell_dynamics": "bfgs", "press_conv_thr": 0.1},
    }
    # ASE writes the moment divided by its table of valence electrons as the starting magnetisation
    starts = [0.5 if atom.symbol in MAGNETIC else 0.1 for atom in atoms]
    atoms.set_initial_magnetic_moments(
        [f * SSSP_VALENCE[n] for f, n in zip(starts, atoms.numbers, strict=True)]
    )
    if calculation == "scf":
        del data["ions"], data["cell"]
    text = io.StringIO()
    write_espresso_in(
        text,
        atoms,
        input_data=data,
        pseudopotentials={symbol: str(row[0]) for symbol, row in rows.items()},
        kpts=kpoints,
        koffset=(0, 0, 0),
    )
    return text.getvalue() + hubbard_card(symbols)


def hubbard_card(symbols: Sequence[str]) -> str:
    """Return pw.x's HUBBARD card with the Materials Project's +U; "" unless an oxide or fluoride needs one.

    >>> hubbard_card(["Fe", "O"]).split()
    ['HUBBARD', '(ortho-atomic)', 'U', 'Fe-3d', '5.3']
    """
    lines = [
        f"U {symbol}-{HUBBARD_U[symbol][0]} {HUBBARD_U[symbol][1]}"
        for symbol in symbols
        if symbol in HUBBARD_U
    ]
    if not lines or not {"O", "F"} & set(symbols):
        return ""
    return "\nHUBBARD (ortho-atomic)\n" + "\n".join(lines) + "\n"


def table_row(symbol: str) -> Sequence[Any]:
    """Return (file name, wave-function cut-off in Ry, density cut-off in Ry) of an element.

    Raises:
        UnsupportedElementError: not in the table.
    """
    table = _pseudopotentials()
    if symbol not in table:
        raise UnsupportedElementError(
            f"element {symbol} has no pseudopotential in the carried SSSP table ({len(table)} elements)"
        )
    return table[symbol]


@cache
def _pseudopotentials() -> Mapping[str, Sequence[Any]]:
    text = files("inverse").joinpath("pseudopotentials.json").read_text(encoding="utf-8")
    return dict(json.loads(text)["elements"])


def _symbols(structure: Structure) -> list[str]:
    """Return the elements in the order in which they first stand in the structure."""
    return list(dict.fromkeys(site.specie.symbol for site in structure))


def _needs_gamma(structure: Structure) -> bool:
    """Return whether only Γ-centred meshes keep the symmetry (hexagonal, centred lattices)."""
    from inverse.report.table import space_group

    group = space_group(structure)
    return group is None or group[0][0] in "FIR" or 143 <= group[1] <= 194


def _write_job(folder: Path, name: str, commands: str) -> Path:
    path = folder / "job.sh"
    path.write_text(_JOB.format(name=name[:60], commands=commands), encoding="utf-8")
    path.chmod(0o755)
    return path


_JOB = """#!/bin/bash
# Set account, partition, module and the launcher to what your machine asks for.
#SBATCH --job-name={name}
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=32
#SBATCH --time=12:00:00
#SBATCH --output=job-%j.log
set -euo pipefail
cd "${{SLURM_SUBMIT_DIR:-$(dirname "$0")}}"
LAUNCH=${{LAUNCH:-srun}}
{commands}"""

_VASP_COMMANDS = """# module load vasp
# POTCAR files are licensed: POTCAR.spec names them, one a line; POTCARS is the folder that holds them.
VASP=${VASP:-vasp_std}
: "${POTCARS:?set POTCARS to the folder of the PBE POTCAR files}"
previous=""
for step in relax static elastic; do
  : > "$step/POTCAR"
  while read -r symbol || [ -n "$symbol" ]; do
    cat "$POTCARS/$symbol/POTCAR" >> "$step/POTCAR"
  done < "$step/POTCAR.spec"
  if [ -n "$previous" ]; then cp "$previous/CONTCAR" "$step/POSCAR"; fi
  (cd "$step" && $LAUNCH "$VASP" > vasp.out)
  if [ "$step" = relax ]; then previous=relax; fi
done
"""

_ESPRESSO_COMMANDS = """# module load quantum-espresso
# The files named in pseudopotentials.txt (SSSP 1.3.0 PBE efficiency) belong into ./pseudo.
# static.in holds the cell of the candidate: put the relaxed cell of relax.out into it before you run it.
PW=${PW:-pw.x}
$LAUNCH "$PW" -in relax.in > relax.out
"""

WRITERS: Mapping[str, Callable[[Structure, Path, str], list[Path]]] = {
    "cif": write_cif_files,
    "vasp": write_vasp_files,
    "qe": write_espresso_files,
}
