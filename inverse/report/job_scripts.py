"""Batch scripts beside exported inputs: they run from wherever they lie, alone or as one array job."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from surrogates.errors import ConfigError

MARK = "candidate.txt"
"""File in a candidate's folder that holds the folder's name: how a script knows its own inputs."""

SUBMIT = "submit_all.sh"
"""Script of all exported candidates."""

REPLACED_POTCARS: Mapping[str, str] = {"W_pv": "W_sv"}
"""POTCARs of the Materials Project's sets that VASP's PBE releases .54 and .64 do not have, and what does."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")


def write_job(folder: Path, name: str, commands: str) -> list[Path]:
    """Write job.sh, which finds its folder and runs the commands there, and the file it knows it by.

    Args:
        folder: of one candidate's inputs.
        name: letters, digits, `_` and `-`: it stands in a shell script.
        commands: bash, run in the folder.

    Raises:
        ConfigError: a name or a folder that cannot stand in a script.
    """
    mark = folder / MARK
    mark.write_text(f"{checked_name(name)}\n", encoding="utf-8")
    script = _JOB.format(name=name, written=_quoted(folder), mark=MARK, commands=commands)
    return [mark, _write_script(folder / "job.sh", script)]


def write_submission(folder: Path, names: Sequence[str], kind: str) -> Path:
    """Write submit_all.sh: one array job of every candidate, or all of them in turn where there is no Slurm.

    Args:
        folder: that holds the candidates' folders.
        names: of these.
        kind: vasp or qe, for the name of the job.

    Raises:
        ConfigError: a name or a folder that cannot stand in a script.
    """
    listed = "\n".join(f"  {checked_name(name)}" for name in names)
    script = _SUBMIT.format(
        kind=kind, last=len(names) - 1, written=_quoted(folder), mark=MARK, submit=SUBMIT, names=listed
    )
    return _write_script(folder / SUBMIT, script)


def vasp_commands(steps: Sequence[str]) -> str:
    """Return the commands of VASP steps; `relax` and `tight` hand their last cell on."""
    return _VASP_COMMANDS.format(steps=" ".join(steps), replaced=replaced_potcars())


def replaced_potcars() -> str:
    """Return which POTCARs later releases do not have, in words."""
    return ", ".join(f".54 and later have {new} in place of {old}" for old, new in REPLACED_POTCARS.items())


def checked_name(name: str) -> str:
    """Return a name that means nothing to a shell.

    Raises:
        ConfigError: one with other characters than letters, digits, `_` and `-`.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r}: a name in a job script holds letters, digits, _ and - only")
    return name


def _quoted(folder: Path) -> str:
    path = str(folder.resolve())
    if not path.isprintable():
        raise ConfigError(f"{path!r}: a folder with such characters in its path cannot stand in a job script")
    return shlex.quote(path)


def _write_script(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


_RESOURCES = """#SBATCH --nodes=1
#SBATCH --ntasks-per-node=32
#SBATCH --time=12:00:00"""

_FIND = """# A batch system runs a copy of this script from a folder of its own. So the inputs are looked for
# beside the script, where they were written, and where the job was submitted."""

_JOB = (
    """#!/bin/bash
# Set account, partition, module and launcher to what your machine asks for.
#SBATCH --job-name={name}
"""
    + _RESOURCES
    + """
#SBATCH --output={name}-%j.log
set -euo pipefail
unset CDPATH  # or cd looks elsewhere first
"""
    + _FIND
    + """
name={name}
submitted=${{SLURM_SUBMIT_DIR:-${{PBS_O_WORKDIR:-$PWD}}}}
here=
for place in "$(dirname -- "${{BASH_SOURCE[0]}}")" {written} "$submitted" "$submitted/$name"; do
  if [ "$(cat -- "$place/{mark}" 2>/dev/null)" = "$name" ]; then here=$place; break; fi
done
if [ -z "$here" ]; then
  echo "$name: no inputs in" {written} "or $submitted; submit from the folder that holds them" >&2
  exit 1
fi
cd -- "$here"
if [ -z "${{LAUNCH+set}}" ]; then LAUNCH=; if [ -n "${{SLURM_JOB_ID:-}}" ]; then LAUNCH=srun; fi; fi
{commands}"""
)

