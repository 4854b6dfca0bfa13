"""Inputs for the next step: CIF, VASP (Materials Project sets), Quantum ESPRESSO; and a job script.

What the reference energies were made with is matched: PBE, spin-polarised, the Materials Project's +U and
k-point density. VASP's POTCAR files are licensed, so only their names are written (POTCAR.spec).
"""

import csv
import json
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from inverse.campaign.candidate_table import best_structure, is_ranked, space_group
from inverse.campaign.run import Run, read_run
from inverse.candidates.types import Candidate, Status
from inverse.decoders.cif_writer import symmetrised_cif
from inverse.report.chemiscope_input import write_chemiscope
from inverse.report.espresso_input import espresso_input, pseudopotential, symbols_of
from inverse.report.export_manuals import MANUALS, TIGHT_EDIFF, TIGHT_EDIFFG
from inverse.report.job_scripts import (
    ESPRESSO_COMMANDS,
    checked_name,
    vasp_commands,
    write_job,
    write_submission,
)
from surrogates.crystals.formulas import plain_formula
from surrogates.errors import ConfigError, RunFolderError, nearest

PSEUDO = "pseudo"
"""Link to the pseudopotentials that a job script of Quantum ESPRESSO makes."""

CANDIDATE_ID = re.compile(r"c[0-9]{1,12}")

FALLBACK_COUNT = 10
"""Best verified candidates that are exported when a run has no hits and no shortlist is given."""

ACCURATE_INCAR: Mapping[str, Any] = {
    "ENCUT": 700,
    "EDIFF": TIGHT_EDIFF,
    "EDIFFG": TIGHT_EDIFFG,
    "LREAL": False,
    "LCHARG": False,
    "PREC": "Accurate",
    "ISMEAR": 0,
    "SIGMA": 0.05,
}
"""Of both steps that the elastic tensor rests on."""

TIGHT_INCAR: Mapping[str, Any] = {**ACCURATE_INCAR, "IBRION": 2, "ISIF": 3, "NSW": 99}
"""Relaxation in front of the elastic step: forces below 2 meV/Å at the elastic step's own cut-off."""

ELASTIC_INCAR: Mapping[str, Any] = {
    **ACCURATE_INCAR,
    "IBRION": 6,
    "ISIF": 3,
    "NFREE": 2,
    "POTIM": 0.015,
    "NSW": 1,
}
"""Finite-difference elastic tensor (ions relaxed by internal strain), set beside the static run."""


def export(
    run_folder: str | Path,
    format: str = "cif",
    shortlist: str | Path | None = None,
    output: str | Path | None = None,
) -> list[Path]:
    """Write inputs of every exported candidate to output/<id>_<formula>/ and return the written files.

    VASP and Quantum ESPRESSO inputs have a job script in each folder, one of all candidates and a README.txt;
    chemiscope has one file of all candidates.

    Args:
        run_folder: of the run.
        format: vasp, qe, cif or chemiscope.
        shortlist: file with candidate ids (as the report exports it, one a line, or a CSV with an `id`
            column); without it the hits, and the best verified candidates where there are none.
        output: folder; <run folder>/export_<format> without it.

    Raises:
        ConfigError: an unknown format, or a shortlist that names no candidate of this run.
        MissingExtraError: the format needs a package that is not installed.
        RunFolderError: no run there, nothing to export, an id that is none, or the folder cannot be written
            or holds links.
    """
    if format not in FORMATS:
        raise ConfigError(f"--format {format!r} is not known; {nearest(format, FORMATS)}")
    run = read_run(run_folder)
    candidates = choose(run, shortlist)
    chosen = {folder_name(candidate): best_structure(candidate) for candidate in candidates}
    folder = Path(output) if output is not None else Path(run_folder) / f"export_{format}"
    written: list[Path] = []
    _refuse_links(folder)
    try:
        if format == CHEMISCOPE:
            folder.mkdir(parents=True, exist_ok=True)
            return [write_chemiscope(run, candidates, folder / "chemiscope.json.gz")]
        for name, structure in chosen.items():
            place = folder if format == "cif" else folder / name
            place.mkdir(parents=True, exist_ok=True)
            written += WRITERS[format](structure, place, name)
        if format in MANUALS:
            manual = folder / "README.txt"
            manual.write_text(MANUALS[format](run.folder, list(chosen.values())), encoding="utf-8")
            written += [manual, write_submission(folder, list(chosen), format)]
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return written


def folder_name(candidate: Candidate) -> str:
    """Return <id>_<formula>, letters, digits and one underscore.

    Raises:
        RunFolderError: an id that no run of this program gives.
    """
    if not CANDIDATE_ID.fullmatch(candidate.id):
        raise RunFolderError(f"candidate {candidate.id!r}: an id is c and digits; the run folder is damaged")
    return f"{candidate.id}_{plain_formula(best_structure(candidate).composition)}"


