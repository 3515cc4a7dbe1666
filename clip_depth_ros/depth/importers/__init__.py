"""Importers: other projects' weight files into this project's checkpoints."""
