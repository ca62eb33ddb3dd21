"""Segmentation of side-scan sonar tiles from image-level labels."""

import os

__version__ = "0.1.0"

# Torch's threads wait for each other by spinning unless told otherwise before they start; on a machine
# that does anything else at the same time this slows a run down many times.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Torch asks the driver's library which devices there are. Asking CUDA itself would settle for this process
# which devices it sees, before one is leased.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
