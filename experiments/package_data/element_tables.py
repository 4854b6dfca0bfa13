"""Write element tables of surrogates/physics/properties (prices, reserve indices) with their source.

Prices are mendeleev's column price_per_kg; it need not be installed in the environment:
`pip install --no-deps --target FOLDER mendeleev==1.3.0`, then
`python -m experiments.package_data.element_tables FOLDER/mendeleev/elements.db`.
Reserve indices are those of pymatgen's HHIModel.
"""

import json
import sqlite3
import sys
from pathlib import Path

from pymatgen.analysis.hhi import HHIModel

from surrogates.physics.periodic_table import ELEMENT_SYMBOLS

FOLDER = Path(__file__).parents[2] / "surrogates" / "physics" / "properties"

PRICES = (
    "mendeleev 1.3.0 (MIT), of Wikipedia's Prices of chemical elements, revision 1262554464 "
    "(2024, inferred from its number)"
)
RESERVES = "pymatgen HHIModel, of Gaultois et al., Chem. Mater. 25, 2911 (2013)"


def prices(database: Path) -> dict[str, float]:
    """Return USD per kg by symbol; elements without a price are left out."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select symbol, price_per_kg from elements")
        found = {symbol: float(price) for symbol, price in rows if price is not None}
    return {symbol: found[symbol] for symbol in ELEMENT_SYMBOLS if symbol in found}


def reserves() -> dict[str, float]:
    """Return the Herfindahl-Hirschman index of reserves by symbol; elements without one are left out."""
    found = HHIModel().symbol_hhip_hhir
    return {symbol: found[symbol][1] for symbol in ELEMENT_SYMBOLS if symbol in found}


def write(name: str, source: str, unit: str, values: dict[str, float]) -> None:
    content = {"source": source, "unit": unit, "values": values}
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write("elemental_cost", PRICES, "USD/kg", prices(Path(sys.argv[1])))
    write("supply_risk", RESERVES, "", reserves())
