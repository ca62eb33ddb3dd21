"""`python -m sonarseg.densecrf` compiles the numba engine for this machine, so that no study waits for it."""

from __future__ import annotations

import time

from sonarseg.densecrf.engines.numba.engine import compile_engine


def main() -> None:
    """Compile and say how long it took."""
    started = time.monotonic()
    print("compiling the dense CRF for this machine, once, in up to a minute", flush=True)
    for channels in (1, 3):
        compile_engine(channels)
    print(f"the dense CRF is compiled ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
