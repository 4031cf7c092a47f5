"""Energy models over a ledger, and the cost tables that they read.

Modelled, never measured.
"""
