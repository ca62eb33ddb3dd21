"""Engines of the dense CRF: numba on the CPU, torch on CUDA, pydensecrf as the reference."""
