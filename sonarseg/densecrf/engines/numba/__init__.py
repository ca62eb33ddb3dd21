"""The engine of the CPU, compiled by numba."""
