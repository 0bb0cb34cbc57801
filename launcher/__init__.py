"""`make run`: backend and frontend on one machine, `python -m launcher.run`. A library too, which `bench` uses."""
