"""Whom to believe, computed from statements (`spec/trust.md`) and from logs (`spec/repositories.md`).

Law: pure functions of their arguments. Imports messages, pieces and errors.
"""
