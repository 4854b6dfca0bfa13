"""Inputs for the next step: CIF, VASP (Materials Project sets), Quantum ESPRESSO; and a job script.

What the reference energies were made with is matched: PBE, spin-polarised, the Materials Project's +U and
k-point density. VASP's POTCAR files are licensed, so only their names are written (POTCAR.spec).
"""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from inverse.cif import cif_text
from inverse.espresso_input import espresso_input, pseudopotential, symbols_of
from inverse.report.run import Run, read_run
from inverse.report.table import best_structure, is_ranked, space_group
from inverse.types import Candidate, Status
from surrogates.errors import ConfigError, RunFolderError, nearest
from surrogates.formulas import plain_formula

FALLBACK_COUNT = 10
"""Best verified candidates that are exported when a run has no hits and no shortlist is given."""

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
            name = f"{candidate.id}_{plain_formula(structure.composition)}"
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
    path = folder / f"{name}.cif"
    path.write_text(cif_text(structure), encoding="utf-8")
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

    The script starts the static run from the cell that the relaxation ended with.

    Raises:
        UnsupportedElementError: an element without a pseudopotential in the carried table.
    """
    written = []
    for step, calculation in (("relax", "vc-relax"), ("static", "scf")):
        path = folder / f"{step}.in"
        path.write_text(espresso_input(structure, calculation, name), encoding="utf-8")
        written.append(path)
    names = "\n".join(sorted({pseudopotential(symbol).file for symbol in symbols_of(structure)}))
    needed = folder / "pseudopotentials.txt"
    needed.write_text(names + "\n", encoding="utf-8")
    return [*written, needed, _write_job(folder, name, _ESPRESSO_COMMANDS)]


def _needs_gamma(structure: Structure) -> bool:
    """Return whether only Γ-centred meshes keep the symmetry (hexagonal, centred lattices)."""
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
PW=${PW:-pw.x}
$LAUNCH "$PW" -in relax.in > relax.out
# static.in holds the candidate's cell; cell and positions that relax.out ends with take their place
sed -n '/^Begin final coordinates/,/^End final coordinates/p' relax.out |
  sed -n '/^CELL_PARAMETERS/,/^End final coordinates/p' | sed '/^End final coordinates/d' > relaxed.cell
if [ ! -s relaxed.cell ]; then echo "relax.out has no final coordinates: not converged" >&2; exit 1; fi
awk '/^ATOMIC_POSITIONS/ {inside = 1; next} inside && NF < 4 {inside = 0}
  /^CELL_PARAMETERS/ {left = 4} left > 0 {left--; next} !inside {print}' static.in > static-relaxed.in
{ echo; cat relaxed.cell; } >> static-relaxed.in
$LAUNCH "$PW" -in static-relaxed.in > static.out
"""

WRITERS: Mapping[str, Callable[[Structure, Path, str], list[Path]]] = {
    "cif": write_cif_files,
    "vasp": write_vasp_files,
    "qe": write_espresso_files,
}
