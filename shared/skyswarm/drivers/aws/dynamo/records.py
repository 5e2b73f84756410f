"""The record ports in DynamoDB: the one import path of all of them.

Law: names only. A front door that needs one port imports its file.
"""

from skyswarm.drivers.aws.dynamo.announcements import DynamoAnnouncements
from skyswarm.drivers.aws.dynamo.held import DynamoHeld
from skyswarm.drivers.aws.dynamo.small import DynamoMeters, DynamoNonces, DynamoNotes, DynamoShares
from skyswarm.drivers.aws.dynamo.statements import DynamoStatements
from skyswarm.drivers.aws.dynamo.table import Table
from skyswarm.drivers.aws.dynamo.transfers import DynamoTransfers

__all__ = [
    "DynamoAnnouncements",
    "DynamoHeld",
    "DynamoMeters",
    "DynamoNonces",
    "DynamoNotes",
    "DynamoShares",
    "DynamoStatements",
    "DynamoTransfers",
    "Table",
]
