"""How many replicas a load needs, by a simulation that runs Serve's autoscaling and this project's own classes."""
