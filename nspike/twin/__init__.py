"""The same network as a PyTorch module, to be trained where there is a GPU, and back.

PyTorch is imported where a module is made (`making`, and `modules`, `neurons`, `spiking`, `plain` below it); what reads a
state dict back (`slots`, `state`) does without.
"""
