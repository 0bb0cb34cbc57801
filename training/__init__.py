"""How `models/mini` is made and scored: the text it learns from, its lessons, and the questions it is asked."""
