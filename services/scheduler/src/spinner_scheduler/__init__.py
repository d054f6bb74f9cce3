"""Decides what runs when: one pure state machine per partition."""
