"""Findings of cdk-nag that are meant to be, each with its reason.

Law: a reason for every one, on the one resource that has it, by finding where a rule has several. The checker tells us
when a new one comes; `tests/infra/test_templates.py` tells us when one of these is no longer met.
"""

from __future__ import annotations

from collections.abc import Iterator

from aws_cdk import Acknowledgment, CfnResource, Stack, Validations
from aws_cdk import aws_apigatewayv2 as gateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

PACK = "AwsSolutions::AwsSolutions-"
UNDER = "the objects of one bucket of this very deployment; which ones is the person's choice, so no list can be given"

ROUTE = (
    "Whoever asks anything that matters signs the request (RFC 9421), and the function checks the signature and the "
    "chain of vouches before anything else. An authorizer would know neither, and cost time and money."
)
RUNTIME = (
    "Python 3.13 is a supported runtime. The bytecode in the bundles is made by a CPython of that version (Pyodide "
    "0.29); both move together."
)
ACCESS_LOGS = (
    "Every address that is handed out is in the log of the function that signed it, with who asked and why. Access "
    "logs would be billed for as long as they are kept and say the same."
)
LAST_QUEUE = "This is the place for what could not be delivered, with an alarm; there is nothing behind it."
PREFIXES = {
    "<Objects.Arn>/*": UNDER,
    "<Files.Arn>/*": UNDER,
    "<Inbox.Arn>/inbox/*": "what lies under inbox/ in the inbox of this very deployment; people name their manifests",
    "arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:secret:skyswarm/<AWS::StackName>/*": "it is "
    "named by the agent's id, which is the hash of the keys that it holds: nobody knows it beforehand",
    "arn:<AWS::Partition>:s3:::*/*": "a provider copy reads from another account's bucket, named by the peer who "
    "grants it. The condition admits other accounts' buckets only, and theirs is the policy that decides",
}


def acknowledge(stack: Stack, storages: tuple[str, ...]) -> None:
    """Tell the checker what is meant in this stack. `storages`: buckets of the person's own, besides the stack's."""
    more = {
        f"arn:<AWS::Partition>:s3:::{name}/*": "the objects of a bucket that its owner named"
        for name in storages
    }
    for resource in stack.node.find_all():
        if isinstance(resource, CfnResource):
            for rule, reason in _meant(resource, PREFIXES | more):
                Validations.of(resource).acknowledge(Acknowledgment(id=PACK + rule, reason=reason))


def _meant(resource: CfnResource, prefixes: dict[str, str]) -> Iterator[tuple[str, str]]:
    if isinstance(resource, gateway.CfnRoute):
        yield "APIG4", ROUTE
    elif isinstance(resource, lambda_.CfnFunction):
        yield "L1", RUNTIME
    elif isinstance(resource, s3.CfnBucket):
        yield "S1", ACCESS_LOGS
    elif isinstance(resource, sqs.CfnQueue) and resource.node.id == "Lost":
        yield "SQS3", LAST_QUEUE
    elif isinstance(resource, iam.CfnRole):
        for prefix, reason in prefixes.items():
            yield f"IAM5[Resource::{prefix}]", reason
