"""How models/mini and the word vectors are made and scored. Nothing that serves imports it."""
