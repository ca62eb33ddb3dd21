"""A CAM run on the features of a frozen encoder: seconds once they are stored, and with computing them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from result_rows import Row, row

# As many train tiles as sss-reservoir has, with as many pixels
TILES, TRAIN, SIZE = 425, 255, 228
CONFIG = {
    "survey": "../survey",
    "tiles": "../tiles",
    "network": {"encoder": "efficientnet_lite0", "weights": "imagenet", "encoder_training": "frozen"},
    "cam": {"loss": "candidate", "form": "softmax", "scales": [1.0]},
    "training": {"warmup_epochs": 12, "head_factor": 2.0, "ema_epochs": 1.5},
    "stage": "warm-up",
    "device": "cpu",
}


def frozen_cam_case(folder: Path) -> Row:
    """Seconds of a whole run, process start included, on one core."""
    from sonarseg.simulation.survey import simulate

    simulate(folder / "survey", tiles=TILES, size=SIZE, seed=0)
    first, second = (_seconds(folder / name) for name in ("first", "second"))
    case = (
        f"a CAM run on frozen features, 1 core, {TRAIN} train tiles of {SIZE} x {SIZE}, 12 epochs: "
        "features stored (as 'ours') and computed first (as 'peer', which is ours too)"
    )
    return row(case, second, first, "s")


def _seconds(run_dir: Path) -> float:
    run_dir.mkdir()
    (run_dir / "config.json").write_text(json.dumps(CONFIG))
    one_core = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    began = time.perf_counter()
    command = [sys.executable, "-m", "sonarseg", str(run_dir)]
    subprocess.run(command, env=one_core, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
