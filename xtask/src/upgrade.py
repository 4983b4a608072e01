"""Says what an update from the last released template would break: upgrade.py RELEASED TRANSLATED [--record].

RELEASED has what matters of the template that was released last, TRANSLATED is what CloudFormation makes of this one
(translate.py). Which change replaces a resource is what the registry's schemas say, which cfn-lint brings. With --record,
RELEASED is written anew, which belongs to a release.
"""

import copy
import json
import sys
from pathlib import Path

import cfnlint

SCHEMAS = Path(cfnlint.__file__).parent / "data/schemas/providers/us_east_1"

# What is lost with a resource of these types, or what others know it by, so that an update may never replace one.
KEPT = {
    "AWS::DynamoDB::Table": "the table's records",
    "AWS::S3::Bucket": "the bucket's objects",
    "AWS::KMS::Key": "what the key has encrypted",
    "AWS::SQS::Queue": "the messages that are under way",
    "AWS::ApiGatewayV2::Api": "the URL that clients and hosts are set to",
    "AWS::ApiGatewayV2::Stage": "the URL that clients and hosts are set to",
    "AWS::SSM::Document": "the document that commands under way name",
}

# Those whose contents outlive the stack.
RETAINED = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::KMS::Key"}


def schema(kind):
    name = kind.lower().replace("::", "-") + ".json"
    with open(SCHEMAS / name, encoding="utf-8") as file:
        return json.load(file)


def replacing(kind):
    """The paths of the properties whose change replaces a resource, or may."""
    known = schema(kind)
    paths = known.get("createOnlyProperties", [])
    if kind == "AWS::SSM::Document":
        # With the one method a change makes a new version, with the other a new document.
        paths = paths + ["/properties/UpdateMethod"]
    else:
        paths = paths + known.get("conditionalCreateOnlyProperties", [])
    # The registry leaves it out, CloudFormation's reference of the table has it.
    if kind == "AWS::DynamoDB::Table":
        paths = paths + ["/properties/KeySchema"]
    return sorted({tuple(path.removeprefix("/properties/").split("/")) for path in paths})


def at(properties, path):
    for name in path:
        if not isinstance(properties, dict) or name not in properties:
            return None
        properties = properties[name]
    return properties


