"""Moduli and band gaps by formula -> inverse/reference/moduli.parquet, band_gaps.parquet.

python -m experiments.package_data.build_facts
"""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
from pymatgen.core import Composition

from experiments.package_data.sources import read_table
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


def write(table: pa.Table, name: str) -> None:
    """Write a compact parquet file of the package."""
    path = PACKAGE_DATA / name
    encodings = {"formula": "DELTA_BYTE_ARRAY"}
    parquet.write_table(
        table, path, compression="zstd", compression_level=19, use_dictionary=False, column_encoding=encodings
    )
    print(name, table.num_rows, f"{path.stat().st_size / 1e6:.2f} MB")


def build() -> None:
    """Write both files."""
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


if __name__ == "__main__":
    build()
