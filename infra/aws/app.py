"""The CDK application: the stack of an agent and the stack of a repository. `cdk deploy skyswarm-me` deploys one.

Law: reads the context, builds the bundles, makes the stacks, has them checked. Needs no account, and no network once
the packages of the bundles have been fetched.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in (str(ROOT), str(ROOT / "shared")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

from aws_cdk import App, Validations  # noqa: E402 - only now all of it can be found
from cdk_nag import AwsSolutionsChecks  # noqa: E402

from infra.aws.deployment import deploy  # noqa: E402
from infra.aws.settings import Settings  # noqa: E402
from infra.bundles import BundleError, build  # noqa: E402
from infra.catalog import CATALOG  # noqa: E402


def main() -> None:
    """Synthesise into the folder that the CDK names."""
    app = App()
    settings = Settings.of(app)
    try:
        bundles = {bundle.name: bundle for bundle in build(CATALOG, settings.target, settings.bundles)}
    except BundleError as error:
        sys.exit(str(error))
    deploy(app, "agent", settings.name, settings, bundles)
    deploy(app, "repository", settings.repository, settings, bundles)
    if not settings.parameters:  # the same resources, which are checked as they are deployed
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()


if __name__ == "__main__":
    main()
