"""Kubernetes' networking without Kubernetes: what does a cluster build on its nodes, and why?

`cni` is the interface by which a runtime has a pod wired: any plugin, called as libcni calls it. The cluster itself
(nodes, pods, their YAML) stands beside it.
"""
