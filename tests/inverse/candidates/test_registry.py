"""Names are found without importing what has them; what is wrong with one is said when it is asked for."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inverse.candidates.registry import DECODERS, JUDGES, POTENTIALS, PROPOSERS, SURROGATES, Registry
from surrogates.checkpoints.checkpoint import ARCHITECTURES
from surrogates.errors import ConfigError, UnknownNameError
from surrogates.platform import registry
from tests.test_house_rules import MODULES

ALL = [PROPOSERS, DECODERS, SURROGATES, POTENTIALS, JUDGES, ARCHITECTURES]

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what puts a package with one module and entry points of `inverse.proposers` on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(package: str, source: str, **points: str) -> None:
        (tmp_path / f"{package}.py").write_text(source)
        info = tmp_path / f"{package}-2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.0\n")
        lines = [f"{name} = {package}{attribute}" for name, attribute in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[inverse.proposers]", *lines, ""]))
        registry._extensions.cache_clear()
        importlib.invalidate_caches()

    yield installed  # type: ignore[misc]
    monkeypatch.undo()
    registry._extensions.cache_clear()


def fresh() -> Registry:
    return Registry("inverse.proposers", "search method", "PROPOSERS")


@pytest.mark.parametrize("known", ALL, ids=lambda known: known.group)
def test_what_is_read_is_what_the_decorators_say(known: Registry) -> None:
    """The text of the files and their import agree on names and modules, and each name is made of one."""
    for module in MODULES:
        if module.startswith(f"{known._room}."):
            importlib.import_module(module)
    read = {(entry.name, entry.module) for entry in known._packaged()}
    assert read == {(name, module) for name, module in known._decorated if module in MODULES}
    assert len(read) == len({name for name, _ in read})
    assert known.names(with_extensions=False) == tuple(n for n in known.names() if known.is_packaged(n))


def test_the_packaged_methods_have_their_names() -> None:
    packaged = {"hybrid", "gradient", "decoder", "random", "tpe", "genetic"}
    assert set(PROPOSERS.names()) == packaged | {"substitution", "lookup", "orderings"}
    assert PROPOSERS.brought_by("tpe") == "this program"


def test_a_package_brings_a_name_without_being_imported(install: Install) -> None:
    install("wanderer", "class Walk:\n    pass\n", **{"random-walk": ":Walk"})
    known = fresh()
    assert "random-walk" in known
    assert "random-walk" not in known.names(with_extensions=False)
    assert "wanderer" not in sys.modules
    assert known.brought_by("random-walk") == "package wanderer 2.0"
    assert known.get("random-walk") is sys.modules["wanderer"].Walk


def test_a_decorator_of_this_process_brings_a_name() -> None:
    known = fresh()

    @known.register("mine")
    def mine(space: object) -> object:
        return space

    assert known.get("mine") is mine
    assert known.make("mine", space=3, device="cpu") == 3
    assert known.brought_by("mine") == "this process"


def test_a_decorated_entry_point_is_one_thing(install: Install) -> None:
    line = "from inverse.candidates.registry import PROPOSERS\n@PROPOSERS.register('both')\n"
    source = f"{line}class Both:\n    pass\n"
    install("twice_told", source, both=":Both")
    PROPOSERS.get("both")
    assert PROPOSERS.get("both") is sys.modules["twice_told"].Both
    assert PROPOSERS.brought_by("both") == "package twice_told 2.0"
    del PROPOSERS._decorated["both", "twice_told"]


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown search method 'hybird'; did you mean 'hybrid'"):
        PROPOSERS.get("hybird")


@pytest.mark.parametrize(
    ("package", "source", "reason"),
    [
        ("broken_a", "import no_such_module\n", "cannot be imported: ModuleNotFoundError"),
        ("broken_b", "", "cannot be imported: AttributeError"),
        ("broken_c", "A = 3\n", "is a int, which cannot be called"),
        ("broken_d", "import sys\nsys.exit(4)\n", "cannot be imported: SystemExit"),
        ("broken_e", "def A():\n    raise KeyError(3)\n", "cannot be made: KeyError"),
    ],
)
def test_a_broken_package_is_named_when_it_is_asked_for(
    package: str, source: str, reason: str, install: Install
) -> None:
    install(package, source, it=":A")
    known = fresh()
    assert "it" in known
    with pytest.raises(ConfigError, match=rf"^search method 'it' of package {package} 2\.0 {reason}") as said:
        known.make("it")
    assert "\n" not in str(said.value)


def test_two_who_bring_one_name_are_both_named_and_others_still_work(install: Install) -> None:
    install("first_one", "class A:\n    pass\n", walk=":A", tpe=":A")
    install("second_one", "class A:\n    pass\n", walk=":A")
    two = r"'walk' is brought by package .+_one 2\.0 and package .+_one 2\.0"
    with pytest.raises(ConfigError, match=two):
        PROPOSERS.get("walk")
    with pytest.raises(ConfigError, match=r"'tpe' is brought by this program \(.*bayesian.*package first_"):
        PROPOSERS.get("tpe")
    assert PROPOSERS.get("random").__name__ == "RandomSearch"


def test_configs_are_read_and_help_is_shown_without_models() -> None:
    """No name costs an import of what has it: neither torch nor optuna, nor the files of the methods."""
    code = (
        "import sys\n"
        "from inverse.inputs.campaign_config import config_schema, load_config\n"
        "assert load_config('superhard-quick').search.method == 'hybrid'\n"
        "assert 'tpe' in config_schema()['$defs']['Search']['properties']['method']['enum']\n"
        "from inverse.commands.cli import main\n"
        "assert main(['--help']) == main(['verify', '--help']) == 0\n"
        "heavy = {'torch', 'optuna', 'ase', 'chgnet', 'inverse.proposers', 'inverse.potentials'}\n"
        "sys.exit(' '.join(sorted(heavy & sys.modules.keys())) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
