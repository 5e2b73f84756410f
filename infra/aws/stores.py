"""What a deployment keeps: a table, buckets, and queues with the queues behind them. Its keys' secret is not made here.

Law: private, encrypted, TLS only, and nothing that holds a person's data goes when the stack goes. Only L1 resources,
so the template has what is written here and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Aws, CfnDeletionPolicy, CfnResource, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

from infra.catalog import CATALOG, Role
from skyswarm.drivers.aws.dynamo.schema import TTL, definition

STALE_UPLOAD = 7
"""Days until an upload that nobody finished is given up by the bucket itself; `sweep` does it sooner."""
OLD_VERSION = 30
"""Days that a replaced or deleted file can still be had back."""
IN_THE_INBOX = 90
"""Days that manifests and statuses lie in the inbox. A manifest counts at the moment it is dropped."""
RECEIVED = 50
"""Deliveries until a task is put aside. What is put off counts too, so this is no small number."""
SPARE = 60
"""Seconds between the end of a function's time and the next delivery of its task."""
TWO_WEEKS = 14 * 86_400


@dataclass(frozen=True, slots=True)
class QueuePair:
    """A queue, and where its tasks go that nobody could do."""

    main: sqs.CfnQueue
    dead: sqs.CfnQueue


@dataclass(frozen=True, slots=True)
class Stores:
    """`secrets`: what the names of this deployment's secrets begin with; the keys' driver makes them, one per agent.
    `lost`: events that no function took. A repository has no buckets and no queues but that one."""

    table: dynamodb.CfnTable
    secrets: str
    lost: sqs.CfnQueue
    buckets: dict[str, s3.CfnBucket]
    queues: dict[str, QueuePair]


def make_stores(stack: Stack, role: Role) -> Stores:
    """All stores of a deployment of this role."""
    agent = role == "agent"
    return Stores(
        table=_table(stack),
        secrets=f"skyswarm/{Aws.STACK_NAME}/",
        lost=_queue(stack, "Lost"),
        buckets={name: _bucket(stack, name) for name in ("inbox", "objects", "files")} if agent else {},
        queues={name: _pair(stack, name) for name in ("moves", "tasks")} if agent else {},
    )


def _keep(resource: CfnResource) -> None:
    """It outlives the stack; a first deployment that fails leaves nothing behind (so the table has no deletion
    protection, which would also hold against that)."""
    resource.cfn_options.deletion_policy = CfnDeletionPolicy.RETAIN_EXCEPT_ON_CREATE
    resource.cfn_options.update_replace_policy = CfnDeletionPolicy.RETAIN


def _table(stack: Stack) -> dynamodb.CfnTable:
    drawn = definition("")
    table = dynamodb.CfnTable(
        stack,
        "Table",
        billing_mode=drawn["BillingMode"],
        key_schema=[
            dynamodb.CfnTable.KeySchemaProperty(attribute_name=one["AttributeName"], key_type=one["KeyType"])
            for one in drawn["KeySchema"]
        ],
        attribute_definitions=[
            dynamodb.CfnTable.AttributeDefinitionProperty(
                attribute_name=one["AttributeName"], attribute_type=one["AttributeType"]
            )
            for one in drawn["AttributeDefinitions"]
        ],
        time_to_live_specification=dynamodb.CfnTable.TimeToLiveSpecificationProperty(
            attribute_name=TTL, enabled=True
        ),
        point_in_time_recovery_specification=dynamodb.CfnTable.PointInTimeRecoverySpecificationProperty(
            point_in_time_recovery_enabled=True
        ),
    )
    _keep(table)
    return table


