"""For authors of plugins: the package of a new one, and the checks behind `nspike.testing`."""
