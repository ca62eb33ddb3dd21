"""`python -m sonarseg.losses` compiles Lovász-Softmax for this machine, so that no run waits for it."""

from __future__ import annotations

import time

from sonarseg.losses.lovasz_numba import compile_rows


def main() -> None:
    """Compile and say how long it took."""
    started = time.monotonic()
    compile_rows()
    print(f"Lovász-Softmax is compiled ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
