"""Writes what CloudFormation makes of a SAM template: translate.py TEMPLATE JSON.

Linters that know CloudFormation see more of this than of the template, and aliases and merges are written out.
"""

import json
import sys

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform


class NoManagedPolicies:
    """There are none in the template, so nobody has to be asked for their names."""

    def load(self):
        return {}


def main(template, to):
    with open(template, encoding="utf-8") as file:
        # What is an alias in YAML is one object here, and the translator changes objects in place.
        parsed = json.loads(json.dumps(yaml_parse(file.read())))
    for resource in parsed["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # Where `sam deploy` would have put the code.
            resource["Properties"].setdefault("CodeUri", "s3://bucket/key")
    parsed["Globals"]["Function"].pop("CodeUri")
    with open(to, "w", encoding="utf-8") as file:
        json.dump(transform(parsed, {}, NoManagedPolicies()), file, indent=1)


main(*sys.argv[1:])
