"""README.md and docs/: every example runs or loads, every option, name, path and link exists.

A block of a page is what a reader would copy. Those in Python are executed, those in YAML are loaded, and
commands behind `$` are parsed and, where they are cheap, carried out, page by page in a folder with the files
that the page speaks of. A block whose first line is a comment with a file's name is that file from there on.
Campaigns, of few verifications, and the default judges are stand-ins. What no test can run is marked
`<!-- not run: why -->` in the line before.
"""

import ast
import builtins
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from pymatgen.core import Lattice, Structure

from inverse.benchmarks import BENCHMARKS
from inverse.campaign.candidate_table import columns
from inverse.candidates import registry
from inverse.commands.cli import app, main
from inverse.decoders.cif_writer import cif_text
from inverse.inputs.campaign_config import CampaignConfig, config_schema, packaged_configs
from inverse.inputs.training_config import stage_of
from inverse.proposers.protocol import completed
from inverse.reference import HitClassifier, KnownMaterials
from inverse.report.page import build_report
from inverse.verification.plan import VerificationPlan
from surrogates.checkpoints.architecture import Architecture, Rows, Task
from surrogates.checkpoints.checkpoint import ARCHITECTURES
from surrogates.checkpoints.trial import tried
from surrogates.physics.properties import GROUP, PROPERTIES, Property, register
from surrogates.protocol import CompositionBatch
from tests import crystals, fakes

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

MOST_NOT_RUN = 3
"""Blocks in all pages that may be marked as not run."""

FIRST_TABLE = 110
"""Lines of README.md within which a newcomer has what is needed; the figures come after."""

LANGUAGES = {"", "python", "yaml", "console", "bash", "toml"}
"""Of fenced blocks; without one it is a drawing."""

PYTHON = ["python", "-m"]

OTHER_PROGRAMS = {"make", "pip", "uv", "bash"}
"""That commands may begin with: they are not carried out."""

GROUPS = {made.group for made in vars(registry).values() if isinstance(made, registry.Registry)}
GROUPS |= {ARCHITECTURES.group}
"""Of entry points."""

FOLDERS = ("inverse", "surrogates", "experiments", "tests", "docs")
MARK = re.compile(r"<!-- not run: (.+) -->")
FILE = re.compile(r"# ([\w-]+\.(?:py|yaml))\b")
WANTED = {"targets": {"bulk_modulus_vrh": {"min": 200}}}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: name of the page.
        line: of its first line, from 1.
        language: behind the fence.
        text: what stands in it.
        not_run: why it is not run; "" when it is.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str = ""

    @property
    def file(self) -> str:
        """Name of the file that it is; "" for none."""
        found = FILE.match(self.text)
        return found[1] if found else ""

    @property
    def commands(self) -> list[list[str]]:
        """Words of the commands behind `$`, without comments and settings of the environment."""
        lines = [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]
        found = [shlex.split(line, comments=True) for line in lines]
        return [[w for k, w in enumerate(words) if k or not re.match(r"[A-Z_]+=", w)] for words in found]


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    before, start, language, held = "", 0, "", list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("```"):
            held.append(line) if start else None
            before = before if start else line
        elif start:
            mark = MARK.fullmatch(before)
            found.append(Block(page.name, start, language, "\n".join(held) + "\n", mark[1] if mark else ""))
            start, held, before = 0, [], ""
        else:
            start, language = number + 1, line.removeprefix("```")
    assert not start, f"{page.name}: a block that begins at line {start} does not end"
    return found


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def anchors(page: Path) -> set[str]:
    """Return what links into a page may end with, as GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page)]


# -- what is written -----------------------------------------------------------------------------------------


def test_blocks_have_a_language_and_few_are_not_run() -> None:
    found = all_blocks()
    assert {block.language for block in found} <= LANGUAGES
    assert len([block for block in found if block.language == "python"]) >= 5
    assert len([block for block in found if block.not_run]) <= MOST_NOT_RUN


def test_a_mark_and_a_file_belong_to_the_next_block_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: needs a licence -->\n```python\n# mine.py\n1 / 0\n```\n\n"
        "```console\n$ A=1 make run  # all\n3 hits\n```\n"
    )
    first, second = blocks(page)
    assert (first.not_run, first.file, first.line) == ("needs a licence", "mine.py", 3)
    assert (second.not_run, second.file, second.commands) == ("", "", [["make", "run"]])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_file(), f"{page.name} links {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links {target}"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", PAGES[0].read_text(encoding="utf-8")))
    assert linked == {page.name for page in PAGES[1:]}


def test_the_readme_is_short_before_its_first_table_and_the_picture_small() -> None:
    lines = PAGES[0].read_text(encoding="utf-8").splitlines()
    assert next(k for k, line in enumerate(lines) if line.startswith("|")) <= FIRST_TABLE
    assert (ROOT / "docs" / "report.png").stat().st_size < 200_000


@pytest.mark.parametrize("page", [*PAGES, ROOT / "inverse/reference/DATA.md"], ids=lambda page: page.name)
def test_paths_and_names_exist(page: Path) -> None:
    for code in inline_code(page):
        if re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./-]*", code):
            assert (ROOT / code).exists(), f"{page.name}: {code}"
        elif re.match(rf"({'|'.join(FOLDERS[:4])})\.\w", code):
            name = code.partition("(")[0]
            assert name in {GROUP, *GROUPS} or is_there(name), f"{page.name}: {code}"


def is_there(name: str) -> bool:
    """Return whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:n])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            found: Any = importlib.import_module(".".join(parts[:n])) if n < len(parts) else None
            for attribute in parts[n:]:
                found = getattr(found, attribute, None)
            return n == len(parts) or found is not None
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_settings_in_the_text_exist(page: Path) -> None:
    keys = {field.alias or name for name, field in CampaignConfig.model_fields.items()}
    for code in inline_code(page):
        words = code.split()
        if words[0] == "inverse" and len(words) == 2:
            options = {name for parameter in COMMANDS.params for name in parameter.opts}
            assert words[1] in {*COMMANDS.commands, *options}, f"{page.name}: {code}"
        elif (words[0] == "inverse" and len(words) > 2 and not words[1].isupper()) or words[:2] == PYTHON:
            parsed(words)
        elif ": " in code and code.partition(": ")[0] in keys:
            CampaignConfig.from_mapping({**WANTED, **yaml.safe_load(code)})


