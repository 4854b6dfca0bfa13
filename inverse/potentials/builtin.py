"""The potentials that this program knows by name; their packages are imported when one is made."""

from inverse.candidates.registry import POTENTIALS
from inverse.potentials.batches import chgnet_batch, diep_batch, sevenn_batch
from inverse.potentials.loading import Potential, needs, symbols_of
from inverse.potentials.traits import Traits, examined, traits_of


@POTENTIALS.register("chgnet")
@needs("chgnet")
def chgnet(device: str) -> Potential:
    """Return CHGNet.

    References:
        Deng et al., Nat. Mach. Intell. 5, 1031 (2023), doi:10.1038/s42256-023-00716-3
    """
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    model = CHGNet.load(use_device=device, verbose=False)
    calculator = CHGNetCalculator(model, use_device=device)
    return Potential("chgnet", calculator, symbols_of(range(1, 95)), chgnet_batch(calculator), device)


@POTENTIALS.register("diep")
@needs("diep")
@examined(Traits(has_kink=True, has_formation_energies=False, functional="r2SCAN"))
def diep(device: str) -> Potential:
    """Return DIEP; its energy has a kink at ideal crystals, its formation energies are 0.13 eV/atom off.

    Both as examined in experiments/log.
    """
    from diep.pretrained import make_calculator

    calculator = make_calculator(device=device)
    elements = frozenset(calculator.potential.model.element_types)
    batch = diep_batch(calculator)
    return Potential("diep", calculator, elements, batch, device, is_kinked=traits_of("diep").has_kink)


@POTENTIALS.register("7net-0")
@needs("sevenn", extra="sevenn")
def sevennet_0(device: str) -> Potential:
    """Return SevenNet-0."""
    return _sevennet("7net-0", device)


@POTENTIALS.register("7net-l3i5")
@needs("sevenn", extra="sevenn")
def sevennet_l3i5(device: str) -> Potential:
    """Return SevenNet-l3i5.

    References:
        Park et al., J. Chem. Theory Comput. 20, 4857 (2024), doi:10.1021/acs.jctc.4c00190
    """
    return _sevennet("7net-l3i5", device)


@POTENTIALS.register("7net-mf-0-pbe")
@needs("sevenn", extra="sevenn")
@examined(Traits(has_formation_energies=False))
def sevennet_mf_pbe(device: str) -> Potential:
    """Return SevenNet-MF-0, as it learned from PBE.

    Energies of several functionals from one network; no scale of formation energies was fitted for it.

    References:
        Kim et al., J. Am. Chem. Soc. 147, 1042 (2025), doi:10.1021/jacs.4c14455
    """
    return _sevennet("7net-mf-0-pbe", device, "7net-mf-0", "PBE")


@POTENTIALS.register("7net-mf-0-r2scan")
@needs("sevenn", extra="sevenn")
@examined(Traits(has_formation_energies=False, functional="r2SCAN"))
def sevennet_mf_r2scan(device: str) -> Potential:
    """Return SevenNet-MF-0, as it learned from r2SCAN; see `sevennet_mf_pbe`."""
    return _sevennet("7net-mf-0-r2scan", device, "7net-mf-0", "R2SCAN")


def _sevennet(name: str, device: str, checkpoint: str = "", modal: str | None = None) -> Potential:
    from sevenn.calculator import SevenNetCalculator

    calculator = SevenNetCalculator(checkpoint or name, device=device, modal=modal)
    return Potential(name, calculator, symbols_of(calculator.type_map), sevenn_batch(calculator), device)
