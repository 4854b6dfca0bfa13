"""`inverse bench verify`: every benchmark of the verification, one after the other, in one record."""

import logging
from typing import Any

from surrogates.errors import EngineError

LOGGER = logging.getLogger(__name__)


def run_verify(n: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Return the records of all benchmarks named verify-..., by name.

    One that cannot run, because the shared structures or a package are absent, is named and not passed.

    Args:
        n: size of each, where it has one; None takes the size of record.
        seed: of each.
    """
    from inverse.benchmarks import BENCHMARKS, run_benchmark

    parts: dict[str, dict[str, Any]] = {}
    for name in (known for known in BENCHMARKS if known.startswith("verify-")):
        LOGGER.info("bench %s", name)
        try:
            parts[name] = run_benchmark(name, n, seed)
        except EngineError as error:
            parts[name] = {"benchmark": name, "passed": False, "error": str(error)}
    return {"passed": all(part.get("passed", False) for part in parts.values()), "parts": parts}
