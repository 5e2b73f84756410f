"""The one address of a deployment: an HTTP API with a route for every action that the catalog gives this role.

Law: what has no route starts no function. Who asks is checked in the functions (every request that matters is signed);
here only how many come at once, and how long one may take.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from aws_cdk import Aws, CfnDeletionPolicy, Stack, Token
from aws_cdk import aws_apigatewayv2 as gateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from infra.aws.lambdas import Made, title_of
from infra.aws.settings import Parameters
from infra.catalog import Role, Route

BELOW = "/a/{agent}/v1/"
MOST = 30.0
"""Seconds after which the gateway gives up, whatever a function does."""
LOGGED = ("requestId", "ip", "requestTime", "routeKey", "status", "responseLength", "integrationLatency")


def make_api(stack: Stack) -> gateway.CfnApi:
    """Made before the functions, which are told its address; its routes come after them. So there is no circle."""
    return gateway.CfnApi(stack, "Doors", name=Aws.STACK_NAME, protocol_type="HTTP")


def open_doors(
    stack: Stack, api: gateway.CfnApi, doors: Iterable[Made], role: Role, parameters: Parameters
) -> None:
    """Routes to the functions, and the stage with its limits and its log."""
    for made in doors:
        title = title_of(made.row)
        integration = gateway.CfnIntegration(
            stack,
            f"{title}Integration",
            api_id=api.ref,
            integration_type="AWS_PROXY",
            integration_uri=made.function.attr_arn,
            payload_format_version="2.0",
            timeout_in_millis=int(min(made.row.timeout + 1.0, MOST) * 1000),
        )
        for route in made.row.routes_as(role):
            for number, path in enumerate(_paths(route)):
                gateway.CfnRoute(
                    stack,
                    f"{title}{route.action.title().replace('_', '')}Route{number or ''}",
                    api_id=api.ref,
                    route_key=f"{route.method} {path}",
                    target=f"integrations/{integration.ref}",
                )
            lambda_.CfnPermission(
                stack,
                f"{title}{route.action.title().replace('_', '')}Permission",
                action="lambda:InvokeFunction",
                function_name=made.function.ref,
                principal="apigateway.amazonaws.com",
                source_arn=f"arn:{Aws.PARTITION}:execute-api:{Aws.REGION}:{Aws.ACCOUNT_ID}:{api.ref}/*/"
                f"{route.method}/a/*/v1/{route.action}{'*' if route.rest else ''}",
            )
    _stage(stack, api, parameters)


def _paths(route: Route) -> list[str]:
    path = BELOW + route.action
    return [path, f"{path}/{{rest+}}"] if route.rest else [path]


def _stage(stack: Stack, api: gateway.CfnApi, parameters: Parameters) -> None:
    group = logs.CfnLogGroup(stack, "DoorsLog", retention_in_days=Token.as_number(parameters.log_days.value))
    group.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
    names = {"ip": "identity.sourceIp"}
    line = json.dumps({name: f"$context.{names.get(name, name)}" for name in LOGGED})
    gateway.CfnStage(
        stack,
        "DoorsStage",
        api_id=api.ref,
        stage_name="$default",
        auto_deploy=True,
        default_route_settings=gateway.CfnStage.RouteSettingsProperty(
            throttling_rate_limit=Token.as_number(parameters.rate.value),
            throttling_burst_limit=Token.as_number(parameters.burst.value),
        ),
        access_log_settings=gateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=group.attr_arn, format=line
        ),
    )
