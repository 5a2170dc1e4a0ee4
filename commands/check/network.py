"""Whether a function in subnets reaches what it calls, by what is set up: endpoints, routes and security groups.

Network ACLs, firewalls, and the policies of endpoints are not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from commands.deploy.template import Json
from commands.operate.status import Concern

_HTTPS = 443


@dataclass(frozen=True)
class Network:
    """The function's VPC, as EC2's Describe operations tell of it."""

    subnets: Sequence[Json]
    groups: Sequence[str]  # the function's security groups
    of_vpc: Mapping[str, Json]  # all of the VPC's, by id
    routes: Sequence[Json]  # the VPC's route tables
    endpoints: Sequence[Json]


def look(ec2: Any, function: Json) -> Network:
    vpc = function["VpcConfig"]
    in_vpc = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]

    def all_of(operation: str, name: str) -> list[Json]:
        return [one for page in ec2.get_paginator(operation).paginate(Filters=in_vpc) for one in page[name]]

    groups = all_of("describe_security_groups", "SecurityGroups")
    return Network(
        subnets=ec2.describe_subnets(SubnetIds=vpc["SubnetIds"])["Subnets"],
        groups=vpc["SecurityGroupIds"],
        of_vpc={group["GroupId"]: group for group in groups},
        routes=all_of("describe_route_tables", "RouteTables"),
        endpoints=all_of("describe_vpc_endpoints", "VpcEndpoints"),
    )


def services(variables: Mapping[str, str], regions: Sequence[str], home: str) -> Iterator[tuple[str, str]]:
    """What the refresh function cannot do without: service and region, as endpoints are named."""
    yield from (("dynamodb", home), ("sqs", home))
    if not variables.get("AWS_ENDPOINT_URL_STORAGE_GATEWAY"):  # where that leads is not known here
        yield from (("storagegateway", region) for region in regions or [home])
    if variables.get("GATEWAY_ROLE_ARNS"):
        yield "sts", home
    if variables.get("VISIBLE_EVENTS", "on") == "on":
        yield "events", home


def unreachable(network: Network, needed: Sequence[tuple[str, str]]) -> Iterator[Concern]:
    """Which of the services are not reached from which subnet, and why."""
    if not any(_passes(rule) for group in network.groups for rule in _rules(network, group, "IpPermissionsEgress")):
        let_out = "allow outbound TCP to port 443"
        yield Concern(f"the function's security groups {', '.join(network.groups)} allow no outbound HTTPS", let_out)
    for service, region in needed:
        cut_off = {one["SubnetId"]: why for one in network.subnets if (why := _why_not(network, one, service, region))}
        for why in dict.fromkeys(cut_off.values()):
            where = ", ".join(subnet for subnet, reason in cut_off.items() if reason == why)
            what = f"the refresh function cannot reach {service} in {region} from {where}: {why}"
            yield Concern(what, "see docs/security-and-network.md, Storage Gateway in a VPC")


def _why_not(network: Network, subnet: Json, service: str, region: str) -> str:
    """Why the service is not reached from the subnet; empty if it is."""
    table, whys = _table(network, subnet["SubnetId"]), []
    for endpoint in network.endpoints:
        name, state = endpoint["VpcEndpointId"], endpoint["State"].lower()
        if not endpoint["ServiceName"].endswith(f".{region}.{service}"):
            continue
        if endpoint["VpcEndpointType"] == "Gateway":
            if table.get("RouteTableId") in endpoint.get("RouteTableIds", []):
                return ""
            whys.append(f"its endpoint {name} is not in the subnet's route table")
        elif state != "available" or not endpoint.get("PrivateDnsEnabled"):
            whys.append(f"its endpoint {name} is {state}" if state != "available" else f"{name} has no private DNS")
        else:  # the service's name leads there, even if there is another way
            let_in = _lets_in(network, endpoint, subnet)
            return "" if let_in else f"no security group of its endpoint {name} admits the function"
    ways = [route for route in table.get("Routes", []) if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
    if any(route.get("State") == "active" and not _is_internet(route) for route in ways):
        return ""
    if ways and not whys:  # a function has no public address
        return "its default route is an internet gateway; a function needs a NAT gateway"
    return "; ".join(whys) or "there is no endpoint, and no default route"


def _is_internet(route: Json) -> bool:
    return str(route.get("GatewayId", "")).startswith("igw-")


def _table(network: Network, subnet: str) -> Json:
    """The subnet's route table, or else the VPC's main one."""
    main: Json = {}
    for table in network.routes:
        associations = table.get("Associations", [])
        if any(one.get("SubnetId") == subnet for one in associations):
            return table
        if any(one.get("Main") for one in associations):
            main = table
    return main


def _lets_in(network: Network, endpoint: Json, subnet: Json) -> bool:
    for group in endpoint.get("Groups", []):
        for rule in _rules(network, group["GroupId"], "IpPermissions"):
            pairs = {pair.get("GroupId") for pair in rule.get("UserIdGroupPairs", [])}
            blocks = [ip_network(one["CidrIp"]) for one in rule.get("IpRanges", [])]
            from_here = any(ip_network(subnet["CidrBlock"]).subnet_of(block) for block in blocks)  # type: ignore[arg-type]
            if _passes(rule) and (pairs & {*network.groups} or from_here or rule.get("PrefixListIds")):
                return True
    return False


def _rules(network: Network, group: str, direction: str) -> list[Json]:
    return list(network.of_vpc.get(group, {}).get(direction, []))


def _passes(rule: Json) -> bool:
    """Whether it is about HTTPS."""
    protocol, ports = rule["IpProtocol"], range(rule.get("FromPort", 0), rule.get("ToPort", 65_535) + 1)
    return protocol == "-1" or (protocol == "tcp" and _HTTPS in ports)
