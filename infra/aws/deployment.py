"""A whole deployment as one stack: an agent, or a repository. The catalog says of which functions it consists.

Law: only puts together. The order is what keeps it free of circles: stores and the address first, the functions that
are told of both, then what calls the functions.
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Annotations, App, Aws, CfnOutput, CfnResource, DefaultStackSynthesizer, Stack, Tags

from infra.aws import lambdas
from infra.aws.acknowledged import acknowledge
from infra.aws.alarms import make_alarms
from infra.aws.doors import make_api, open_doors
from infra.aws.lambdas import Made
from infra.aws.settings import Parameters, Settings
from infra.aws.stores import Stores, lost_policy, make_stores
from infra.bundles import Bundle
from infra.catalog import CATALOG, Role
from skyswarm import __version__

TASKS_AT_ONCE = 2
PATIENCE = 120
"""Seconds that the stack waits for `setup` to answer before it gives up."""


def deploy(app: App, role: Role, name: str, settings: Settings, bundles: Mapping[str, Bundle]) -> Stack:
    """The stack of one agent or one repository. As a template of parameters it takes its name from the stack's."""
    stack = Stack(
        app,
        f"skyswarm-{'' if role == 'agent' else 'repository-'}{name}",
        description=f"Skyswarm {__version__}: {role}",
        synthesizer=DefaultStackSynthesizer(generate_bootstrap_version_rule=not settings.parameters),
    )
    name = Aws.STACK_NAME if settings.parameters else name
    Tags.of(stack).add("skyswarm", name)
    parameters = Parameters(stack, role, settings)
    stores = make_stores(stack, role)
    api = make_api(stack)
    url = parameters.url(api.attr_api_endpoint)
    variables = lambdas.environment(name, role, stores, url)
    made = {
        row.name: lambdas.make(stack, row, role, stores, bundles[row.name], variables, settings, parameters)
        for row in CATALOG
        if role in row.roles
    }
    open_doors(stack, api, (one for one in made.values() if one.row.is_door), role, parameters)
    _start(stack, made, stores, parameters)
    agent = _setup(stack, made["setup"], name, role, url, parameters)
    dead = {f"{key.title()}Dead": pair.dead for key, pair in stores.queues.items()} | {"Lost": stores.lost}
    make_alarms(stack, parameters, dead)
    _tell(stack, stores, url, agent)
    missing = [row.name for row in CATALOG if role in row.roles and not bundles[row.name].complete]
    if missing:
        Annotations.of(stack).add_info(f"no handler is written yet for {', '.join(missing)}")
    acknowledge(stack, settings.storages)
    return stack


def _start(stack: Stack, made: Mapping[str, Made], stores: Stores, parameters: Parameters) -> None:
    rules = []
    for one in made.values():
        if one.row.trigger == "drop":
            rules.append(lambdas.on_drop(stack, one, stores))
        elif one.row.trigger == "schedule":
            rules.append(lambdas.on_schedule(stack, one, stores))
        elif one.row.trigger == "tasks":
            lambdas.from_queue(stack, one, stores.queues["tasks"].main.attr_arn, TASKS_AT_ONCE)
        elif one.row.trigger == "moves":
            lambdas.from_queue(stack, one, stores.queues["moves"].main.attr_arn, parameters.moves_at_once)
            lambdas.reserve(one, parameters.is_reserved, parameters.move_reserved.value_as_string)
    lost_policy(stack, stores, rules)


def _setup(stack: Stack, setup: Made, name: str, role: Role, url: str, parameters: Parameters) -> str:
    """CloudFormation calls `setup` when the stack is made and whenever one of these properties changes (a new version).
    Returns the agent's id, as `setup` answers it."""
    called = CfnResource(
        stack,
        "Agent",
        type="Custom::SkyswarmAgent",
        properties={
            "ServiceToken": setup.function.attr_arn,
            "ServiceTimeout": PATIENCE,
            "Name": name,
            "Role": role,
            "Url": url,
            "Recovery": parameters.recovery.value_as_string,
            "Version": __version__,
        },
    )
    return str(called.get_att("Agent").to_string())


def _tell(stack: Stack, stores: Stores, url: str, agent: str) -> None:
    outputs = {"AgentId": agent, "Url": url, "Endpoint": f"{url}/a/{agent}", "Table": stores.table.ref}
    outputs["Keys"] = stores.secrets
    outputs |= {f"{key.title()}Bucket": bucket.ref for key, bucket in stores.buckets.items()}
    outputs |= {f"{key.title()}Queue": pair.main.ref for key, pair in stores.queues.items()}
    outputs |= {f"{key.title()}DeadQueue": pair.dead.ref for key, pair in stores.queues.items()}
    outputs["LostQueue"] = stores.lost.ref
    for key, value in outputs.items():
        CfnOutput(stack, f"{key}Output", value=value).override_logical_id(f"{key}Is")
