"""Put what the store holds of the DFT rows into the package.

`python -m experiments.package_data.carry_readings`: rows that the store (INVERSE_STORE) lacks keep what was
carried before; nothing is computed.
"""

from inverse.benchmarks.dft_rows import calibration_rows
from inverse.benchmarks.verification.carried_readings import joined_rows, write_readings
from inverse.verification.store import VerificationStore


def main() -> None:
    """Write, and say how many rows are there."""
    rows = calibration_rows()
    found = list(joined_rows(VerificationStore(), rows))
    print(f"{write_readings(found)} of {len(rows)} rows carried")


if __name__ == "__main__":
    main()
