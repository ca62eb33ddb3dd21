"""What is kept for the next tile or trial, such as lattices of a shape, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Kept = TypeVar("Kept", bound=_Sized)


class KeptLattices(Generic[Kept]):
    """The lattices used last.

    Parameters
    ----------
    most_bytes : int
        Memory of all that are kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Memory of those kept now."""
        return sum(lattice.nbytes for lattice in self._kept.values())

    def get(self, place: Hashable, build: Callable[[], Kept]) -> Kept:
        """Give what is kept under a name, or build it; threads may build one twice."""
        with self._lock:
            if place in self._kept:
                self._kept.move_to_end(place)
                return self._kept[place]
        lattice = build()
        with self._lock:
            self._kept[place] = lattice
            while self.nbytes > self.most_bytes:
                self._kept.popitem(last=False)
        return lattice

    def clear(self) -> None:
        """Keep none."""
        with self._lock:
            self._kept.clear()
