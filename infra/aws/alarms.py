"""An alarm for every queue of what could not be done, and whom it tells.

Law: nothing here knows what a task is. The first ten alarms of an account are free; a stack has three.
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Aws, Fn, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

from infra.aws.settings import Parameters


def make_alarms(stack: Stack, parameters: Parameters, dead: Mapping[str, sqs.CfnQueue]) -> None:
    """One message in one of these queues rings."""
    topic = _topic(stack, parameters)
    for name, queue in dead.items():
        cloudwatch.CfnAlarm(
            stack,
            f"{name}Alarm",
            alarm_description=f"Something could not be done and lies in {name}. Look with: skyswarm dlq ls",
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions=[cloudwatch.CfnAlarm.DimensionProperty(name="QueueName", value=queue.attr_queue_name)],
            statistic="Maximum",
            period=300,
            evaluation_periods=1,
            threshold=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
            treat_missing_data="notBreaching",
            alarm_actions=[
                Fn.condition_if(parameters.has_email.logical_id, topic.ref, Aws.NO_VALUE).to_string()
            ],
        )


def _topic(stack: Stack, parameters: Parameters) -> sns.CfnTopic:
    topic = sns.CfnTopic(
        stack,
        "Alarms",
        subscription=[
            sns.CfnTopic.SubscriptionProperty(endpoint=parameters.email.value_as_string, protocol="email")
        ],
    )
    policy = sns.CfnTopicPolicy(
        stack,
        "AlarmsPolicy",
        topics=[topic.ref],
        policy_document=iam.PolicyDocument(
            statements=[
                iam.PolicyStatement(
                    sid="Alarms",
                    principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[topic.ref],
                    conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
                ),
                iam.PolicyStatement(
                    sid="TlsOnly",
                    effect=iam.Effect.DENY,
                    principals=[iam.AnyPrincipal()],
                    actions=["sns:Publish"],
                    resources=[topic.ref],
                    conditions={"Bool": {"aws:SecureTransport": "false"}},
                ),
            ]
        ),
    )
    for resource in (topic, policy):
        resource.cfn_options.condition = parameters.has_email
    return topic
