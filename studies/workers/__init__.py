"""Workers: processes here or on a cluster, and the devices that they lease."""
