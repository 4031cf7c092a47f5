"""From an image file to a restored one, and folders of them.

Nothing about spikes: the engine knows them.
"""
