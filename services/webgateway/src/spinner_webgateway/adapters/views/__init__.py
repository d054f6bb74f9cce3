"""Reads of the views, in the shapes of the REST API as plain JSON values: the one place that knows both.

Every function takes an open connection and returns what the models in `api/models.py` describe; tests hold the two
together. Plain values are serialized without a detour over model objects, which costs more than the query.
"""
