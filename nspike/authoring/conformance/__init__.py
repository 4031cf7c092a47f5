"""The checks behind `nspike.testing`, which is the public face: one file a subject."""
