"""How images are degraded, for training and under the literature's protocols, and the images themselves, batch by batch.

Nothing about networks beyond the planes that they take.
"""
