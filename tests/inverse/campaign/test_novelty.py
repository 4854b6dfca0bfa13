"""What databases on the network say: answers as OPTIMADE gives them, never more than they say."""

import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from pymatgen.core import Composition, Lattice, Structure

import inverse
from inverse.campaign.novelty import NOVELTY_FILE, ask_about, read_novelty
from inverse.commands.cli import main
from inverse.reference import online_databases
from inverse.reference.online_databases import (
    DATABASES,
    MOST_ENTRIES,
    Answer,
    Database,
    ask_databases,
    optimade_client,
    optimade_formula,
)
from surrogates.errors import ConfigError, DataError, MissingExtraError, RunFolderError
from tests.inverse.report import fake_run

ONE, OTHER = Database("One", "https://one.example/optimade"), Database("Other", "https://other.example")
CARBIDE = Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
ROCK_SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.33), ["W", "C"], [[0] * 3, [0.5] * 3])


def entry(identity: str, structure: Structure, **changes: Any) -> dict[str, Any]:
    """An entry as the specification has it."""
    attributes = {
        "chemical_formula_reduced": optimade_formula(structure.composition),
        "lattice_vectors": structure.lattice.matrix.tolist(),
        "cartesian_site_positions": structure.cart_coords.tolist(),
        "species": [
            {"name": e.symbol, "chemical_symbols": [e.symbol], "concentration": [1.0]}
            for e in structure.elements
        ],
        "species_at_sites": [site.specie.symbol for site in structure],
    }
    return {"type": "structures", "id": identity, "attributes": {**attributes, **changes}}


def page(*entries: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {"data": list(entries), "errors": [], "meta": {"data_returned": len(entries), **meta}}


def answer_to(recorded: Mapping[str, Any], crystal: Structure = CARBIDE) -> Any:
    """What one database says of a crystal, beside another that has nothing."""
    ((found, _),) = ask_databases(
        [crystal], (ONE, OTHER), lambda url, wanted: recorded if url == ONE.url else page()
    )
    return found


def test_the_same_crystal_is_found_among_polymorphs_in_any_cell() -> None:
    cell = CARBIDE.copy()
    cell.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    cell.scale_lattice(1.03 * cell.volume)
    found = answer_to(page(entry("a/1", ROCK_SALT), entry("a 2", cell)))
    assert found.answer is Answer.SAME
    assert [(e.id, e.is_same) for e in found.entries] == [("a 2", True), ("a/1", False)]
    assert found.entries[1].url == "https://one.example/optimade/v1/structures/a%2F1"
    assert DATABASES[0].address("mp-1894") == "https://materialsproject.org/materials/mp-1894"


@pytest.mark.parametrize(
    ("recorded", "answer", "reason"),
    [
        (page(), Answer.ABSENT, ""),
        (page(entry("a", ROCK_SALT)), Answer.OTHER, ""),
        (
            page(entry("a", ROCK_SALT, lattice_vectors=None)),
            Answer.UNCOMPARED,
            "1 of 1 entries hold no",
        ),
        (page(entry("a", ROCK_SALT), data_returned=7), Answer.UNCOMPARED, "more entries of the formula than"),
        (
            page(*(entry(str(k), ROCK_SALT) for k in range(MOST_ENTRIES)), data_returned=None),
            Answer.UNCOMPARED,
            "more entries",
        ),
        (
            page(entry("a", CARBIDE, species=[{"name": "W", "chemical_symbols": ["W", "vacancy"]}])),
            Answer.UNCOMPARED,
            "no structure to compare",
        ),
        (page(entry("a", CARBIDE, chemical_formula_reduced="W2")), Answer.NONE, "entries of other formulas"),
        ({"data": [], "errors": ["ConnectionError: gone"], "meta": {}}, Answer.NONE, "ConnectionError: gone"),
        ({"errors": [{"title": "Bad", "detail": "no\nsuch filter"}]}, Answer.NONE, "no such filter"),
        ({"data": {"id": "x"}, "meta": {}}, Answer.NONE, "no list of entries"),
        ({"data": [1, {"attributes": None}], "meta": {}}, Answer.NONE, "other formulas"),
    ],
)
def test_what_a_database_did_not_say_is_not_taken_for_no(
    recorded: Mapping[str, Any], answer: Answer, reason: str
) -> None:
    found = answer_to(recorded)
    assert found.answer is answer
    assert reason in found.reason
    assert bool(reason) == bool(found.reason)


def test_formulas_are_asked_for_as_the_specification_writes_them() -> None:
    asked: list[str] = []

    def get(url: str, wanted: str) -> Mapping[str, Any]:
        asked.append(wanted)
        return page()

    list(ask_databases([fake_run.structure(0), ROCK_SALT], (ONE,), get))
    assert asked == ['chemical_formula_reduced="B2MoW"', 'chemical_formula_reduced="CW"']
    assert optimade_formula(Composition("(NH4)2SO4")) == "H8N2O4S"


def test_a_database_that_is_silent_twice_is_asked_no_more_and_says_nothing() -> None:
    asked: list[str] = []

    def get(url: str, wanted: str) -> Mapping[str, Any]:
        asked.append(url)
        return {"errors": ["Timeout: 30 s"]} if url == OTHER.url else page()

    answers = list(ask_databases([CARBIDE] * 5, (ONE, OTHER), get))
    assert asked.count(OTHER.url) == 2
    assert [found[1].answer for found in answers] == [Answer.NONE] * 5
    assert {found[1].reason for found in answers} == {"Timeout: 30 s"}
    assert [found[0].answer for found in answers] == [Answer.ABSENT] * 5


# -- in the run folder ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fake_run.write_fake_run(tmp_path / "run")


def test_the_folder_keeps_the_dated_answer_and_it_reads_back(folder: Path) -> None:
    run = inverse.load(folder)
    crystal = run.candidates[0].relaxed
    assert crystal is not None
    recorded = page(entry("x-1", crystal), entry("x-2", crystal, lattice_vectors=None))
    written = ask_about(folder, run.candidates[:1], (ONE, OTHER), lambda url, wanted: recorded)
    record = json.loads((folder / NOVELTY_FILE).read_text())
    schema = json.loads(files("inverse.inputs").joinpath("schemas", "novelty.schema.json").read_text())
    jsonschema.validate(record, schema)
    assert read_novelty(folder) == written
    assert written.by_id[run.candidates[0].id].answers[0].answer is Answer.SAME
    assert inverse.novelty(folder) == written
    assert inverse.load(folder).hits  # other readers go on


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.update(format_version=2),
        lambda r: r["candidates"][0]["answers"][0].update(answer="surely not"),
        lambda r: r["candidates"][0]["answers"][0]["entries"][0].update(url="javascript:alert(1)"),
        lambda r: r["candidates"][0]["answers"][0]["entries"][0].update(is_same="yes"),
        lambda r: r.pop("asked"),
        lambda r: r.update(candidates=3),
    ],
)
def test_a_damaged_answer_is_refused(folder: Path, damage: Any) -> None:
    run = inverse.load(folder)
    crystal = run.candidates[0].relaxed
    assert crystal is not None
    ask_about(folder, run.candidates[:1], (ONE,), lambda url, wanted: page(entry("x", crystal)))
    record = json.loads((folder / NOVELTY_FILE).read_text())
    damage(record)
    (folder / NOVELTY_FILE).write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"novelty\.json is damaged .*ask again"):
        read_novelty(folder)


