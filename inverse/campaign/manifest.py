"""What manifest.json says of a run: counts of each step, the funnel, the hash of the config."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Required

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from inverse.candidates.types import PREDICTED_ENOUGH, Candidate, Rule, Status
from inverse.inputs.campaign_config import SEARCHED_WITH, CampaignConfig
from inverse.inputs.carried_files import fingerprint

FORMAT_VERSION = 1
"""Of manifest.json; see schemas/manifest.schema.json."""

_SUMMED = ("evaluated", "proposed", "predicted", "triaged", "started")

_TRIAGE_SUMMED = ("looked_at", "triaged_out")
"""Likewise, of runs with a triage."""


_ASKED_LAST = ("phonons", "orderings", "functionals", "second_opinion")
"""Keys of `verify` that decide no candidate."""

_LOOSE = ConfigDict(extra="allow", strict=True)


class _Best(TypedDict, total=False):
    __pydantic_config__ = _LOOSE  # type: ignore[misc]
    formula: Required[str]
    values: dict[str, float | None]
    note: str


class _Baseline(TypedDict, total=False):
    __pydantic_config__ = _LOOSE  # type: ignore[misc]
    asked: bool
    n_hits: int | None
    n_considered: int | None
    n_started: int | None
    basis: str
    best: list[_Best]
    note: str


class _Funnel(TypedDict, total=False):
    __pydantic_config__ = _LOOSE  # type: ignore[misc]
    evaluated: int
    proposed: int
    predicted: int
    triaged: int
    started: int
    looked_at: int
    triaged_out: int
    screened_out: dict[str, int]


class _Manifest(TypedDict, total=False):
    """What a reader of manifest.json counts on, where a key is there."""

    __pydantic_config__ = _LOOSE  # type: ignore[misc]
    name: str
    created: str
    updated: str | None
    status: str
    stop_reason: str
    command: str
    device: str
    seconds: float | None
    versions: dict[str, str | None]
    weights: dict[str, Any]
    weight_files: dict[str, str]
    judges: dict[str, str | None]
    settings: dict[str, Any]
    steps: list[dict[str, Any]]
    funnel: _Funnel
    baselines: dict[str, _Baseline]
    cost: dict[str, float] | None
    hits: dict[str, Any]


_READ: TypeAdapter[_Manifest] = TypeAdapter(_Manifest)


def checked(manifest: Any) -> dict[str, Any]:
    """Return a manifest whose parts are what they should be.

    Raises:
        ValueError: not an object, or a part of another kind.
    """
    if not isinstance(manifest, dict):
        raise ValueError(f"a {type(manifest).__name__}, not an object")
    try:
        _READ.validate_python(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}") from None
    return manifest


def now() -> str:
    """Return the time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def config_hash(config: CampaignConfig) -> str:
    """Return the hash of what decides a campaign's candidates: everything but budget, device and name."""
    mapping = {k: v for k, v in config.to_mapping().items() if k not in ("budget", "device", "name")}
    # what is asked last decides no candidate; without judges of one's own and with the usual threshold the
    # hash is that of folders older than these keys
    verify = {k: v for k, v in mapping["verify"].items() if k not in _ASKED_LAST and (k != "also" or v)}
    if verify["predicted_enough"] == PREDICTED_ENOUGH:
        del verify["predicted_enough"]
    mapping["verify"] = verify
    # what files hold counts, not where they lie
    held = {key: [fingerprint(path) for path in paths] for key, paths in config.inputs.items()}
    if SEARCHED_WITH in held:
        mapping["search"] = {**mapping["search"], "surrogate": held.pop(SEARCHED_WITH)}
    mapping |= held
    return hashlib.sha256(json.dumps(mapping, sort_keys=True).encode()).hexdigest()[:16]


def step_notes(
    number: int,
    candidates: Sequence[Candidate],
    asked: Mapping[str, Any],
    seconds: float,
    recalled: Collection[str] = (),
) -> dict[str, Any]:
    """Return the counts of one step.

    Verifications are counted in the step that started them, as is who waited and is passed over there for its
    likeness to a verified one; everything else in the step that proposed.

    Args:
        number: of the step.
        candidates: all of its candidates, judged.
        asked: what was noted when it was proposed: crystals that the surrogate saw inside proposers
            (`evaluated`), and what the triage was asked.
        seconds: wall time.
        recalled: ids of those that earlier steps proposed.
    """
    counts = Counter(c.status for c in candidates)
    own = [c for c in candidates if c.id not in recalled]
    out = Counter(str(c.rule) for c in own if c.status is Status.SCREENED_OUT and c.rule is not None)
    n_out = sum(c.status is Status.SCREENED_OUT for c in own)
    return {
        "step": number,
        "evaluated": int(asked.get("evaluated", 0)),
        "proposed": len(own),
        "screened_out": n_out,
        "screened_out_by": dict(sorted(out.items())),
        "passed_over": sum(c.rule is Rule.LIKE_VERIFIED for c in candidates),
        "predicted": len(own) - n_out,
        "recalled": sum(c.verification is not None for c in candidates if c.id in recalled),
        "wait_no_more": sum(
            c.rule is Rule.LIKE_VERIFIED or c.status is Status.TRIAGED_OUT
            for c in candidates
            if c.id in recalled
        ),
        "started": sum(c.verification is not None for c in candidates),
        "verified": counts[Status.VERIFIED] + counts[Status.HIT],
        "failed": counts[Status.FAILED],
        "hits": counts[Status.HIT],
        "proposers": dict(sorted(Counter(c.proposer for c in own).items())),
        "seconds": round(seconds, 1),
        **_of_triage(asked, counts[Status.TRIAGED_OUT]),
    }


def _of_triage(asked: Mapping[str, Any], n_out: int) -> dict[str, Any]:
    """Return what a step's triage was asked and threw out; nothing where there was none."""
    if "looked_at" not in asked:
        return {}
    return {key: asked[key] for key in ("looked_at", "triaged", "triage_seconds")} | {"triaged_out": n_out}


def manifest(
    config: CampaignConfig,
    steps: Sequence[Mapping[str, Any]],
    description: Mapping[str, Any],
    baselines: Mapping[str, Any],
    run: Mapping[str, Any],
) -> dict[str, Any]:
    """Return manifest.json.

    Args:
        config: of the run.
        steps: notes of every step.
        description: versions, weights, judges, settings.
        baselines: look-up and orderings.
        run: created, status, stop_reason, seconds, config_hash.
    """
    total: Counter[str] = Counter()
    out: Counter[str] = Counter()
    of_triage = [key for key in _TRIAGE_SUMMED if any(key in notes for notes in steps)]
    for notes in steps:
        total.update({key: int(notes.get(key, 0)) for key in (*_SUMMED, *of_triage)})
        out.update(notes.get("screened_out_by", {}))
    return {
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "updated": now(),
        "command": f"inverse run config.yaml --seed {config.seed}",
        "seed": config.seed,
        "device": config.device,
        **run,
        **description,
        "steps": list(steps),
        "funnel": {
            **{key: total[key] for key in (*_SUMMED, *of_triage)},
            "screened_out": dict(sorted(out.items())),
        },
        "baselines": dict(baselines),
    }
