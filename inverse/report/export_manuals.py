"""README.txt of exported inputs: how to run them, and what their energies may be compared with."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pymatgen.core import Structure

from inverse.report.espresso_input import hubbard_card, symbols_of
from inverse.report.job_scripts import SUBMIT, replaced_potcars
from surrogates.crystals.formulas import display_formula

LOGGER = logging.getLogger("inverse.export")

TIGHT_EDIFF, TIGHT_EDIFFG = 1e-7, -0.002
"""eV and eV/Å of the steps that an elastic tensor rests on."""

HUBBARD_WARNING = (
    "{formulas}: the HUBBARD card has the Materials Project's U, but on pw.x's orbitals (ortho-atomic), not "
    "VASP's: energies of such compounds are not comparable with the Materials Project's or VASP's."
)

_VASP_MANUAL = """Inputs for VASP, {n} candidates, written by `inverse export` of {run}.

Run     POTCARS=/path/to/potpaw_PBE bash {submit}    one array job; without Slurm, one after another
        sbatch CANDIDATE/job.sh                      one of them, from any folder
Steps   relax, static: the Materials Project's sets (MPRelaxSet, MPStaticSet), so that energies stand on its
        scale; tight: relaxed again at the cut-off of the next step, EDIFF {ediff:g}, EDIFFG {ediffg:g};
        elastic: IBRION 6 at that cell.
POTCAR  POTCAR.spec names the files, which are licensed and not written. The names are those of the PBE
        release of 2010 (potpaw_PBE), which .52 has too; {replaced}.
        job.sh looks for all of them before it starts.
"""

_ESPRESSO_MANUAL = """Inputs for Quantum ESPRESSO, {n} candidates, written by `inverse export` of {run}.

Run     PSEUDO=/path/to/SSSP_1.3.0_PBE_efficiency bash {submit}    one array job, or one after another
        sbatch CANDIDATE/job.sh                                    one of them, from any folder
Steps   relax (vc-relax), then static from the cell that it ended with.
Scale   PBE with SSSP pseudopotentials: energies are not on the Materials Project's scale, which is VASP's.
        Compare them with phases computed the same way.
+U      {hubbard}
"""


def _vasp_manual(folder: Path, structures: Sequence[Structure]) -> str:
    return _VASP_MANUAL.format(
        n=len(structures),
        run=folder,
        submit=SUBMIT,
        ediff=TIGHT_EDIFF,
        ediffg=TIGHT_EDIFFG,
        replaced=replaced_potcars(),
    )


def _espresso_manual(folder: Path, structures: Sequence[Structure]) -> str:
    """Return the manual; what it says about +U is also logged where it matters."""
    cards = {display_formula(s.composition): hubbard_card(symbols_of(s)).split("\n") for s in structures}
    with_u = [formula for formula, card in cards.items() if len(card) > 1]
    hubbard = "No candidate needs it." if not with_u else HUBBARD_WARNING.format(formulas=", ".join(with_u))
    if with_u:
        LOGGER.warning("%s", hubbard)
    return _ESPRESSO_MANUAL.format(n=len(structures), run=folder, submit=SUBMIT, hubbard=hubbard)


MANUALS: Mapping[str, Callable[[Path, Sequence[Structure]], str]] = {
    "vasp": _vasp_manual,
    "qe": _espresso_manual,
}
"""Format -> what the README.txt of an export says: (run folder, structures)."""
