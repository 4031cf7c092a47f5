"""The first-party plugins of nspike. They use only the public names of nspike."""
