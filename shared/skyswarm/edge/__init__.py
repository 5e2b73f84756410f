"""HTTP in, use cases, HTTP out: the one place that turns errors into statuses.

Law: no rule of the protocol is decided here; whatever serves it (a thread, a function) is chosen by who starts it.
"""
