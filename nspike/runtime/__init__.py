"""What any part may need of the process: the version, threads, memory that is used again, exceptions in a line.

Nothing about images or networks.
"""