def test_flags_and_columns_that_are_explained_exist() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "inverse").rglob("*.py"))
    text = (ROOT / "docs" / "reading-the-result.md").read_text(encoding="utf-8")
    rows = [line for line in text.partition("## Flags")[2].splitlines() if line.startswith("| `")]
    flags = [flag for row in rows for flag in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(flags) > 10
    assert [flag for flag in flags if f'"{flag}"' not in sources] == []
    text = (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8")
    listed = text.partition("## candidates.csv")[2].partition("\n\n`status`")[0].replace("<p>", "density")
    named = [name for name in re.findall(r"`(\w+)`", listed) if name.islower()]
    assert len(named) > 25
    assert set(named) <= {*columns(["density"]), "n"}


# -- what is run ---------------------------------------------------------------------------------------------


COMMANDS: Any = typer.main.get_command(app)


def parsed(words: list[str]) -> None:
    """Refuse a command that does not exist, or an option that it does not have."""
    program, *arguments = words
    if words[:2] == PYTHON:
        source = ROOT.joinpath(*words[2].split(".")).with_suffix(".py").read_text(encoding="utf-8")
        assert [w for w in words[3:] if w[0] == "-" and f'"{w}"' not in source] == [], words
    elif program == "inverse" and arguments != ["--version"]:
        name, *rest = arguments
        assert name in COMMANDS.commands, words
        COMMANDS.commands[name].make_context(name, list(rest))
        assert name != "bench" or not rest or rest[0] in (*BENCHMARKS, "NAME"), words
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    else:
        assert program in {"inverse", *OTHER_PROGRAMS}, words


class StandIn(fakes.AnalyticVerifier):
    """Judges that cost nothing."""

    def verify_each(
        self, structures: Any, should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Any]]:
        return super().verify_each(structures, should_stop)

    def start(self) -> None:
        return None


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a campaign on stand-ins."""
    folder = tmp_path_factory.mktemp("documentation") / "run"
    with fakes.campaign(folder, budget={"verifications": 4}) as run:
        run.run()
    build_report(folder)
    return folder


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that pages speak of."""
    folder = tmp_path_factory.mktemp("documentation") / "files"
    (folder / "structures").mkdir(parents=True)
    made = {
        "TiN": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.24), ["Ti", "N"], [[0] * 3, [0.5] * 3]),
        "SiC": Structure.from_spacegroup("F-43m", Lattice.cubic(4.36), ["Si", "C"], [[0] * 3, [0.25] * 3]),
        "WC": Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0] * 3, [1 / 3, 2 / 3, 0.5]]),
        "Cu": crystals.fcc(),
    }
    for name, structure in made.items():
        for place in (folder, folder / "structures"):
            (place / f"{name}.cif").write_text(cif_text(structure))
    metals = ["Ti", "Zr", "Hf", "V", "Nb", "Ta", "Cr", "Mo", "W", "Fe", "Co", "Ni"]
    rows = [f"{m}{x},{100 + 7 * k + 3 * j}" for k, m in enumerate(metals) for j, x in enumerate("CNB")]
    (folder / "toughness.csv").write_text("\n".join(["formula,toughness", *rows]) + "\n")
    (folder / "best.txt").write_text("c000000\n")
    for page in PAGES:
        for block in blocks(page):
            if block.file:
                (folder / block.file).write_text(block.text, encoding="utf-8")
    return folder


