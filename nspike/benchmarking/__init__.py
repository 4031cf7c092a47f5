"""Measuring a model under the literature's protocols."""
