"""What summary.json says of a run that ended well."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from sonarseg.metrics.average_precision import average_precision
from sonarseg.metrics.confusion import pack_confusions
from sonarseg.training.config import RunConfig
from sonarseg.training.data.loading import RunData
from sonarseg.training.device import device_name
from sonarseg.training.run_folder.provenance import commit, versions
from sonarseg.training.validation import Validation

# Fields of a section that came after the first runs, with the value that means what a run did without them
ADDED_LATER: dict[str, dict[str, object]] = {
    "training": {
        "ema_epochs": 0.0,
        "restart_each_round": False,
        "labels_from": "cam",
        "cuda_graph": False,
        "fine_tune_epochs": 4,
        "fine_tune_rate": 1e-3,
        "warmup_rate": None,
    },
    "network": {
        "encoder_training": "end-to-end",
        "cell": 8,
        "local_statistics": True,
        "branch_channels": None,
    },
    "cam": {
        "setting": None,
        "loss": "binary",
        "form": "tile-max",
        "presence_weight": 1.0,
        "top_share": 0.3,
        "object_top_share": 0.15,
        "temperature": 0.5,
    },
}


def config_hash(config: RunConfig) -> str:
    """A short hash of what a run trains; where its survey lies, its device and what it scores do not count.

    A field of `ADDED_LATER` with the value there does not count either: runs begun without it go on.
    """
    left_out: dict[str, Any] = dict.fromkeys(
        ("survey", "tiles", "device", "runs_per_device", "score_maps"), True
    )
    for section, fields in ADDED_LATER.items():
        left_out[section] = {
            n for n, value in fields.items() if getattr(getattr(config, section), n) == value
        }
    # Where features are kept changes nothing of what they are.
    left_out.setdefault("network", set()).add("feature_gb")
    described = config.model_dump_json(exclude=left_out)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def summarise(config: RunConfig, data: RunData, last: Validation, figures: dict[str, Any]) -> dict[str, Any]:
    """Put together what a run gave, what it cost, and all that is needed to repeat it.

    Parameters
    ----------
    config : RunConfig
        With its batch size settled.
    last : Validation
        After the last epoch.
    figures : dict
        The other fields.
    """
    return {
        "finished": True,
        "stopped": None,
        **figures,
        "tiles": list(data.val.names),
        "confusions": pack_confusions(last.confusions) if len(data.val) else None,
        "confusions_shown": _confusions_shown(data, last),
        "average_precision": _average_precision(data, last),
        "batch_size": config.training.tiles_a_step,
        "deterministic": config.training.deterministic or data.device.type == "cpu",
        "device": device_name(data.device),
        "threads": torch.get_num_threads(),
        "seed": config.seed,
        "survey_fingerprint": data.survey.fingerprint,
        "versions": versions(data.device),
        "commit": commit(),
    }


def _confusions_shown(data: RunData, last: Validation) -> str | None:
    if not len(data.val) or last.confusions_shown is None:
        return None
    return pack_confusions(last.confusions_shown)


def _average_precision(data: RunData, last: Validation) -> dict[str, float | None]:
    if not len(data.val):
        return {}
    values = average_precision(data.val.shown, last.class_scores)
    return {
        name: value
        for name, value in zip(data.survey.classes, values, strict=True)
        if name != data.survey.background
    }
