"""The chat's web pages: a process of its own that talks to the backend over HTTP and keeps the conversations."""
