"""The record ports on one DynamoDB table, on demand.

Law: every partition key begins with the agent's id and a `#`, so that a condition on leading keys can hold a role to
one agent. Reads are strongly consistent. What must hold together is one transaction; nothing depends on the broom.
How the table is laid out, what it costs and what it bears: `shared/decisions/aws-dynamodb.md`.
"""
