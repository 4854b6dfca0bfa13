"""What training is asked for: the keys of the YAML files, checked before any work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le

from surrogates.datasets.crystal_values import TargetConfig
from surrogates.errors import ConfigError
from surrogates.models.invariant import InvariantConfig
from surrogates.physics.properties import property_named
from surrogates.settings import Count, NotNegative, Positive, Whole, checked, settings_of
from surrogates.training.fitting import FitConfig

EpochProgress = Callable[[str, dict[str, float]], None]

N_FOLDS = 5
"""Of formulas, each left out by one member of the shipped recipes."""

N_ENERGY_FOLDS = 10
"""Of formulas, as many of which are left out by one energy member each."""


@dataclass(frozen=True)
class EnergyConfig:
    """How the formation-energy members are trained.

    Attributes:
        n_members: each leaves another tenth of the formulas out.
        max_atoms: larger cells are not trained on.
        reference: learn from the energies of the project's own reference set as well.
        copies: of each crystal, deformed: (lowest, highest linear strain, largest displacement in Å).
        network: keys of InvariantConfig.
        fit: keys of FitConfig.
    """

    n_members: Annotated[int, Ge(1), Le(N_ENERGY_FOLDS)] = 2
    max_atoms: Count = 24
    reference: bool = False
    copies: tuple[tuple[float, float, float], ...] = ((-0.05, 0.06, 0.15), (-0.15, 0.15, 0.1))
    network: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingConfig:
    """What `train` does; the YAML of experiments/surrogates has these keys.

    Attributes:
        name: of the surrogate.
        work: folder of graphs and fit states (resumed from).
        output: folder of the weights.
        target: keys of TargetConfig, the property that is learned; without it K and G of the elasticity set,
            by the rules of `surrogates.datasets.elasticity`.
        n_folds: of formulas; each member leaves one out.
        n_members: of as many folds as there are by default.
        n_disturbed: disturbed copies of every crystal.
        strain: of a copy.
        displacement: Å, of a copy.
        good_eos_weight: of good equation-of-state rows in the loss.
        rough_eos_weight: of rough ones.
        stiff_weight: of stiff rows in the loss.
        unsure: weigh rows by how surely structure and moduli were joined.
        reference_weight: of the rows of the reference set, on the scale of its potential; 0 leaves them out.
        groups: ascending predicted values (log10 where positive) that part groups of crystals; error bars are
            fitted in each group apart.
        distance_power: error bars grow with this power of the distance from a member's training rows before
            they are fitted; see InvariantConfig. What a member learns does not depend on it.
        network: keys of InvariantConfig.
        fit: keys of FitConfig.
        energy: keys of EnergyConfig; see `surrogates.training.energy`.
        pretraining: keys of FitConfig of a fit to the project's own reference set, whose weights each member
            starts from; the formulas that a member leaves out are left out there as well.
    """

    name: str = "structure"
    work: str = ".work/surrogates"
    output: str = "surrogates/weights/structure"
    target: Mapping[str, Any] = field(default_factory=dict)
    n_folds: Annotated[int, Ge(2)] = N_FOLDS
    n_members: Whole = 0
    n_disturbed: Whole = 1
    strain: NotNegative = 0.015
    displacement: NotNegative = 0.06
    good_eos_weight: NotNegative = 0.5
    rough_eos_weight: NotNegative = 0.05
    stiff_weight: Positive = 1.0
    unsure: bool = False
    reference_weight: NotNegative = 0.0
    groups: tuple[float, ...] = ()
    distance_power: NotNegative = 0.0
    network: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    energy: Mapping[str, Any] = field(default_factory=dict)
    pretraining: Mapping[str, Any] = field(default_factory=dict)

    @property
    def members(self) -> int:
        """How many members are fitted."""
        return min(self.n_members or self.n_folds, self.n_folds)

    @property
    def learned(self) -> TargetConfig | None:
        """The one property that is learned; None for K and G."""
        return TargetConfig(**self.target) if self.target else None

    @classmethod
    def from_yaml(cls, path: str | Path) -> "TrainingConfig":
        """Return the config in a file.

        Raises:
            ConfigError: unreadable, or an unknown key.
        """
        import yaml

        try:
            raw = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
            raw.pop("kind", None)
        except (OSError, AttributeError, yaml.YAMLError) as error:
            raise ConfigError(f"training config {path}: {error}") from None
        return cls.from_mapping(raw, f"training config {path}")

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], where: str = "structure training") -> "TrainingConfig":
        """Return the config of some settings, those of its parts checked as well.

        Raises:
            ConfigError: an unknown name or a value of the wrong type; names the place in `where`.
        """
        config = settings_of(cls, raw, where)
        target = checked(TargetConfig, config.target, f"{where}: target") if config.target else {}
        if target and (config.energy or config.pretraining):
            raise ConfigError(f"{where}: target: energy and pretraining go with K and G, not with a target")
        if "distance_power" in config.network:
            raise ConfigError(f"{where}: network.distance_power: no key of the network; it stands beside it")
        if list(config.groups) != sorted(set(config.groups)):
            raise ConfigError(f"{where}: groups: {list(config.groups)} are not ascending")
        if target:
            property_named(target["property"], f"{where}: target.property")
        energy = checked(EnergyConfig, config.energy, f"{where}: energy")
        for part, kind in (("network", InvariantConfig), ("fit", FitConfig)):
            if part in energy:
                energy[part] = checked(kind, energy[part], f"{where}: energy.{part}")
        return replace(
            config,
            target=target,
            network=checked(InvariantConfig, config.network, f"{where}: network"),
            fit=checked(FitConfig, config.fit, f"{where}: fit"),
            pretraining=checked(FitConfig, config.pretraining, f"{where}: pretraining"),
            energy=energy,
        )
