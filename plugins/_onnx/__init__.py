"""How an ONNX graph becomes a network.

Nodes are walked once, in order. A tensor is a constant, a feature map (a layer and how its axes are arranged) or a noise
level (`values`). Sizes are computed with, not reasoned about: an export of dynamic sizes is read for one image whose height
and width every size multiple up to 64 divides. `constants` folds nodes of constants alone; tables by operator make layers of
the others (`convolving`, `functions`, `arithmetic`, `moving`), which `building` collects.
"""
