"""How models/mini and the word vectors are made and scored. Needs the `training` group; nothing that serves imports it."""
