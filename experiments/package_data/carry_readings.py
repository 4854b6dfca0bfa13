"""Put what the store holds of the DFT rows into the package.

`python -m experiments.package_data.carry_readings [--only NAME]`: rows that the store (INVERSE_STORE) lacks
keep what was carried before; `--only` asks it about one potential alone. Nothing is computed.
"""

import argparse

from inverse.benchmarks.dft_rows import calibration_rows
from inverse.benchmarks.verification.carried_readings import joined_rows, rows_with, write_readings
from inverse.verification.store import VerificationStore


def main() -> None:
    """Write, and say how many rows are there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="a potential")
    options = parser.parse_args()
    store, rows = VerificationStore(), calibration_rows()
    found = list(rows_with(store, rows, options.only) if options.only else joined_rows(store, rows))
    print(f"{write_readings(found)} of {len(rows)} rows carried")


if __name__ == "__main__":
    main()