@pytest.fixture
def desk(at_hand: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a reader of a page works in."""
    folder = tmp_path / "desk"
    shutil.copytree(at_hand, folder)
    judges = importlib.import_module("inverse.verification")
    real = judges.open_verifier

    def open_verifier(plan: VerificationPlan, workers: int = 0) -> Any:
        return real(plan, workers) if ":" in plan.potential else StandIn()

    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    monkeypatch.setattr(judges, "open_verifier", open_verifier)
    classifier = HitClassifier(KnownMaterials.packaged())  # no energy stands behind its classes
    monkeypatch.setattr("inverse.verification.answers.packaged_classifier", lambda _: classifier.classify)
    monkeypatch.setattr("inverse.verification.workers.default_workers", lambda: 0)
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    known, properties = set(sys.modules), dict(PROPERTIES)
    yield folder
    for name in PROPERTIES.keys() - properties.keys():
        del PROPERTIES[name]  # a page registers one
    for entry in [key for key in ARCHITECTURES._decorated if (folder / f"{key[1]}.py").is_file()]:
        del ARCHITECTURES._decorated[entry]  # and another an architecture
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, desk: Path, finished: Path) -> None:
    for block in blocks(page):
        if block.file:
            (desk / block.file).write_text(block.text, encoding="utf-8")
        if block.not_run:
            continue
        where = f"{block.page}, line {block.line}"
        if block.language == "python":
            exec(compile(block.text, where, "exec"), {"__name__": "__main__", "__builtins__": builtins})
        elif block.language == "yaml":
            loads(yaml.safe_load(block.text))
        elif block.language == "bash":
            subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
            for line in re.findall(r"^(?:exec )?(inverse .+)$", block.text, flags=re.MULTILINE):
                parsed(shlex.split(line))
        elif block.language == "toml":
            for group, named in tomllib.loads(block.text)["project"]["entry-points"].items():
                for name, place in named.items():
                    extends(group, name, *place.split(":"))
        for words in block.commands:
            parsed(words)
            if is_cheap(words):
                provide(words, finished)
                few = ["--budget", "4"] if words[1] == "run" else []
                assert main([*words[1:], *few]) == 0, f"{where}: {' '.join(words)}"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_run(notebook: Path, desk: Path) -> None:
    """Cell by cell, in one namespace; what a cell ends with is shown as a notebook would show it."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "a notebook is kept without what it printed"
        *body, last = ast.parse("".join(cell["source"])).body
        where = f"{notebook.name}, cell {number}"
        is_shown = isinstance(last, ast.Expr)
        exec(compile(ast.Module(body if is_shown else [*body, last], []), where, "exec"), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), space)
            html = getattr(value, "_repr_html_", lambda: None)()
            assert html or len(repr(value)) < 2000, f"{where} shows a screenful"


