"""The backend: GODEL on Ray Serve, behind a FastAPI ingress. `app.build` assembles it."""
