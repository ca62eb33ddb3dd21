"""The self-training run: warm-up, then rounds of CAM, dense CRF and decoder training."""
