"""`make manifests`: the Kubernetes manifests, rendered and checked without a cluster.

`python -m manifest_checks` makes the serve configs anew, renders every overlay with `kubectl kustomize` and prints each
problem with the file and the field to correct.
"""
