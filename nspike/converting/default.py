"""What a conversion takes where nothing is said."""

TIMESTEPS = 10
"""T."""