def _refuse_links(folder: Path) -> None:
    """Raise RunFolderError where something in the way is a link: what is written could land anywhere."""
    for path in (folder, *(sorted(folder.glob("**/*")) if folder.is_dir() else ())):
        if path.is_symlink() and path.name != PSEUDO:
            raise RunFolderError(f"{path}: is a link; export to another folder, or remove it")


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
    """Return the ids of a shortlist: JSON of the report, a CSV with an `id` column, or one id a line.

    Raises:
        ConfigError: the file cannot be read or names nothing.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--shortlist {path}: cannot be read ({error})") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if text.lstrip().startswith("{"):
        found = _exported(text, path)
    elif lines and "id" in next(csv.reader(lines[:1])):
        found = [row["id"] for row in csv.DictReader(lines) if row.get("id")]
    else:
        found = [line.split("#")[0].split(",")[0].strip() for line in lines]
    names = list(dict.fromkeys(name for name in found if name))
    if not names:
        raise ConfigError(f"--shortlist {path}: names no candidate; write one id a line")
    return names


def _exported(text: str, path: Path) -> list[str]:
    """Return the ids of a shortlist that the report exported; comments are for people.

    Raises:
        ConfigError: not what the report writes.
    """
    try:
        listed = json.loads(text)["candidates"]
        return [str(one["id"]) for one in listed]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"--shortlist {path}: is no shortlist as the report exports it ({error})") from None


def write_cif_files(structure: Structure, folder: Path, name: str) -> list[Path]:
    """Write folder/<name>.cif: conventional cell, space group, ten digits."""
    path = folder / f"{name}.cif"
    path.write_text(symmetrised_cif(structure), encoding="utf-8")
    return [path]


def write_vasp_files(structure: Structure, folder: Path, name: str) -> list[Path]:
    """Write four VASP steps with POTCAR.spec, and a job script that joins them.

    `relax` and `static` are MPRelaxSet and MPStaticSet: PBE, ISPIN 2 with the sets' moments, +U on the oxides
    and fluorides of V, Cr, Mn, Fe, Co, Ni, Mo and W. `tight` relaxes again with the cut-off of `elastic`
    (IBRION 6), whose differences of forces a residual stress would spoil.
    """
    from pymatgen.io.vasp.sets import BadInputSetWarning, MPRelaxSet, MPStaticSet

    checked_name(name)
    sorted_structure = structure.get_sorted_structure()
    steps = {
        "relax": MPRelaxSet(sorted_structure, force_gamma=_needs_gamma(structure)),
        "static": MPStaticSet(sorted_structure, force_gamma=_needs_gamma(structure)),
        **{
            step: MPStaticSet(
                sorted_structure,
                force_gamma=_needs_gamma(structure),
                user_incar_settings=dict(settings),
                reciprocal_density=200,
            )
            for step, settings in (("tight", TIGHT_INCAR), ("elastic", ELASTIC_INCAR))
        },
    }
    written = []
    for step, inputs in steps.items():
        place = folder / step
        with warnings.catch_warnings():
            # the reference energies of metals were made with this very smearing, which pymatgen warns of
            warnings.simplefilter("ignore", BadInputSetWarning)
            inputs.write_input(str(place), potcar_spec=True, make_dir_if_not_present=True)
        written += [place / file for file in ("INCAR", "KPOINTS", "POSCAR", "POTCAR.spec")]
    commands = vasp_commands(list(steps))
    return [*written, *write_job(folder, name, commands)]


def write_espresso_files(structure: Structure, folder: Path, name: str) -> list[Path]:
    """Write pw.x inputs (vc-relax, scf), spin-polarised, +U, SSSP pseudopotentials, and a job script.

    The script starts the static run from the cell that the relaxation ended with.

    Raises:
        UnsupportedElementError: an element without a pseudopotential in the carried table.
    """
    checked_name(name)
    written = []
    for step, calculation in (("relax", "vc-relax"), ("static", "scf")):
        path = folder / f"{step}.in"
        path.write_text(espresso_input(structure, calculation, name), encoding="utf-8")
        written.append(path)
    names = "\n".join(sorted({pseudopotential(symbol).file for symbol in symbols_of(structure)}))
    needed = folder / "pseudopotentials.txt"
    needed.write_text(names + "\n", encoding="utf-8")
    return [*written, needed, *write_job(folder, name, ESPRESSO_COMMANDS)]


def _needs_gamma(structure: Structure) -> bool:
    """Return whether only Γ-centred meshes keep the symmetry (hexagonal, centred lattices)."""
    group = space_group(structure)
    return group is None or group[0][0] in "FIR" or 143 <= group[1] <= 194


WRITERS: Mapping[str, Callable[[Structure, Path, str], list[Path]]] = {
    "cif": write_cif_files,
    "vasp": write_vasp_files,
    "qe": write_espresso_files,
}
"""Format -> what writes one candidate into a folder."""

CHEMISCOPE = "chemiscope"
FORMATS = (*WRITERS, CHEMISCOPE)