def test_a_link_in_its_place_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / NOVELTY_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunFolderError, match=r"novelty\.json is a link"):
        inverse.load(folder)


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_asks_about_the_best_and_shows_it_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["novelty", str(folder)]) == 2
    assert "no database was asked yet" in capsys.readouterr().err
    crystal = inverse.load(folder).candidates[0].relaxed
    assert crystal is not None

    def get(url: str, wanted: str) -> Mapping[str, Any]:
        if "oqmd" in url:
            return {"errors": ["HTTPError: 500"]}
        return (
            page(entry("mp-7", crystal)) if f'"{optimade_formula(crystal.composition)}"' in wanted else page()
        )

    monkeypatch.setattr(online_databases, "optimade_client", lambda: get)
    assert main(["novelty", str(folder), "--online", "--top", "4"]) == 0
    shown = capsys.readouterr().out
    assert "same crystal: mp-7" in shown
    assert shown.count("OQMD: HTTPError: 500") == 1
    assert main(["novelty", str(folder)]) == 0
    assert capsys.readouterr().out == shown


def test_offline_is_one_line_and_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(online_databases, "optimade_client", lambda: lambda url, wanted: {"errors": ["gone"]})
    assert main(["novelty", str(folder), "--online"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: no database on the network answers (Materials Project: gone; OQMD")
    assert not (folder / NOVELTY_FILE).exists()
    empty = fake_run.write_fake_run(folder.parent / "empty", fake_run.candidates(n_verified=0))
    with pytest.raises(ConfigError, match="nothing was verified"):
        inverse.novelty(empty, online=True)


@pytest.mark.skipif(find_spec("optimade") is not None, reason="the client is installed")
def test_without_the_client_the_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"inverse-crystals\[online\]"):
        optimade_client()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[str]]:
    """What the network answers, in order: (status, JSON), or an exception; and the addresses asked."""
    pytest.importorskip("optimade.client")
    script: list[Any] = []
    asked: list[str] = []

    def send(self: Any, request: Any, **options: Any) -> requests.Response:
        assert options["timeout"] == (30.0, 30.0)
        asked.append(request.url)
        answer = script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        response = requests.Response()
        response.status_code, response._content = answer[0], json.dumps(answer[1]).encode()
        response.url = request.url
        return response

    monkeypatch.setattr(requests.Session, "send", send)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return script, asked


def test_the_client_asks_one_address_and_returns_what_is_there(network: tuple[list[Any], list[str]]) -> None:
    script, asked = network
    meta = {"data_returned": 1, "more_data_available": False}
    script.append((200, {"data": [entry("mp-1894", CARBIDE)], "meta": meta, "links": {"next": None}}))
    found = optimade_client()(DATABASES[0].url, 'chemical_formula_reduced="CW"')
    assert len(asked) == 1
    assert asked[0].startswith("https://optimade.materialsproject.org/v1/structures?filter=chemical_formula")
    assert "lattice_vectors" in asked[0]
    assert found["data"][0]["id"] == "mp-1894"
    ((answer,),) = ask_databases([CARBIDE], (ONE,), lambda url, wanted: found)
    assert answer.answer is Answer.SAME


def test_what_the_network_refuses_is_an_error_of_that_database(
    network: tuple[list[Any], list[str]],
) -> None:
    script, asked = network
    wanted = 'chemical_formula_reduced="CW"'
    script.append(requests.ConnectionError("no route"))
    assert optimade_client()(ONE.url, wanted)["errors"] == ["ConnectionError: cannot be reached"]
    script.append(requests.ReadTimeout("HTTPSConnectionPool"))
    assert optimade_client()(ONE.url, wanted)["errors"] == ["Timeout: no answer within 30 s"]
    script.append((500, {"errors": [{"title": "Oops", "detail": "out of order"}]}))
    (error,) = optimade_client()(ONE.url, wanted)["errors"]
    assert "Oops: out of order" in error
    script += [(429, {})] * 5
    (error,) = optimade_client()(ONE.url, wanted)["errors"]
    assert "too many requests" in error
    assert len(asked) == 6
