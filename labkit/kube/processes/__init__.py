"""Processes: what runs in a cluster, and who starts it?

`spawner` is the controller's side of `spawned`, a small process that forks `pauses` and `container`s; `images` is the
list of what a container can run, `servers` the programs of that list.
"""
