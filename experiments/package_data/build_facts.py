"""Facts by formula -> inverse/reference/moduli.parquet, band_gaps.parquet, measured.parquet.

python -m experiments.package_data.build_facts
"""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
from pymatgen.core import Composition

from experiments.package_data.sources import read_table
from inverse.reference.measurements import Quantity
from inverse.reference.phases import PACKAGE_DATA


def moduli() -> pd.DataFrame:
    """Return K and G of every trusted entry (K < 5, G < 1, G/K >= 1.3 are failed calculations)."""
    project = read_table("mp_elasticity").assign(source=0)
    keys = ["formula", "reduced_formula"]
    aflow = (
        read_table("aflow_bulk_modulus").merge(read_table("aflow_shear_modulus"), on=keys).assign(source=1)
    )
    frame = pd.concat([project, aflow[project.columns]])
    ratio = frame.shear_modulus_vrh / frame.bulk_modulus_vrh
    frame = frame[(frame.bulk_modulus_vrh >= 5) & (frame.shear_modulus_vrh >= 1) & (ratio < 1.3)]
    frame = frame.assign(n_atoms=[round(Composition(f).num_atoms) for f in frame.formula])
    return frame.drop_duplicates().sort_values(["reduced_formula", "source", "bulk_modulus_vrh"])


def measured() -> pd.DataFrame:
    """Return measured values of whole formulas: hardness at its largest load, band gaps.

    Formulas with fractions are solid solutions. Gaps of 0 are left out: metals of that table were taken from
    calculations.
    """
    hardness = read_table("vickers_hardness").assign(quantity=int(Quantity.VICKERS_HARDNESS))
    gaps = read_table("experimental_band_gap").assign(quantity=int(Quantity.BAND_GAP), load=0.0)
    gaps = gaps[gaps.experimental_band_gap > 0]
    columns = ["formula", "quantity", "value", "load"]
    frame = pd.concat(
        [
            hardness.rename(columns={"vickers_hardness": "value"})[columns],
            gaps.rename(columns={"experimental_band_gap": "value"})[columns],
        ]
    )
    compositions = [Composition(formula) for formula in frame.formula]
    frame = frame.assign(formula=[c.reduced_formula for c in compositions])
    frame = frame[[all(float(n).is_integer() for n in c.values()) for c in compositions]]
    largest = frame.groupby(["formula", "quantity"]).load.transform("max")
    return frame[frame.load == largest].groupby(columns[:2]).mean().reset_index()


def write(table: pa.Table, name: str) -> None:
    """Write a compact parquet file of the package."""
    path = PACKAGE_DATA / name
    encodings = {"formula": "DELTA_BYTE_ARRAY"}
    parquet.write_table(
        table, path, compression="zstd", compression_level=19, use_dictionary=False, column_encoding=encodings
    )
    print(name, table.num_rows, f"{path.stat().st_size / 1e6:.2f} MB")


def build() -> None:
    """Write all three files."""
    frame = moduli()
    columns = {
        "formula": frame.reduced_formula.tolist(),
        "n_atoms": pa.array(frame.n_atoms.to_numpy(), pa.uint16()),
        "bulk_modulus_vrh": pa.array(frame.bulk_modulus_vrh.round(1).to_numpy(), pa.float32()),
        "shear_modulus_vrh": pa.array(frame.shear_modulus_vrh.round(1).to_numpy(), pa.float32()),
        "source": pa.array(frame.source.to_numpy(), pa.uint8()),
    }
    write(pa.table(columns), "moduli.parquet")
    gaps = read_table("mp_band_gap").groupby("reduced_formula").band_gap.median().sort_index()
    millis = pa.array((gaps * 1000).round().astype("int16").to_numpy())
    write(pa.table({"formula": gaps.index.tolist(), "band_gap_mev": millis}), "band_gaps.parquet")
    values = measured()
    columns = {
        "formula": values.formula.tolist(),
        "quantity": pa.array(values.quantity.to_numpy(), pa.uint8()),
        "value": pa.array(values.value.round(3).to_numpy(), pa.float32()),
        "load": pa.array(values.load.round(3).to_numpy(), pa.float32()),
    }
    write(pa.table(columns), "measured.parquet")


if __name__ == "__main__":
    build()
