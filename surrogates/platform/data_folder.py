"""Where the shared data lie that the shipped models were trained on."""

import os
from pathlib import Path

SETTING = "INVERSE_DATA"
"""Environment variable that names the data folder; without it `../shared/data` beside the repository."""


def data_folder() -> Path:
    """Return the folder of shared data, whether it exists or not."""
    setting = os.environ.get(SETTING)
    return Path(setting) if setting else Path(__file__).resolve().parents[2].parent / "shared" / "data"