def _bucket(stack: Stack, name: str) -> s3.CfnBucket:
    rules = [
        s3.CfnBucket.RuleProperty(
            id="stale-uploads",
            status="Enabled",
            abort_incomplete_multipart_upload=s3.CfnBucket.AbortIncompleteMultipartUploadProperty(
                days_after_initiation=STALE_UPLOAD
            ),
        )
    ]
    if name == "inbox":
        rules.append(s3.CfnBucket.RuleProperty(id="over", status="Enabled", expiration_in_days=IN_THE_INBOX))
    if name == "files":
        rules.append(
            s3.CfnBucket.RuleProperty(
                id="old-versions",
                status="Enabled",
                noncurrent_version_expiration=s3.CfnBucket.NoncurrentVersionExpirationProperty(
                    noncurrent_days=OLD_VERSION
                ),
                expired_object_delete_marker=True,
            )
        )
    bucket = s3.CfnBucket(
        stack,
        name.title(),
        bucket_encryption=s3.CfnBucket.BucketEncryptionProperty(
            server_side_encryption_configuration=[
                s3.CfnBucket.ServerSideEncryptionRuleProperty(
                    server_side_encryption_by_default=s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
                        sse_algorithm="AES256"
                    )
                )
            ]
        ),
        public_access_block_configuration=s3.CfnBucket.PublicAccessBlockConfigurationProperty(
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        ),
        ownership_controls=s3.CfnBucket.OwnershipControlsProperty(
            rules=[s3.CfnBucket.OwnershipControlsRuleProperty(object_ownership="BucketOwnerEnforced")]
        ),
        lifecycle_configuration=s3.CfnBucket.LifecycleConfigurationProperty(rules=rules),
    )
    if name == "files":
        bucket.versioning_configuration = s3.CfnBucket.VersioningConfigurationProperty(status="Enabled")
    if name == "inbox":
        bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
                event_bridge_enabled=True
            )
        )
    _keep(bucket)
    policy = s3.CfnBucketPolicy(
        stack,
        f"{name.title()}Policy",
        bucket=bucket.ref,
        policy_document=iam.PolicyDocument(
            statements=[tls_only("s3:*", bucket.attr_arn, f"{bucket.attr_arn}/*")]
        ),
    )
    _keep(policy)
    return bucket


def tls_only(action: str, *resources: str) -> iam.PolicyStatement:
    """Refuses whoever comes in the clear."""
    return iam.PolicyStatement(
        sid="TlsOnly",
        effect=iam.Effect.DENY,
        principals=[iam.AnyPrincipal()],
        actions=[action],
        resources=list(resources),
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )


def _pair(stack: Stack, name: str) -> QueuePair:
    (row,) = (row for row in CATALOG if row.trigger == name)
    dead = _queue(stack, f"{name.title()}Dead")
    main = _queue(
        stack,
        name.title(),
        visibility_timeout=row.timeout + SPARE,
        redrive_policy={"deadLetterTargetArn": dead.attr_arn, "maxReceiveCount": RECEIVED},
    )
    _queue_policy(stack, f"{name.title()}Policy", main)
    _queue_policy(stack, f"{name.title()}DeadPolicy", dead)
    return QueuePair(main, dead)


def _queue(stack: Stack, name: str, **more: object) -> sqs.CfnQueue:
    return sqs.CfnQueue(stack, name, sqs_managed_sse_enabled=True, message_retention_period=TWO_WEEKS, **more)


def _queue_policy(stack: Stack, name: str, queue: sqs.CfnQueue, *more: iam.PolicyStatement) -> None:
    sqs.CfnQueuePolicy(
        stack,
        name,
        queues=[queue.ref],
        policy_document=iam.PolicyDocument(statements=[tls_only("sqs:*", queue.attr_arn), *more]),
    )


def lost_policy(stack: Stack, stores: Stores, rules: list[str]) -> None:
    """Lets these rules of EventBridge, and nobody else outside the stack, put aside what they could not deliver."""
    _queue_policy(
        stack,
        "LostPolicy",
        stores.lost,
        iam.PolicyStatement(
            sid="Undelivered",
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[stores.lost.attr_arn],
            conditions={"ArnEquals": {"aws:SourceArn": rules}},
        ),
    )
