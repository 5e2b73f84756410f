"""The catalog's needs in IAM's words, one statement each.

Law: no wildcard in an action. A resource is one ARN of this deployment, or what lies under a prefix of its buckets; the
one exception says here why it is one, and `acknowledged.py` repeats it to the checker.

Which agent lives in a deployment is known only after `setup` has made it, so no policy can name it. None has to: a
table holds one agent, and the table is the border. What can be said beforehand with `dynamodb:LeadingKeys` is said: the
items of the deployment itself (`#…`) are written by `setup` alone, so no door can make the others believe in another
agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aws_cdk import Aws
from aws_cdk import aws_iam as iam

from infra.aws.stores import Stores
from infra.catalog import Need

DEPLOYMENT = "#*"
INBOX = "inbox/*"
READ_RECORDS = ("GetItem", "BatchGetItem", "Query", "ConditionCheckItem")
WRITE_RECORDS = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")
READ_OBJECT = ("GetObject",)
READ_VERSION = ("GetObject", "GetObjectVersion")
WRITE_FILE = ("PutObject", "AbortMultipartUpload", "ListMultipartUploadParts")


def statements(needs: Iterable[Need], stores: Stores, storages: tuple[str, ...]) -> list[iam.PolicyStatement]:
    """What a function with these needs may do. `storages`: more buckets of this account, to be used as `files` is."""
    return [statement for need in needs for statement in _granted(need, stores, storages)]


def _granted(need: Need, stores: Stores, storages: tuple[str, ...]) -> list[iam.PolicyStatement]:
    def files() -> list[str]:
        return [stores.buckets["files"].attr_arn, *(f"arn:{Aws.PARTITION}:s3:::{name}" for name in storages)]

    def under(buckets: list[str], prefix: str = "*") -> list[str]:
        return [f"{bucket}/{prefix}" for bucket in buckets]

    def bucket(name: str) -> list[str]:
        return [stores.buckets[name].attr_arn]

    def queue(name: str) -> list[str]:
        return [stores.queues[name].main.attr_arn]

    table = [stores.table.attr_arn]
    place = f"arn:{Aws.PARTITION}:secretsmanager:{Aws.REGION}:{Aws.ACCOUNT_ID}:secret"
    secret = [f"{place}:{stores.secrets}*"]
    granted: dict[Need, Callable[[], list[iam.PolicyStatement]]] = {
        "records read": lambda: [_allow("RecordsRead", "dynamodb", READ_RECORDS, table)],
        "records write": lambda: [
            _allow("RecordsWrite", "dynamodb", WRITE_RECORDS, table, _keys("StringNotLike", DEPLOYMENT))
        ],
        "deployment write": lambda: [
            _allow("DeploymentWrite", "dynamodb", WRITE_RECORDS[:2], table, _keys("StringLike", DEPLOYMENT))
        ],
        "objects read": lambda: [
            _allow("ObjectsRead", "s3", READ_OBJECT, under(bucket("objects"))),
            _allow("ObjectsList", "s3", ("ListBucket",), bucket("objects")),
        ],
        "objects write": lambda: [_allow("ObjectsWrite", "s3", ("PutObject",), under(bucket("objects")))],
        "files read": lambda: [
            _allow("FilesRead", "s3", READ_VERSION, under(files())),
            _allow("FilesList", "s3", ("ListBucket", "ListBucketVersions"), files()),
        ],
        "files write": lambda: [
            _allow("FilesWrite", "s3", WRITE_FILE, under(files())),
            _allow("FilesUploads", "s3", ("ListBucketMultipartUploads",), files()),
        ],
        # A bucket's policy is one document, so who may add a peer to it may change all of it. Block Public Access holds
        # against the worst, and only `work` has this: no door does.
        "files share": lambda: [
            _allow("FilesShare", "s3", ("GetBucketPolicy", "PutBucketPolicy"), bucket("files"))
        ],
        # Their names are known when a peer offers them. The owner's bucket policy is what admits us; this side only
        # says that it may be another account's, and never one of ours.
        "files of others": lambda: [
            _allow(
                "FilesOfOthers",
                "s3",
                READ_VERSION,
                [f"arn:{Aws.PARTITION}:s3:::*/*"],
                {"StringNotEquals": {"aws:ResourceAccount": Aws.ACCOUNT_ID}},
            )
        ],
        # Listing has no condition on a prefix: S3 says 404 for what is not there only to whoever may list, and a
        # reading of one key has no prefix, so it would be told 403.
        "inbox read": lambda: [
            _allow("InboxRead", "s3", READ_OBJECT, under(bucket("inbox"), INBOX)),
            _allow("InboxList", "s3", ("ListBucket",), bucket("inbox")),
        ],
        "inbox write": lambda: [_allow("InboxWrite", "s3", ("PutObject",), under(bucket("inbox"), INBOX))],
        "moves send": lambda: [_allow("MovesSend", "sqs", ("SendMessage",), queue("moves"))],
        "tasks send": lambda: [_allow("TasksSend", "sqs", ("SendMessage",), queue("tasks"))],
        "moves receive": lambda: [_receive("Moves", queue("moves"))],
        "tasks receive": lambda: [_receive("Tasks", queue("tasks"))],
        "key sign": lambda: [_allow("KeySign", "secretsmanager", ("GetSecretValue",), secret)],
        "key rotate": lambda: [
            _allow("KeyRotate", "secretsmanager", ("PutSecretValue", "UpdateSecretVersionStage"), secret)
        ],
        "key make": lambda: [_allow("KeyMake", "secretsmanager", ("CreateSecret",), secret)],
        "network out": lambda: [],  # a function outside a VPC reaches the internet as it is
    }
    return granted[need]()


def _allow(
    sid: str,
    service: str,
    actions: Iterable[str],
    resources: list[str],
    conditions: dict[str, object] | None = None,
) -> iam.PolicyStatement:
    named = [f"{service}:{action}" for action in actions]
    return iam.PolicyStatement(sid=sid, actions=named, resources=resources, conditions=conditions)


def _receive(name: str, queue: list[str]) -> iam.PolicyStatement:
    actions = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes")
    return _allow(f"{name}Receive", "sqs", actions, queue)


def _keys(operator: str, pattern: str) -> dict[str, object]:
    """Of every item that a write names. All of these writes name keys, so the set is never empty."""
    return {f"ForAllValues:{operator}": {"dynamodb:LeadingKeys": [pattern]}}


def write_logs(group_arn: str) -> iam.PolicyStatement:
    """Every function writes into its own group, which the stack has made."""
    return _allow("Logs", "logs", ("CreateLogStream", "PutLogEvents"), [group_arn])


def put_aside(stores: Stores) -> iam.PolicyStatement:
    """What is called without anybody waiting for it leaves its event where it can be had back."""
    return _allow("Lost", "sqs", ("SendMessage",), [stores.lost.attr_arn])
