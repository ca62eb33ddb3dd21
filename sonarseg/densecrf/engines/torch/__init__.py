"""The engine of CUDA devices, in torch operations."""
