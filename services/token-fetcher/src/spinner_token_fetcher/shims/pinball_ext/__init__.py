"""Stands in for Pinball, so that repositories written for it can be read on Python 3."""
