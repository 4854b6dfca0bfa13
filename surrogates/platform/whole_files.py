"""Files that appear whole or not at all: a kill, or a full disk, leaves the old file or the new one."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a new, empty file in the same folder, which takes the file's place when nothing was raised.

    Its name cannot be guessed and it is made anew: nothing that lies there already, no link above all, is
    opened, followed or overwritten. A link under the file's own name is replaced, what it names is not.

    Raises:
        OSError: as the file system says; the new file is gone then.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(temporary, flags, 0o666))
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def not_following(path: str, flags: int) -> int:
    """Return the number of an opened file, as `open(opener=...)` wants it; a link is refused.

    Raises:
        OSError: as the file system says.
    """
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Replace a file by one with this content; text as UTF-8, its line ends as they are.

    Raises:
        OSError: as the file system says.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def is_left_over(path: Path) -> bool:
    """Return whether a file has the name of one that `replacing` made, and a kill left.

    >>> is_left_over(Path(".config.yaml.0123456789abcdef.tmp")), is_left_over(Path("notes.tmp"))
    (True, False)
    """
    return _TEMPORARY.fullmatch(path.name) is not None
