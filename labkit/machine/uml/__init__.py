"""How does a lab machine run without any privilege? As kind `uml`: User-Mode Linux, a Linux that is a program.

    host      boots the guest, and waits: `labkit run --machine uml`, the kernel `labkit-uml`
    guest     process 1 of the guest: runs labkit's commands there, each as a child
    line      the one connection between the two: frames over a socket, streams over frames
    relay     what both sides do with a stream: from a descriptor to the line, from the line to a descriptor
    front     a command in the guest, seen from the terminal that asked for it
    guard     keeps the guest's processes together, and lets none outlive the launcher
    landlock  what the guest cannot write, whoever is root in it
    calls     which system calls it may make on the computer
    registers how it keeps the registers of its processes on a processor with AMX
    needs     what User-Mode Linux needs of a computer, and the sentence where it is missing
    door      the way into a running guest for `labkit shell`

The guest plays the computer: a lab machine in it is made by the same code as anywhere (kind `namespaces`), so that
lessons look the same. Source: Documentation/virt/uml/user_mode_linux_howto_v2.rst in the kernel.
"""
