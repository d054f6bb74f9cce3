"""Turns task orders into workers and watches them."""
