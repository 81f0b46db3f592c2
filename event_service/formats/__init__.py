"""How times stand on pages, in every language: as ISO 8601 has them, with their zone."""
