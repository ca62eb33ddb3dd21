"""What a run was made with: versions, and the commit of a checkout of sonarseg."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import sonarseg

PACKAGES = ("torchvision", "numpy", "numba")


def versions(device: torch.device) -> dict[str, str]:
    """Versions of all that decides a run's figures."""
    found = {
        "sonarseg": sonarseg.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
    # Only encoders of timm need it.
    with suppress(PackageNotFoundError):
        found["timm"] = version("timm")
    if device.type == "cuda":
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return found


def commit() -> str | None:
    """The git commit of sonarseg, `-changed` behind it where files differ; None without a checkout."""
    root = Path(sonarseg.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    head = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return None if head is None else head + ("-changed" if changed else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        ended = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None
