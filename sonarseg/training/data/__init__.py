"""Tiles of a run: loaded, sampled, augmented, and fed to the device."""
