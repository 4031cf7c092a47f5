"""Inspecting a run: certificates, traces, differences, replay, the output after every step.

Nothing here changes a run.
"""
