"""The table, drawn once: what the infrastructure code deploys and what tests create are this very definition.

Law: plain values; nothing of AWS is imported here, so that the infrastructure code needs no SDK to read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from skyswarm.drivers.aws.session import Session

PARTITION: Final = "pk"
SORT: Final = "sk"
KEY_TYPE: Final = "S"
TTL: Final = "ttl"
"""Unix seconds after which DynamoDB may drop an item, days later perhaps. Only a broom: expiry is compared."""
BILLING: Final = "PAY_PER_REQUEST"


def definition(name: str) -> dict[str, Any]:
    """The arguments of CreateTable."""
    return {
        "TableName": name,
        "BillingMode": BILLING,
        "KeySchema": [
            {"AttributeName": PARTITION, "KeyType": "HASH"},
            {"AttributeName": SORT, "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": one, "AttributeType": KEY_TYPE} for one in (PARTITION, SORT)
        ],
    }


def create_table(session: Session, name: str) -> None:
    """Create the table and wait until it is there: for tests and emulators. A real one is made by the
    infrastructure code."""
    client = session.client("dynamodb")
    client.create_table(**definition(name))
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    client.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"AttributeName": TTL, "Enabled": True}
    )
