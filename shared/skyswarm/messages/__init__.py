"""What goes over the wire and is signed: bytes in, frozen values out, or an error (`spec/messages.md`).

Law: no I/O, no time, no randomness, no keys of its own. Imports pieces and errors.
"""
