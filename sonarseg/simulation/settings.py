"""The sonar and the sea floor of the simulated survey, in metres; frozen, so that results compare."""

from __future__ import annotations

from dataclasses import dataclass

CLASSES = ("mud", "sand_ripples", "rock", "seagrass")
SHARES = (0.50, 0.23, 0.14, 0.12)


@dataclass(frozen=True)
class SonarSettings:
    """A side-scan sonar towed over the strip's left edge, looking right.

    Attributes
    ----------
    altitude : float
        Height of the sonar over the mean sea floor, metres.
    first_range : float
        Ground range of the first column, metres.
    pixel : float
        Size of a pixel along track and in ground range, metres.
    looks : float
        Independent looks averaged a pixel: speckle intensity is Gamma distributed with this shape.
    noise_floor : float
        Intensity in shadow, relative to mud on a flat floor.
    residual_gain : float
        Size of the log intensity gain that time-varying gain leaves: a profile along the range and a
        slow drift of it, together a standard deviation of about nine tenths of this.
    ping_gain : float
        Standard deviation of the log intensity gain from ping to ping.
    grey_of_mud : float
        Mean grey level of mud on a flat floor, 0..255.
    """

    altitude: float = 7.0
    first_range: float = 5.0
    pixel: float = 0.1
    looks: float = 3.0
    noise_floor: float = 0.04
    residual_gain: float = 0.12
    ping_gain: float = 0.04
    grey_of_mud: float = 58.0


@dataclass(frozen=True)
class SeaFloor:
    """Backscatter strength (relative to mud) and relief of the classes.

    Attributes
    ----------
    strength : tuple of float
        Lambert coefficient of each class, relative to mud.
    strength_spread : float
        Standard deviation of the log strength from strip to strip.
    mud_roughness, rock_roughness : float
        Standard deviation of the height, metres.
    ripple_length, ripple_height : float
        Wavelength and crest-to-trough height, metres.
    boulder_radius : tuple of float
        Smallest and largest radius, metres; boulders are half-buried spheres.
    boulder_density : float
        Boulders a square metre of rock.
    canopy_height : float
        Height of a seagrass patch, metres.
    patch_length : float
        Correlation length of seagrass patches, metres.
    """

    strength: tuple[float, ...] = (1.0, 1.5, 2.4, 0.62)
    strength_spread: float = 0.12
    mud_roughness: float = 0.006
    rock_roughness: float = 0.10
    ripple_length: float = 0.8
    ripple_height: float = 0.09
    boulder_radius: tuple[float, float] = (0.2, 0.6)
    boulder_density: float = 0.22
    canopy_height: float = 0.28
    patch_length: float = 0.55