def extends(group: str, name: str, module: str, attribute: str) -> None:
    """Refuse an entry point of a group that nobody looks in, or of something that cannot be made; use it."""
    assert group in {GROUP, *GROUPS}
    if group == GROUP and not Path(f"{module}.py").is_file():  # a package that no page shows
        return
    made = getattr(importlib.import_module(module), attribute)
    if group == GROUP:  # else read when the program starts
        register(made)
    if group in (registry.PROPOSERS.group, registry.DECODERS.group):
        space = fakes.search_space(CampaignConfig.from_mapping(fakes.CONFIG))
    if group == registry.PROPOSERS.group:
        assert len(completed(made(space)).ask(3, 0, 7)) == 3
    if group == registry.DECODERS.group:
        assert min(made().sample(2, space.wanted_condition(), 7).space_group) >= 195
    if group == registry.SURROGATES.group:
        assert tried(made()).name == name
    if group == ARCHITECTURES.group:
        trained_and_read(made())
        ARCHITECTURES.register(name)(made)


def trained_and_read(architecture: Architecture) -> None:
    """Refuse an architecture that cannot learn a table, or says something else once its weights are read."""
    formulas = [f"{metal}{other}" for metal in ("Ti", "Zr", "V", "Nb", "Mo", "W") for other in "CNBO"]
    batch = CompositionBatch.from_formulas(formulas)
    values = (100 * batch.fractions[:, 5] + 300).tolist()
    rows = Rows(Property("toughness", "t", "", 0.0, 1e4, "table"), batch, values, formulas)
    surrogate, errors = architecture.train(Task("page", rows=rows))
    assert errors["mae"] < 0.5 * errors["mae_constant"]
    again = architecture.from_checkpoint(surrogate.to_checkpoint())
    told = [each.predict(batch, [rows.property])[rows.property].mean for each in (surrogate, again)]
    assert told[0].tolist() == pytest.approx(told[1].tolist())
    decades = [value * (1 + k % 3) * 4 ** (k % 5) for k, value in enumerate(values)]
    wide = replace(
        rows, property=replace(rows.property, maximum=1e7, is_positive=True), values=decades, is_log=True
    )
    surrogate, errors = architecture.train(Task("page", rows=wide))
    assert 0.75 <= errors["coverage_90"] <= 1.0
    found = surrogate.predict(batch, [wide.property])[wide.property]
    assert bool(((found.lower > 0) & (found.lower < found.mean) & (found.mean < found.upper)).all())


def loads(mapping: dict[str, Any]) -> None:
    """Refuse a config, of a campaign or of a training, that the program would refuse."""
    if "kind" in mapping:
        stage_of(mapping["kind"], "page").model_validate(mapping)
        return
    config = {**WANTED, **mapping}
    jsonschema.validate(config, config_schema())
    CampaignConfig.from_mapping(config)


def is_cheap(words: list[str]) -> bool:
    """Return whether a command is carried out, on stand-ins where it is not cheap by itself."""
    program, *rest = words
    if program != "inverse" or rest[0] == "referee" or (rest[0] == "bench" and rest[1:]):
        return False
    needs = "matscipy" if any("silicon_carbide" in word for word in rest) else "math"
    return find_spec(needs) is not None and not (rest[0] == "train" and rest[1].startswith("experiments/"))


def provide(words: list[str], finished: Path) -> None:
    """Put run folders where a command reads them; refuse files of the repository that are not there."""
    for word in words[2:]:
        path = Path(word)
        if word.startswith("runs/") and words[1] in ("report", "compare", "export") and not path.exists():
            shutil.copytree(finished, path)


def test_files_that_commands_name_exist() -> None:
    for block in all_blocks():
        for words in block.commands:
            for word in words:
                if word.split("/")[0] in FOLDERS and "/" in word:
                    assert (ROOT / word).exists(), f"{block.page}, line {block.line}: {word}"
            if words[:2] == ["inverse", "run"] and os.sep not in words[2] and "." not in words[2]:
                assert words[2] in packaged_configs(), f"{block.page}, line {block.line}: {words[2]}"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["inverse", "run", "a.yaml", "--budgets", "3"], "budgets"),
        (["inverse", "bench", "speeds"], "speeds"),
        (["inverse", "conjure"], "conjure"),
        (["make", "coffee"], "coffee"),
        (["python", "-m", "experiments.studies.needle", "--methods", "tpe"], "methods"),
        (["sudo", "ls"], "sudo"),
    ],
)
def test_what_does_not_exist_is_refused(words: list[str], error: str) -> None:
    with pytest.raises(Exception, match=error):
        parsed(words)
