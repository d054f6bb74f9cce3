"""Classifies failures from their logs."""