def names_in(value):
    """The parameters and conditions that a value depends on, by name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("Ref", "Condition") and isinstance(inner, str):
                yield inner
            if key == "Fn::If":
                yield inner[0]
            if key == "Fn::Sub":
                text = inner if isinstance(inner, str) else inner[0]
                yield from (part.split("}")[0] for part in text.split("${")[1:])
            yield from names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner)


def depends_on(value, template):
    """What a value becomes another by: defaults of parameters, and conditions."""
    found, left = {}, list(names_in(value))
    while left:
        name = left.pop()
        if name in found:
            continue
        if name in template.get("Parameters", {}):
            found[name] = template["Parameters"][name].get("Default")
        elif name in template.get("Conditions", {}):
            found[name] = template["Conditions"][name]
            left.extend(names_in(found[name]))
    return found


def kept(template):
    return {name: it for name, it in template["Resources"].items() if it["Type"] in KEPT}


def record(template):
    """What of a template later ones are held to."""
    resources = {}
    for name, resource in sorted(kept(template).items()):
        properties = resource.get("Properties", {})
        paths = [path for path in replacing(resource["Type"]) if at(properties, path) is not None]
        values = {"/".join(path): at(properties, path) for path in paths}
        resources[name] = {
            "Type": resource["Type"],
            "Condition": resource.get("Condition"),
            "values": values,
            "depends": depends_on([values, {"Condition": resource.get("Condition")}], template),
        }
    return {
        "Parameters": sorted(template.get("Parameters", {})),
        "Outputs": sorted(template.get("Outputs", {})),
        "Resources": resources,
    }


def broken(released, template):
    """What an update breaks, one sentence each."""
    now = record(template)
    for name, was in released["Resources"].items():
        loss = f"{KEPT[was['Type']]} would be lost"
        resource = now["Resources"].get(name)
        if resource is None or resource["Type"] != was["Type"]:
            yield f"{name} ({was['Type']}) is gone or of another type: {loss}"
            continue
        if resource["Condition"] != was["Condition"]:
            yield f"{name} is there on another condition: {loss}"
        for path in sorted(set(was["values"]) | set(resource["values"])):
            if was["values"].get(path) != resource["values"].get(path):
                yield f"{path} of {name} is another, which replaces it: {loss}"
        if resource["depends"] != was["depends"]:
            yield f"what the name of {name} or its being there depends on is another: {loss}"
    for name in released["Parameters"]:
        if name not in template.get("Parameters", {}):
            yield f"the parameter {name} is gone: an update that names it is refused"
    for name, parameter in template.get("Parameters", {}).items():
        if name not in released["Parameters"] and "Default" not in parameter:
            yield f"the parameter {name} is new and has no default: an update that does not name it is refused"
    for name in released["Outputs"]:
        if name not in template.get("Outputs", {}):
            yield f"the output {name} is gone, which others read"
    for name, resource in kept(template).items():
        retains = [resource.get(policy) for policy in ("DeletionPolicy", "UpdateReplacePolicy")]
        if resource["Type"] in RETAINED and retains != ["Retain", "Retain"]:
            yield f"{name} is not retained: {KEPT[resource['Type']]} would be lost with the stack"


def mutants(template):
    """Templates that break something each, with the name of what they break."""
    for name, resource in kept(template).items():
        gone = copy.deepcopy(template)
        del gone["Resources"][name]
        yield f"without {name}", gone
        elsewhere = copy.deepcopy(template)
        elsewhere["Resources"][name]["Condition"] = "SomethingElse"
        yield f"{name} on another condition", elsewhere
        for path in replacing(resource["Type"]):
            changed = copy.deepcopy(template)
            properties = changed["Resources"][name].setdefault("Properties", {})
            for part in path[:-1]:
                properties = properties.setdefault(part, {})
            properties[path[-1]] = ["another", properties.get(path[-1])]
            yield f"{'/'.join(path)} of {name} changed", changed
        if resource["Type"] in RETAINED:
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                deleted = copy.deepcopy(template)
                deleted["Resources"][name][policy] = "Delete"
                yield f"{policy} of {name}", deleted
        for used in depends_on(record(template)["Resources"][name]["values"], template):
            other = copy.deepcopy(template)
            if used in other.get("Parameters", {}):
                other["Parameters"][used]["Default"] = "another"
            else:
                other["Conditions"][used] = {"Fn::Equals": ["a", "b"]}
            yield f"{used}, on which {name} depends", other
    for part in ("Parameters", "Outputs"):
        for name in template.get(part, {}):
            gone = copy.deepcopy(template)
            del gone[part][name]
            yield f"without {part[:-1].lower()} {name}", gone
    asking = copy.deepcopy(template)
    asking["Parameters"]["Asked"] = {"Type": "String"}
    yield "a parameter without a default", asking


def main(released_at, translated_at, *flags):
    with open(translated_at, encoding="utf-8") as file:
        template = json.load(file)
    if "--record" in flags:
        with open(released_at, "w", encoding="utf-8") as file:
            json.dump(record(template), file, indent=1)
            file.write("\n")
        return
    with open(released_at, encoding="utf-8") as file:
        released = json.load(file)
    found = list(broken(released, template))
    if found:
        sys.exit("An update from the released template breaks this:\n" + "\n".join(found))
    # A check that finds nothing must be able to find something.
    count = 0
    for what, mutant in mutants(template):
        count += 1
        if not any(broken(record(template), mutant)):
            sys.exit(f"Nobody would notice: {what}")
    print(f"Checked upgrades: {len(released['Resources'])} resources, {count} mutants noticed")


main(*sys.argv[1:])
