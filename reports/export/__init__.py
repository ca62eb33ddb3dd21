"""Tables and figures of the studies as files for other programs."""
