"""A function of the catalog as Lambda has it: code, role, log group, and what starts it when that is not a door.

Law: everything a function is comes from its row, its bundle and the stores. Every function knows the same names
(`environment`); what it may do with them is its role's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aws_cdk import Aws, CfnCondition, CfnDeletionPolicy, Fn, Stack, Token
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as assets

from infra.aws.permissions import put_aside, statements, write_logs
from infra.aws.settings import Parameters, Settings
from infra.aws.stores import Stores
from infra.bundles import LAMBDA, Bundle, handler
from infra.catalog import Role, Row

EVERY = "rate(5 minutes)"
STATUS = ".status.json"
HOUR = 3600


@dataclass(frozen=True, slots=True)
class Made:
    """A function and the role it runs as."""

    row: Row
    function: lambda_.CfnFunction
    role: iam.CfnRole


def environment(name: str, role: Role, stores: Stores, url: str) -> dict[str, str]:
    """What every function of a deployment is told. A store that this role lacks is an empty name."""
    return {
        "SKYSWARM_NAME": name,
        "SKYSWARM_ROLE": role,
        "SKYSWARM_URL": url,
        "SKYSWARM_TABLE": stores.table.ref,
        "SKYSWARM_KEYS": stores.secrets,
        **{f"SKYSWARM_{key.upper()}": _ref(stores.buckets.get(key)) for key in ("inbox", "objects", "files")},
        **{f"SKYSWARM_{key.upper()}": _ref(_main(stores, key)) for key in ("moves", "tasks")},
        "POWERTOOLS_SERVICE_NAME": "skyswarm",
        "POWERTOOLS_METRICS_NAMESPACE": "Skyswarm",
    }


def _main(stores: Stores, key: str) -> Any:
    pair = stores.queues.get(key)
    return pair.main if pair else None


def _ref(resource: Any) -> str:
    return str(resource.ref) if resource is not None else ""


def make(
    stack: Stack,
    row: Row,
    role: Role,
    stores: Stores,
    bundle: Bundle,
    variables: dict[str, str],
    settings: Settings,
    parameters: Parameters,
) -> Made:
    """The function, with its log group and its role."""
    title = title_of(row)
    group = logs.CfnLogGroup(
        stack, f"{title}Log", retention_in_days=Token.as_number(parameters.log_days.value)
    )
    group.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
    allowed = [*statements(row.needs_as(role), stores, settings.storages), write_logs(group.attr_arn)]
    if row.trigger in ("drop", "schedule"):
        allowed.append(put_aside(stores))
    as_role = iam.CfnRole(
        stack,
        f"{title}Role",
        description=row.does[:1].upper() + row.does[1:],
        assume_role_policy_document=iam.PolicyDocument(
            statements=[
                iam.PolicyStatement(
                    actions=["sts:AssumeRole"], principals=[iam.ServicePrincipal("lambda.amazonaws.com")]
                )
            ]
        ),
        policies=[
            iam.CfnRole.PolicyProperty(
                policy_name="needs", policy_document=iam.PolicyDocument(statements=allowed)
            )
        ],
    )
    arm = settings.target == LAMBDA
    function = lambda_.CfnFunction(
        stack,
        f"{title}Function",
        description=row.does[:1].upper() + row.does[1:],
        handler=handler(row),
        runtime=f"python{settings.target.python}",
        architectures=["arm64" if arm else "x86_64"],
        memory_size=row.memory,
        timeout=row.timeout,
        role=as_role.attr_arn,
        code=_code(stack, row, bundle, settings, parameters),
        environment=lambda_.CfnFunction.EnvironmentProperty(variables=variables),
        logging_config=lambda_.CfnFunction.LoggingConfigProperty(log_format="JSON", log_group=group.ref),
    )
    return Made(row, function, as_role)


def title_of(row: Row) -> str:
    """Its name in the template: FetchPiece."""
    return "".join(part.title() for part in row.name.split("_"))


def _code(
    stack: Stack, row: Row, bundle: Bundle, settings: Settings, parameters: Parameters
) -> lambda_.CfnFunction.CodeProperty:
    if settings.parameters:
        key = Fn.join("", [parameters.prefix.value_as_string, bundle.path.name])
        return lambda_.CfnFunction.CodeProperty(s3_bucket=parameters.bucket.value_as_string, s3_key=key)
    asset = assets.Asset(stack, f"{title_of(row)}Zip", path=str(bundle.path))
    return lambda_.CfnFunction.CodeProperty(s3_bucket=asset.s3_bucket_name, s3_key=asset.s3_object_key)


# ---- what starts them ------------------------------------------------------------------------
def from_queue(stack: Stack, made: Made, queue_arn: str, at_once: int) -> None:
    """One task a call: a task may take all of a function's time. `at_once` bounds how many run."""
    lambda_.CfnEventSourceMapping(
        stack,
        f"{title_of(made.row)}Source",
        function_name=made.function.ref,
        event_source_arn=queue_arn,
        batch_size=1,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=at_once),
    )


def reserve(made: Made, condition: CfnCondition, reserved: str) -> None:
    """Concurrency of its own, when the parameter says so."""
    value = Fn.condition_if(condition.logical_id, reserved, Aws.NO_VALUE)
    made.function.add_property_override("ReservedConcurrentExecutions", value)


def on_drop(stack: Stack, made: Made, stores: Stores) -> str:
    """Objects that come into the inbox, statuses excepted: those are ours. Returns the rule's ARN."""
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {
            "bucket": {"name": [stores.buckets["inbox"].ref]},
            "object": {"key": [{"anything-but": {"suffix": STATUS}}]},
        },
    }
    return _rule(stack, made, stores, event_pattern=pattern)


def on_schedule(stack: Stack, made: Made, stores: Stores) -> str:
    """Every five minutes. Returns the rule's ARN."""
    return _rule(stack, made, stores, schedule_expression=EVERY)


def _rule(stack: Stack, made: Made, stores: Stores, **when: Any) -> str:
    title = title_of(made.row)
    rule = events.CfnRule(
        stack,
        f"{title}Rule",
        description=made.row.does,
        state="ENABLED",
        targets=[
            events.CfnRule.TargetProperty(
                id="function",
                arn=made.function.attr_arn,
                dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=stores.lost.attr_arn),
                retry_policy=events.CfnRule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=HOUR, maximum_retry_attempts=20
                ),
            )
        ],
        **when,
    )
    lambda_.CfnPermission(
        stack,
        f"{title}Permission",
        action="lambda:InvokeFunction",
        function_name=made.function.ref,
        principal="events.amazonaws.com",
        source_arn=rule.attr_arn,
    )
    lambda_.CfnEventInvokeConfig(
        stack,
        f"{title}Invoke",
        function_name=made.function.ref,
        qualifier="$LATEST",
        maximum_event_age_in_seconds=HOUR,
        maximum_retry_attempts=2,
        destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
            on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=stores.lost.attr_arn)
        ),
    )
    return str(rule.attr_arn)
