"""What does a terminal show? `labkit see`, `capture` and `trace`: a notebook's views in words, of whatever is there.

They run in a lab machine and know no Lab: the kernel is asked, whoever built the network, with whatever commands.
"""
