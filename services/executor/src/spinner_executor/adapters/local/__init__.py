"""The back end that runs every try in a process of its own on this machine."""
