"""Records of a manifest, field by field of the type that they state: weights come from other people, too."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from surrogates.errors import CheckpointError

Record = TypeVar("Record")


def strict_record(kind: type[Record], raw: object, what: str) -> Record:
    """Return the dataclass of a record read from JSON; nothing is converted but lists to tuples.

    Args:
        kind: a frozen dataclass.
        raw: its fields; those that `kind` does not know are left out.
        what: names the record in errors.

    Raises:
        CheckpointError: not a mapping, a field that is missing, of another type, or not finite.
    """
    if not isinstance(raw, Mapping):
        raise CheckpointError(f"{what}: a {type(raw).__name__}, not a mapping")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    given = {name: raw[name] for name in known if name in raw}
    hashable: Any = kind
    try:
        checked = _model(hashable).model_validate_json(json.dumps(given))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{what}.{place}: {first['msg'].lower()}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{what}: {error}") from None
    return kind(**{name: getattr(checked, name) for name in given})


@lru_cache(maxsize=32)
def _model(kind: Any) -> type[BaseModel]:
    hints = get_type_hints(kind, include_extras=True)
    chosen: dict[str, Any] = {}
    for field in fields(kind):
        default = ... if field.default is MISSING and field.default_factory is MISSING else None
        chosen[field.name] = (hints[field.name], default)
    config = ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=())
    return create_model(kind.__name__, __config__=config, **chosen)
