"""Where does it run? The lab machine: a private Linux for a notebook, a command or a test.

    launch        launcher: takes the namespaces, starts init, waits, passes signals on
    init          process 1 of the lab machine: prepares it, reaps, forwards signals, ends with the launcher
    private       what init prepares: mounts, sysctls, programs, capabilities
    kernel        the Jupyter kernel `labkit`, on sockets bound on the computer
    standby       who answers in a notebook when there is no lab machine?
    run, shell    a command, or a shell, in a fresh or a running lab machine
    find, join    which lab machines run here, and how does one get in?
    probe         what can this computer do? found by trying; `doctor` prints it
    prove         does the computer's network stay as it was?

It stands beside the rest of labkit: it imports `net` and `errors` only, and nothing above needs it.
"""
