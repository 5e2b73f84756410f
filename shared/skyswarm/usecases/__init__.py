"""What an agent or a repository does: one function per thing a person or a peer can ask for.

Law: no I/O library, no clock, no dice, no process state: all of it comes in through `deps.Deps`.
"""
