"""How bytes are cut, hashed, named and proved (`spec/pieces.md`).

Law: no I/O, no time, no randomness. Imports errors only.
"""
