"""The synthesised templates say what the design says, read as plain JSON; the checkers find nothing that has no reason.

One synthesis per run, as `make synth` does it, with an index that cannot be reached and no account: neither is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.bundles import DEPLOY, Bundle, build, handler
from infra.catalog import CATALOG, Role, Row
from tests.support.tree import ROOT

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(300),  # the first test waits for the synthesis, on a machine that may be busy
]

AGENT, REPOSITORY = "skyswarm-me", "skyswarm-repository-commons"
STACKS: dict[str, Role] = {AGENT: "agent", REPOSITORY: "repository"}
MISSING = "the environment is missing: run `make env-deploy`"
NOWHERE = "http://127.0.0.1:9"
ALLOWED_STARS = {"/*", "/inbox/*"}
SECRETS = (
    "IAM5[Resource::arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:secret:skyswarm/"
    "<AWS::StackName>/*]"
)
Template = dict[str, Any]


@dataclass(frozen=True)
class Written:
    """What was made, and the folders of what the CDK would deploy and of what the console takes."""

    bundles: list[Bundle]
    assembly: Path
    console: Path


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Both at once, each in a process of its own."""
    assert (DEPLOY / "bin" / "python").exists(), MISSING
    bundles = build(CATALOG)  # fetches packages, once for an environment; the rest needs no network
    out = tmp_path_factory.mktemp("cdk")
    cdk = [str(DEPLOY / "bin" / "node"), str(DEPLOY / "node_modules" / "aws-cdk" / "bin" / "cdk"), "synth"]
    commands = {
        ROOT / "infra" / "aws": [*cdk, "--quiet", "--no-notices", "--output", str(out / "cdk.out")],
        ROOT: [
            str(DEPLOY / "bin" / "python"),
            "-m",
            "infra.aws.template",
            "--unfinished",
            str(out / "console"),
        ],
    }
    offline = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"), NOWHERE)
    env = {**_bare(), **offline, "HOME": str(out)}
    running = [
        subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for folder, command in commands.items()
    ]
    for process in running:
        said, _ = process.communicate()
        assert process.returncode == 0, said
    return Written(bundles, out / "cdk.out", out / "console")


@pytest.fixture(scope="session")
def assembly(written: Written) -> Path:
    return written.assembly


