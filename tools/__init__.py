"""What developers run: `python -m tools.NAME`, from the repository's root."""
