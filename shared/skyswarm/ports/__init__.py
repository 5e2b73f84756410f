"""What the use cases need from the world, written as promises; drivers keep them.

Law: protocols and their plain values only. A method is one atomic promise, and its first argument is the agent.
"""
