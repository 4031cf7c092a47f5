"""Images in and out of files, as integers, in other colours and sizes, and their quality; the bundled ones in `bundled/`.

Nothing about networks.
"""