def _bare() -> dict[str, str]:
    """The environment without any word about an account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    return {
        **kept,
        "PATH": f"{DEPLOY / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture(scope="session")
def templates(assembly: Path) -> dict[str, Template]:
    return {name: json.loads((assembly / f"{name}.template.json").read_text("utf-8")) for name in STACKS}


@pytest.fixture(params=STACKS, ids=STACKS.values())
def template(request: pytest.FixtureRequest, templates: dict[str, Template]) -> Template:
    return templates[request.param]


@pytest.fixture
def role(request: pytest.FixtureRequest, template: Template, templates: dict[str, Template]) -> Role:
    return "agent" if template is templates[AGENT] else "repository"


@pytest.fixture
def agent(templates: dict[str, Template]) -> Template:
    return templates[AGENT]


def _of(template: Template, kind: str) -> dict[str, Any]:
    """Properties of the resources of a kind, by logical id."""
    found = template["Resources"].items()
    return {name: one.get("Properties", {}) for name, one in found if one["Type"] == kind}


def _title(row: Row) -> str:
    return row.name.title().replace("_", "")


def _statements(template: Template, row: Row) -> list[Any]:
    role = template["Resources"][f"{_title(row)}Role"]["Properties"]
    return [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _row(name: str) -> Row:
    return next(row for row in CATALOG if row.name == name)


def _rows(role: Role) -> list[Row]:
    return [row for row in CATALOG if role in row.roles]


# ---- the checkers ----------------------------------------------------------------------------
def test_cdk_nag_finds_nothing_without_a_reason(assembly: Path) -> None:
    report = json.loads((assembly / "validation-report.json").read_text("utf-8"))
    (nag,) = [one for one in report["pluginReports"] if one["pluginName"] == "AwsSolutions"]
    assert nag["violations"] == []
    acknowledged = nag["suppressedViolations"]
    assert all(len(one["reason"]) > 40 for one in acknowledged)
    assert {one["acknowledgedId"].rpartition("::AwsSolutions-")[2] for one in acknowledged} == {
        "APIG4", "L1", "S1", "SQS3", "IAM5[Resource::<Files.Arn>/*]", "IAM5[Resource::<Objects.Arn>/*]",
        "IAM5[Resource::<Inbox.Arn>/inbox/*]", "IAM5[Resource::arn:<AWS::Partition>:s3:::*/*]", SECRETS,
    }, "a new finding, or one that is no longer met"  # fmt: skip


def test_cfn_lint_finds_nothing(assembly: Path) -> None:
    files = [str(assembly / f"{name}.template.json") for name in STACKS]
    done = subprocess.run(
        [str(DEPLOY / "bin" / "cfn-lint"), *files], env=_bare(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---- functions -------------------------------------------------------------------------------
def test_the_functions_are_the_catalogs(template: Template, role: Role) -> None:
    functions = _of(template, "AWS::Lambda::Function")
    assert set(functions) == {f"{_title(row)}Function" for row in _rows(role)}
    for row in _rows(role):
        made = functions[f"{_title(row)}Function"]
        assert (made["Handler"], made["MemorySize"], made["Timeout"]) == (
            handler(row),
            row.memory,
            row.timeout,
        )
        assert (made["Runtime"], made["Architectures"]) == ("python3.13", ["arm64"])
        assert made["Role"] == {"Fn::GetAtt": [f"{_title(row)}Role", "Arn"]}, "a role of its own"
        assert made["LoggingConfig"]["LogGroup"] == {"Ref": f"{_title(row)}Log"}


def test_every_function_is_told_the_same(template: Template, role: Role) -> None:
    told = [one["Environment"]["Variables"] for one in _of(template, "AWS::Lambda::Function").values()]
    assert all(one == told[0] for one in told)
    always = {"SKYSWARM_TABLE", "SKYSWARM_KEYS", "SKYSWARM_URL", "SKYSWARM_ROLE", "SKYSWARM_NAME"}
    stores = {"SKYSWARM_INBOX", "SKYSWARM_OBJECTS", "SKYSWARM_FILES", "SKYSWARM_MOVES", "SKYSWARM_TASKS"}
    assert stores | always <= set(told[0])
    assert told[0]["SKYSWARM_ROLE"] == role
    assert {name for name in stores if told[0][name] == ""} == (set() if role == "agent" else stores)


def test_the_code_is_the_bundle(written: Written, template: Template, role: Role) -> None:
    functions = _of(template, "AWS::Lambda::Function")
    of_this_role = {row.name for row in _rows(role)}
    for bundle in written.bundles:
        if bundle.name in of_this_role:
            key = functions[f"{_title_of(bundle.name)}Function"]["Code"]["S3Key"]
            assert (written.assembly / f"asset.{key}").read_bytes() == bundle.path.read_bytes()


def _title_of(name: str) -> str:
    return name.title().replace("_", "")


def test_every_log_ends_and_every_function_writes_its_own(template: Template, role: Role) -> None:
    groups = _of(template, "AWS::Logs::LogGroup")
    assert set(groups) == {f"{_title(row)}Log" for row in _rows(role)} | {"DoorsLog"}
    assert all(group["RetentionInDays"] == {"Ref": "LogDays"} for group in groups.values())
    assert template["Parameters"]["LogDays"]["Default"] == "30"
    for row in _rows(role):
        (logs,) = [one for one in _statements(template, row) if one["Sid"] == "Logs"]
        assert logs["Resource"] == {"Fn::GetAtt": [f"{_title(row)}Log", "Arn"]}
        assert logs["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]


# ---- what they may ---------------------------------------------------------------------------
def test_no_action_has_a_wildcard_and_no_resource_is_everything(template: Template, role: Role) -> None:
    for row in _rows(role):
        for statement in _statements(template, row):
            assert statement["Effect"] == "Allow"
            assert all("*" not in action for action in _list(statement["Action"])), row.name
            for resource in _list(statement["Resource"]):
                assert resource != "*"
                ends = [part for part in _strings(resource) if "*" in part]
                assert statement["Sid"] == "FilesOfOthers" or set(ends) <= ALLOWED_STARS, (row.name, resource)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict):
        yield from _strings(list(value.values()))


def test_a_role_grants_what_its_row_needs_and_no_more(template: Template, role: Role) -> None:
    names = {
        "records read": {"RecordsRead"}, "records write": {"RecordsWrite"}, "deployment write": {"DeploymentWrite"},
        "objects read": {"ObjectsRead", "ObjectsList"}, "objects write": {"ObjectsWrite"},
        "files read": {"FilesRead", "FilesList"}, "files write": {"FilesWrite", "FilesUploads"},
        "files share": {"FilesShare"}, "files of others": {"FilesOfOthers"}, "inbox read": {"InboxRead", "InboxList"},
        "inbox write": {"InboxWrite"}, "moves send": {"MovesSend"}, "moves receive": {"MovesReceive"},
        "tasks send": {"TasksSend"}, "tasks receive": {"TasksReceive"}, "key sign": {"KeySign"},
        "key make": {"KeyMake"}, "key rotate": {"KeyRotate"}, "network out": set(),
    }  # fmt: skip
    for row in _rows(role):
        expected = {"Logs"}.union(*(names[need] for need in row.needs_as(role)))
        expected |= {"Lost"} if row.trigger in ("drop", "schedule") else set()
        assert {one["Sid"] for one in _statements(template, row)} == expected, row.name


def test_only_setup_says_which_agent_lives_here(template: Template, role: Role) -> None:
    for row in _rows(role):
        writes = {one["Sid"]: one["Condition"] for one in _statements(template, row) if one["Sid"].endswith("Write")
                  and "dynamodb:PutItem" in _list(one["Action"])}  # fmt: skip
        if "RecordsWrite" in writes:
            assert writes["RecordsWrite"] == {"ForAllValues:StringNotLike": {"dynamodb:LeadingKeys": ["#*"]}}
        assert ("DeploymentWrite" in writes) == (row.name == "setup")


def test_copies_from_others_never_reach_our_own_account(agent: Template) -> None:
    found = {
        row.name: one
        for row in _rows("agent")
        for one in _statements(agent, row)
        if one["Sid"] == "FilesOfOthers"
    }
    assert set(found) == {"move"}
    assert found["move"]["Condition"] == {
        "StringNotEquals": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}
    }
    assert all(action.startswith("s3:GetObject") for action in found["move"]["Action"])


def test_nobody_but_the_named_services_starts_a_function(template: Template) -> None:
    for name, permission in _of(template, "AWS::Lambda::Permission").items():
        assert permission["Principal"] in ("apigateway.amazonaws.com", "events.amazonaws.com")
        assert permission["SourceArn"], name
        if permission["Principal"] == "apigateway.amazonaws.com":
            assert _strings_of(permission["SourceArn"]).endswith(tuple(_doors(template))), name


def _strings_of(value: Any) -> str:
    return "".join(_strings(value))


def _doors(template: Template) -> set[str]:
    """The ends of the sources that may call: one per action, with what may follow it."""
    routes = [route["RouteKey"] for route in _of(template, "AWS::ApiGatewayV2::Route").values()]
    return {
        f"/*/{key.replace(' ', '').replace('{agent}', '*').removesuffix('/{rest+}')}" for key in routes
    } | {
        f"/*/{key.replace(' ', '').replace('{agent}', '*').removesuffix('/{rest+}')}*"
        for key in routes
        if key.endswith("{rest+}")
    }


# ---- what is kept ----------------------------------------------------------------------------
def test_what_holds_data_outlives_the_stack(template: Template) -> None:
    kinds = {
        "AWS::DynamoDB::Table",
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::SecretsManager::Secret",
    }
    for name, one in template["Resources"].items():
        if one["Type"] in kinds:
            assert (one["DeletionPolicy"], one["UpdateReplacePolicy"]) == (
                "RetainExceptOnCreate",
                "Retain",
            ), name
        else:
            assert one.get("DeletionPolicy", "Delete") == "Delete", name


def test_the_table_costs_nothing_idle_and_forgets_nothing(template: Template) -> None:
    (table,) = _of(template, "AWS::DynamoDB::Table").values()
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [
        ("pk", "HASH"),
        ("sk", "RANGE"),
    ]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert "DeletionProtectionEnabled" not in table, "a deployment that fails could not be taken back"
    assert "GlobalSecondaryIndexes" not in table


def test_buckets_are_private_encrypted_and_tidied(agent: Template) -> None:
    listing = [one for one in _statements(agent, _row("drop")) if one["Sid"] == "InboxList"]
    assert "Condition" not in listing[0], "else what is not there is told as forbidden"
    buckets = _of(agent, "AWS::S3::Bucket")
    assert set(buckets) == {"Inbox", "Objects", "Files"}
    for name, bucket in buckets.items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        rules = {one["Id"]: one for one in bucket["LifecycleConfiguration"]["Rules"]}
        assert rules["stale-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
        assert ("over" in rules) == (name == "Inbox")
        assert (bucket.get("VersioningConfiguration") == {"Status": "Enabled"}) == (name == "Files")
    assert _of(agent, "AWS::S3::Bucket")["Inbox"]["NotificationConfiguration"] == {
        "EventBridgeConfiguration": {"EventBridgeEnabled": True}
    }


def test_a_repository_keeps_no_files(templates: dict[str, Template]) -> None:
    assert not _of(templates[REPOSITORY], "AWS::S3::Bucket")
    assert set(_of(templates[REPOSITORY], "AWS::SQS::Queue")) == {"Lost"}


@pytest.mark.parametrize(("kind", "policies", "key"), [
    ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"), ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
])  # fmt: skip
def test_nothing_is_spoken_in_the_clear(template: Template, kind: str, policies: str, key: str) -> None:
    refused = set()
    for policy in _of(template, policies).values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny" and statement["Condition"] == {
                "Bool": {"aws:SecureTransport": "false"}
            }:
                assert statement["Principal"] == {"AWS": "*"}
                refused |= {name["Ref"] for name in _list(policy[key])}
    assert refused == set(_of(template, kind))


# ---- what starts, and what could not be done -------------------------------------------------
def test_queues_wait_longer_than_functions_and_put_aside(agent: Template) -> None:
    queues = _of(agent, "AWS::SQS::Queue")
    sources = _of(agent, "AWS::Lambda::EventSourceMapping")
    for row in CATALOG:
        if row.trigger in ("moves", "tasks"):
            name = row.trigger.title()
            assert queues[name]["VisibilityTimeout"] > row.timeout
            assert queues[name]["RedrivePolicy"]["deadLetterTargetArn"] == {
                "Fn::GetAtt": [f"{name}Dead", "Arn"]
            }
            assert queues[name]["RedrivePolicy"]["maxReceiveCount"] >= 10
            source = sources[f"{_title(row)}Source"]
            assert (source["BatchSize"], source["FunctionResponseTypes"]) == (1, ["ReportBatchItemFailures"])
            assert source["ScalingConfig"]["MaximumConcurrency"] >= 2
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())
    assert all(queue["MessageRetentionPeriod"] == 14 * 86_400 for queue in queues.values())


def test_every_last_queue_has_an_alarm(template: Template) -> None:
    queues = _of(template, "AWS::SQS::Queue")
    last = {name for name, queue in queues.items() if "RedrivePolicy" not in queue}
    watched = set()
    for alarm in _of(template, "AWS::CloudWatch::Alarm").values():
        assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
        assert alarm["AlarmActions"] == [
            {"Fn::If": ["HasAlarmEmail", {"Ref": "Alarms"}, {"Ref": "AWS::NoValue"}]}
        ]
        watched.add(alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0])
    assert watched == last


def test_events_are_tried_again_and_never_lost(template: Template, role: Role) -> None:
    rules = _of(template, "AWS::Events::Rule")
    assert set(rules) == ({"DropRule", "SweepRule"} if role == "agent" else {"SweepRule"})
    for rule in rules.values():
        (target,) = rule["Targets"]
        assert target["DeadLetterConfig"]["Arn"] == {"Fn::GetAtt": ["Lost", "Arn"]}
    for one in _of(template, "AWS::Lambda::EventInvokeConfig").values():
        assert one["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["Lost", "Arn"]}
    assert rules["SweepRule"]["ScheduleExpression"] == "rate(5 minutes)"


def test_our_own_statuses_drop_nothing(agent: Template) -> None:
    pattern = _of(agent, "AWS::Events::Rule")["DropRule"]["EventPattern"]
    assert pattern["detail"]["bucket"]["name"] == [{"Ref": "Inbox"}]
    assert pattern["detail"]["object"]["key"] == [{"anything-but": {"suffix": ".status.json"}}]


def test_moving_can_be_given_concurrency_of_its_own(agent: Template) -> None:
    reserved = {
        name: one["ReservedConcurrentExecutions"]
        for name, one in _of(agent, "AWS::Lambda::Function").items()
        if "ReservedConcurrentExecutions" in one
    }
    assert reserved == {
        "MoveFunction": {"Fn::If": ["IsMoveReserved", {"Ref": "MoveReserved"}, {"Ref": "AWS::NoValue"}]}
    }
    assert agent["Parameters"]["MoveReserved"]["Default"] == 0


# ---- the doors -------------------------------------------------------------------------------
def test_the_routes_are_the_catalogs_and_limited(template: Template, role: Role) -> None:
    wanted = set()
    for row in _rows(role):
        for route in row.routes_as(role):
            wanted.add(f"{route.method} /a/{{agent}}/v1/{route.action}")
            wanted |= {f"{route.method} /a/{{agent}}/v1/{route.action}/{{rest+}}"} if route.rest else set()
    routes = _of(template, "AWS::ApiGatewayV2::Route").values()
    assert {route["RouteKey"] for route in routes} == wanted
    assert len(routes) == len(wanted)
    (stage,) = _of(template, "AWS::ApiGatewayV2::Stage").values()
    assert stage["StageName"] == "$default"
    limits = {"ThrottlingBurstLimit": {"Ref": "DoorBurst"}, "ThrottlingRateLimit": {"Ref": "DoorRate"}}
    assert stage["DefaultRouteSettings"] == limits
    assert "$context.identity.sourceIp" in stage["AccessLogSettings"]["Format"]
    for integration in _of(template, "AWS::ApiGatewayV2::Integration").values():
        assert (integration["PayloadFormatVersion"], integration["IntegrationType"]) == ("2.0", "AWS_PROXY")
        assert 50 <= integration["TimeoutInMillis"] <= 30_000


def test_setup_is_asked_once_and_told_the_recovery_keys(template: Template, role: Role) -> None:
    (called,) = _of(template, "Custom::SkyswarmAgent").values()
    assert called["ServiceToken"] == {"Fn::GetAtt": ["SetupFunction", "Arn"]}
    assert called["Recovery"] == {"Ref": "Recovery"}
    assert (called["Role"], called["ServiceTimeout"]) == (role, 120)
    assert template["Outputs"]["AgentIdIs"]["Value"] == {"Fn::GetAtt": ["Agent", "Agent"]}


# ---- the template for the console ------------------------------------------------------------
def test_a_template_and_its_zips_are_all_that_the_console_needs(written: Written) -> None:
    console = written.console
    for name, role in (("skyswarm-agent", "agent"), ("skyswarm-repository", "repository")):
        template = json.loads((console / f"{name}.template.json").read_text("utf-8"))
        assert "BootstrapVersion" not in template["Parameters"], "it needs no bootstrapped account"
        assert "cdk-hnb659fds" not in json.dumps(template)
        functions = _of(template, "AWS::Lambda::Function")
        assert len(functions) == sum(role in row.roles for row in CATALOG)
        for function in functions.values():
            assert function["Code"]["S3Bucket"] == {"Ref": "AssetBucket"}
            prefix, key = function["Code"]["S3Key"]["Fn::Join"][1]
            assert prefix == {"Ref": "AssetPrefix"}
            assert (console / key).stat().st_size > 100_000
            assert function["Environment"]["Variables"]["SKYSWARM_NAME"] == {"Ref": "AWS::StackName"}
    assert (console / "skyswarm-agent.template.json").stat().st_size < 1_000_000, (
        "CloudFormation takes no larger one"
    )
