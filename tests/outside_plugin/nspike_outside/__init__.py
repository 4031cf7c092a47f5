"""Neurons from outside nspike."""
