"""Docker's networking without Docker: what does it build on a host, and why?"""
