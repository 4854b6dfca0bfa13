"""Every form of target and constraint, the round trip, the schema, and what is refused with which words."""

# ruff: noqa: E501

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from inverse.inputs.campaign_config import CampaignConfig, config_schema, load_config, packaged_configs
from inverse.inputs.yaml_reading import parse_seconds, parse_yaml
from surrogates.errors import ConfigError

K = "targets: {bulk_modulus_vrh: {min: 300}}\n"


def read(text: str) -> CampaignConfig:
    return CampaignConfig.from_mapping(parse_yaml(text, "my.yaml"), "my.yaml")


def constrained(rules: str) -> CampaignConfig:
    return read(f"{K}constraints: {{{rules}}}\n")


@pytest.mark.parametrize("name", packaged_configs())
def test_packaged_configs_load_and_come_back_from_yaml(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    path = tmp_path / "again.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(path) == config
    assert load_config(path).targets == config.targets


def test_superhard_quick_is_what_was_promised() -> None:
    config = load_config("superhard-quick")
    bounds = {t.property.name: (t.lower, t.upper) for t in config.targets}
    assert bounds["bulk_modulus_vrh"][0] == 300
    assert bounds["shear_modulus_vrh"][0] == 150
    assert bounds["energy_above_hull"][1] == 0.1
    allowed = config.constraints.allowed_elements()
    assert not allowed & {"Os", "Re", "Ir", "Tc", "U", "Po", "Pm"}
    assert {"W", "B", "C", "N"} <= allowed
    assert config.constraints.n_atoms[1] == 8
    assert config.constraints.novelty == "any"
    assert not config.verify.reuse
    assert config.budget.seconds == 17 * 60
    assert (config.budget.verifications or 10**9) >= 40


def test_every_form_of_target() -> None:
    config = read(
        "targets:\n"
        "  bulk_modulus_vrh: {min: 95, max: 105}\n"
        "  shear_modulus_vrh: {min: 50}\n"
        "  energy_above_hull: {max: 1e-1}\n"
        "  volume_per_atom: {near: 12, tolerance: 1.5, weight: 2}\n"
        "  density: {minimise: true, weight: 0.2}\n"
        "  vickers_hardness_chen: {maximise: true}\n"
    )
    by_name = {t.property.name: t for t in config.targets}
    assert (by_name["bulk_modulus_vrh"].lower, by_name["bulk_modulus_vrh"].upper) == (95, 105)
    assert by_name["shear_modulus_vrh"].upper == float("inf")
    assert by_name["energy_above_hull"].upper == 0.1
    assert (by_name["volume_per_atom"].lower, by_name["volume_per_atom"].upper) == (10.5, 13.5)
    assert by_name["volume_per_atom"].weight == 2
    assert not by_name["density"].is_hard
    assert by_name["density"].minimise
    assert by_name["vickers_hardness_chen"].maximise


def test_everything_but_targets_has_a_default() -> None:
    config = read(K)
    assert config.budget.verifications == 60
    assert config.budget.seconds is None
    assert config.search.method == "hybrid"
    assert config.verify.reuse
    assert config.constraints.novelty == "any"


def test_a_time_budget_alone_sets_no_count() -> None:
    budget = read(f"{K}budget: {{time: 8h}}\n").budget
    assert (budget.verifications, budget.seconds) == (None, 8 * 3600)


def test_every_form_of_constraint() -> None:
    config = constrained(
        "elements: {include_any: [B, C, N], include_all: [W], exclude: [Os], exclude_groups: [noble_gas]},"
        " chemical_systems: [W-B-C, N-W], subsystems: true, n_elements: [2, 3], n_atoms: {max: 16},"
        " novelty: new_structure, derivatives: false"
    )
    rules = config.constraints
    assert rules.chemical_systems == ("B-C-W", "N-W")
    assert rules.allowed_elements() == {"B", "C", "N", "W"}
    assert rules.n_elements == (2, 3)
    assert rules.n_atoms == (1, 16)
    assert not rules.derivatives
    assert constrained("n_elements: 3").constraints.n_elements == (3, 3)
    assert constrained("n_atoms: {min: 4}").constraints.n_atoms[0] == 4


def test_yaml_does_not_turn_nobelium_into_false() -> None:
    assert constrained("elements: {exclude: [No, Y, N]}").constraints.elements.exclude == ("No", "Y", "N")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tagets: {}\n", r"my\.yaml: tagets: unknown key 'tagets'; did you mean 'targets'\?"),
        ("name: x\n", r"targets: missing"),
        ("targets: {}\n", r"targets: is empty; give at least 1 entry$"),
        ("targets:\n", r"targets: is empty \(null\); give a mapping"),
        ("targets: {bulk_modulus_vrh: }\n", r"targets\.bulk_modulus_vrh: is empty \(null\); give a mapping"),
        (f"{K}seed_structures:\n", r"seed_structures: is empty \(null\); give a list"),
        ("targets: {bulk_modulus_vrh: {max: 10}, shear_modulus_vrh: {min: 500}}\n", r"targets: K <= 10 and G >= 500 GPa: no crystal"),
        ("targets: {young_modulus_vrh: {min: 400}, shear_modulus_vrh: {max: 100}}\n", r"targets: E >= 400 GPa: .* 300 at most"),
        ("targets: {young_modulus_vrh: {max: 100}, bulk_modulus_vrh: {min: 300}, shear_modulus_vrh: {min: 150}}\n", r"targets: E <= 100"),
        ("targets: {pugh_ratio: {min: 1}, bulk_modulus_vrh: {min: 300}, shear_modulus_vrh: {max: 200}}\n", r"targets: G/K >= 1: .* 0\.667 at most"),
        ("targets: {pugh_ratio: {max: 0.2}, bulk_modulus_vrh: {max: 300}, shear_modulus_vrh: {min: 200}}\n", r"targets: G/K <= 0\.2"),
        ("targets: {bulk_modulus: {min: 3}}\n", r"unknown property 'bulk_modulus'; did you mean 'bulk_modulus_vrh'"),
        ("targets: {bulk_modulus_vrh: {mim: 3}}\n", r"bulk_modulus_vrh\.mim: unknown key 'mim'; did you mean 'min'"),
        ("targets: {bulk_modulus_vrh: {min: '3'}}\n", r"bulk_modulus_vrh\.min: '3' .*number, not text"),
        ("targets: {bulk_modulus_vrh: {min: true}}\n", r"bulk_modulus_vrh\.min"),
        ("targets: {bulk_modulus_vrh: {min: .nan}}\n", r"bulk_modulus_vrh\.min"),
        ("targets: {bulk_modulus_vrh: {min: 3000}}\n", r"min 3000 GPa is outside the physical range 0 to 1000 GPa"),
        ("targets: {energy_above_hull: {max: -3}}\n", r"max -3 eV/atom is outside the physical range"),
        ("targets: {bulk_modulus_vrh: {min: 300, max: 200}}\n", r"min 300 is not below max 200"),
        ("targets: {bulk_modulus_vrh: {}}\n", r"bulk_modulus_vrh: give exactly one of"),
        ("targets: {bulk_modulus_vrh: {min: 1, near: 2, tolerance: 1}}\n", r"give exactly one of"),
        ("targets: {bulk_modulus_vrh: {near: 2}}\n", r"near and tolerance go together"),
        ("targets: {bulk_modulus_vrh: {near: 2, tolerance: -1}}\n", r"tolerance: -1 should be greater than 0"),
        ("targets: {bulk_modulus_vrh: 300}\n", r"bulk_modulus_vrh: 300 .*mapping"),
        ("targets: [bulk_modulus_vrh]\n", r"targets: .*mapping"),
        (f"{K}budget: {{verifications: -3}}\n", r"budget\.verifications: -3 should be greater than 0"),
        (f"{K}budget: {{verifications: 2.5}}\n", r"budget\.verifications: 2\.5"),
        (f"{K}budget: {{time: soon}}\n", r"budget\.time: 'soon' is not a time"),
        (f"{K}budget: {{time: -5}}\n", r"budget\.time: .*-5"),
        (f"{K}search: {{method: hybird}}\n", r"search\.method: 'hybird' is not valid; did you mean 'hybrid'"),
        (f"{K}search: {{method: bayesain}}\n", r"search\.method: 'bayesain' is not valid; did you mean 'tpe'"),
        (f"{K}search: {{method: Evolution}}\n", r"'Evolution' is not valid; did you mean 'genetic'"),
        (f"{K}search: {{method: qqq}}\n", r"'qqq' is not valid; valid: decoder, genetic,"),
        (f"{K}verify: {{also: [foo]}}\n", r"verify\.also\S*: 'foo' is not a judge; none is installed; give module:factory"),
        ("verify: {also: ['a:b']}\ntargets: {wear: {max: 1}}\n", r"property 'wear'; .*a judge of verify\.also decides what has a record"),
        (f"{K}verify: {{potential: 7net}}\n", r"verify\.potential: '7net' is not a potential; did you mean '7net-0'"),
        (f"{K}verify: {{reuse: maybe}}\n", r"verify\.reuse: 'maybe'"),
        (f"{K}seed: -1\n", r"seed: -1"),
        (f"{K}device: gpu\n", r"device: 'gpu' is not valid; valid: auto, cpu, cuda"),
        (f"{K}name: ../../etc\n", r"name: '\.\./\.\./etc' is not valid"),
        (f"{K}constraints: {{novelty: new}}\n", r"constraints\.novelty: 'new'"),
        (f"{K}constraints: {{elements: {{exclude: [Xx]}}}}\n", r"constraints\.elements\.exclude: 'Xx' is not an element; did you mean 'Xe'"),
        (f"{K}constraints: {{elements: {{exclude: W}}}}\n", r"exclude: 'W' is text; give a list"),
        (f"{K}constraints: {{elements: {{exclude_groups: [radioactiv]}}}}\n", r"did you mean 'radioactive'"),
        (f"{K}constraints: {{chemical_systems: [W+B]}}\n", r"chemical_systems: 'W\+B' is not an element"),
        (f"{K}constraints: {{n_elements: [3, 2]}}\n", r"n_elements: \[3, 2\] is not a possible range"),
        (f"{K}constraints: {{n_atoms: {{maximum: 3}}}}\n", r"n_atoms: unknown key 'maximum'"),
        (f"{K}targets: {{density: {{max: 3}}}}\n", r"line 2, column 1: key 'targets' appears twice"),
        ("targets: [\n", r"my\.yaml: line 2"),
        ("a: &x 1\nb: *x\n", r"anchors and aliases"),
        ("", r"the config is empty"),
        ("- 3\n", r"the config is a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("elements: {only: [W, B], exclude: [W, B]}", "leave no element"),
        ("elements: {include_all: [U], exclude_groups: [radioactive]}", "include_all: U is excluded"),
        ("elements: {include_all: [W], only: [B, C]}", "include_all: W is excluded"),
        ("elements: {include_any: [Os, Ir], exclude: [Os, Ir]}", "include_any: none of Os, Ir is allowed"),
        ("elements: {only: [W, B]}, n_elements: [3, 4]", "n_elements: at least 3 asked for, but only 2"),
        ("elements: {include_all: [W, B, C]}, n_elements: [1, 2]", "include_all: 3 elements"),
        ("elements: {include_all: [W, B], include_any: [C]}, n_elements: 2", "include_any: no room"),
        ("elements: {exclude: [W]}, chemical_systems: [W-B]", "chemical_systems: B-W holds W"),
        ("n_elements: [3, 3], n_atoms: {max: 2}", "n_atoms: at most 2 atoms cannot hold 3 elements"),
        ("chemical_systems: [W-B-C], n_elements: [2, 2]", "chemical_systems: none of B-C-W agrees"),
        ("chemical_systems: [W-B], elements: {include_all: [C]}", "chemical_systems: none of B-W agrees"),
    ],
)
def test_impossible_constraint_sets_are_refused(rules: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        constrained(rules)


def test_subsystems_make_room() -> None:
    constrained("chemical_systems: [W-B-C], n_elements: [2, 2], subsystems: true")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'superhard-quick'"):
        load_config("superhard-quik")
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(broken)


def test_odd_but_possible_moduli_are_searched_for() -> None:
    """Auxetic crystals have G above K, soft metals next to none; only what no crystal has is refused."""
    for text in (
        "bulk_modulus_vrh: {max: 16}, shear_modulus_vrh: {min: 39}",
        "bulk_modulus_vrh: {min: 300}, shear_modulus_vrh: {max: 10}",
        "young_modulus_vrh: {min: 250}, shear_modulus_vrh: {max: 100}",
        "pugh_ratio: {min: 1}, bulk_modulus_vrh: {min: 300}",
        "bulk_modulus_vrh: {maximise: true}, shear_modulus_vrh: {min: 500}",
    ):
        assert len(read(f"targets: {{{text}}}\n").targets) == 2


def test_a_missing_seed_is_refused_in_a_mapping_as_in_a_file() -> None:
    wanted = {"targets": {"bulk_modulus_vrh": {"min": 300}}}
    with pytest.raises(ConfigError, match=r"seed_structures: 'gone\.cif': no such file"):
        CampaignConfig.from_mapping({**wanted, "seed_structures": ["gone.cif"]})


def test_seed_structures_start_at_the_config(tmp_path: Path) -> None:
    (tmp_path / "wc.cif").write_text(str(CifWriter(Structure(Lattice.cubic(3), ["W"], [[0, 0, 0]]))))
    path = tmp_path / "a.yaml"
    path.write_text(f"{K}seed_structures: [wc.cif]\n")
    assert load_config(path).seed_structures == (tmp_path / "wc.cif",)
    path.write_text(f"{K}seed_structures: [gone.cif]\n")
    with pytest.raises(ConfigError, match=r"seed_structures: '.*gone\.cif': no such file"):
        load_config(path)


def test_overrides_are_checked() -> None:
    config = read(K).with_overrides(verifications=5, seconds=60.0, seed=3, device="cpu")
    assert (config.budget.verifications, config.budget.seconds, config.seed) == (5, 60.0, 3)
    with pytest.raises(ConfigError, match=r"budget\.verifications: 0"):
        read(K).with_overrides(verifications=0)


def test_times() -> None:
    assert [parse_seconds(t) for t in ("90", "15m", "8h", "1h30m", "2d", 7.5)] == [
        90,
        900,
        28800,
        5400,
        172800,
        7.5,
    ]
    for bad in ("", "h", "15x", "-3m", 0, True, None, float("nan"), "1e3"):
        with pytest.raises(ValueError, match=r"time"):
            parse_seconds(bad)


def test_schema_is_up_to_date_and_accepts_what_ships() -> None:
    stored = json.loads(
        files("inverse.inputs").joinpath("schemas/config.schema.json").read_text(encoding="utf-8")
    )
    assert stored == config_schema(with_extensions=False), (
        "inverse properties --schema > inverse/inputs/schemas/config.schema.json"
    )
    validator = jsonschema.Draft202012Validator(stored)
    folder = files("inverse.inputs").joinpath("configs")
    for name in packaged_configs():
        data = parse_yaml(folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), name)
        validator.validate(data)
        validator.validate(json.loads(json.dumps(load_config(name).to_mapping())))
    with pytest.raises(jsonschema.ValidationError, match="bulk_modulus"):
        validator.validate({"targets": {"bulk_modulus": {"min": 3}}})
