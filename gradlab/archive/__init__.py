"""Labelled data and its keeping: schema, archive on disk, provenance, check of structure, summary."""
