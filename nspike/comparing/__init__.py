"""Measuring methods side by side under one protocol: planning rows, making their models, measuring, resuming, tables and a page.

Never a way of its own to restore or to convert: rows run through `nspike.restore`, models through `nspike.convert` and training.
"""
