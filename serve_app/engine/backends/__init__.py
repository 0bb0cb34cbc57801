"""How the model is computed: the operations that t5.py is made of, one backend for each kind of machine."""