_SUBMIT = (
    """#!/bin/bash
# `bash {submit}` or `sbatch {submit}`: one array job of all candidates; without Slurm, one after another.
#SBATCH --job-name=inverse-{kind}
#SBATCH --array=0-{last}
"""
    + _RESOURCES
    + """
#SBATCH --output=inverse-{kind}-%A_%a.log
set -euo pipefail
unset CDPATH  # or cd looks elsewhere first
names=(
{names}
)
"""
    + _FIND
    + """
submitted=${{SLURM_SUBMIT_DIR:-${{PBS_O_WORKDIR:-$PWD}}}}
root=
for place in "$(dirname -- "${{BASH_SOURCE[0]}}")" {written} "$submitted"; do
  if [ "$(cat -- "$place/${{names[0]}}/{mark}" 2>/dev/null)" = "${{names[0]}}" ]; then root=$place; break; fi
done
if [ -z "$root" ]; then
  echo "no inputs in" {written} "or $submitted; submit from the folder that holds them" >&2
  exit 1
fi
root=$(cd -- "$root" && pwd)
task=${{SLURM_ARRAY_TASK_ID:-${{PBS_ARRAY_INDEX:-}}}}
if [ -n "$task" ]; then exec bash -- "$root/${{names[$task]}}/job.sh"; fi
if [ -z "${{SLURM_JOB_ID:-}}" ] && command -v sbatch > /dev/null; then exec sbatch -- "$root/{submit}"; fi
failed=0
for name in "${{names[@]}}"; do
  bash -- "$root/$name/job.sh" || {{ echo "$name failed" >&2; failed=1; }}
done
exit "$failed"
"""
)

_VASP_COMMANDS = """# module load vasp
# POTCAR files are licensed: POTCAR.spec names them, one a line; POTCARS is the folder that holds them.
# The names are those of VASP's PBE release of 2010 (potpaw_PBE), which .52 has too: {replaced}.
VASP=${{VASP:-vasp_std}}
: "${{POTCARS:?set POTCARS to the folder of the PBE POTCAR files}}"
case $POTCARS in /*) ;; *) POTCARS=$submitted/$POTCARS ;; esac
missing=
for symbol in $(sort -u relax/POTCAR.spec); do
  if [ ! -f "$POTCARS/$symbol/POTCAR" ]; then missing="$missing $symbol"; fi
done
if [ -n "$missing" ]; then
  echo "no POTCAR in $POTCARS of:$missing. The names belong to the PBE release of 2010 or .52; {replaced}:" \
    "take that release, or name what replaces it in each POTCAR.spec (energies are then not on the" \
    "Materials Project's scale)" >&2
  exit 1
fi
start=
for step in {steps}; do
  : > "$step/POTCAR"
  while read -r symbol || [ -n "$symbol" ]; do
    cat -- "$POTCARS/$symbol/POTCAR" >> "$step/POTCAR"
  done < "$step/POTCAR.spec"
  if [ -n "$start" ]; then cp -- "$start/CONTCAR" "$step/POSCAR"; fi
  (cd -- "$step" && $LAUNCH "$VASP" > vasp.out)
  case $step in relax | tight) start=$step ;; esac
done
"""

ESPRESSO_COMMANDS = """# module load quantum-espresso
# The files named in pseudopotentials.txt (SSSP 1.3.0 PBE efficiency) belong into ./pseudo, or into the folder
# PSEUDO, of which ./pseudo then becomes a link.
PW=${PW:-pw.x}
if [ -n "${PSEUDO:-}" ]; then
  case $PSEUDO in /*) ;; *) PSEUDO=$submitted/$PSEUDO ;; esac
  while read -r file; do
    if [ ! -f "$PSEUDO/$file" ]; then echo "no $file in $PSEUDO" >&2; exit 1; fi
  done < pseudopotentials.txt
  if [ ! -e pseudo ]; then ln -s -- "$PSEUDO" pseudo; fi
fi
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
"""Commands of Quantum ESPRESSO."""
