"""Settings of the whole process (a log level, a library's verbosity), changed for a while and given back."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

_T = TypeVar("_T")


class ProcessSetting(Generic[_T]):
    """One setting; several threads may hold it changed at once, and the last one gives it back."""

    def __init__(self, get: Callable[[], _T], put: Callable[[_T], None]) -> None:
        """Name how it is read and set."""
        self._get, self._put = get, put
        self._lock = threading.Lock()
        self._n_holders = 0
        self._before: _T | None = None

    @contextmanager
    def changed(self, change: Callable[[_T], _T]) -> Iterator[None]:
        """Keep the setting at what `change` makes of it while inside; whoever comes first decides."""
        with self._lock:
            if not self._n_holders:
                self._before = self._get()
                self._put(change(self._before))
            self._n_holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_holders -= 1
                if not self._n_holders:
                    self._put(self._before)  # type: ignore[arg-type]
