"""Writes into dist/ what a release consists of: the same bytes from any checkout of one commit.

Nothing in it tells of the machine or of the time: the bill of materials is dated as CHANGELOG.md dates the release.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

from commands.deploy.package import packages, zip_of
from commands.deploy.template import ROOT, TEMPLATE
from event_aggregator import __version__

DIST = ROOT / "dist"
_NAME = "s3-event-aggregator"


def main() -> None:
    files = dict(_files())
    files["SHA256SUMS"] = "".join(f"{_sha256(files[name])}  {name}\n" for name in sorted(files)).encode()
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    for name, content in files.items():
        (DIST / name).write_bytes(content)
    print(files["SHA256SUMS"].decode(), end="")


def _files() -> Iterator[tuple[str, bytes]]:
    code = zip_of([ROOT / "src", packages()])
    yield f"{_NAME}-{__version__}.zip", code
    yield f"{_NAME}-{__version__}.yaml", TEMPLATE.read_bytes()
    yield f"{_NAME}-terraform-{__version__}.zip", zip_of([ROOT / "examples" / "terraform"])
    yield f"{_NAME}-{__version__}.cdx.json", _bill_of_materials(_sha256(code))
    for name in ("LICENSE", "NOTICE"):
        yield name, (ROOT / name).read_bytes()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _bill_of_materials(digest: str) -> bytes:
    """What is in the zip with this SHA-256 digest: this project, each package with its license, and what needs what."""
    ours = Component(
        type=ComponentType.APPLICATION,
        name=_NAME,
        version=__version__,
        bom_ref=_NAME,
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    carried = {one.name: one for one in distributions(path=[str(packages())])}
    components = {name: _component(carried[name]) for name in sorted(carried)}
    bom = Bom(
        components=components.values(),
        serial_number=uuid5(NAMESPACE_URL, digest),
        metadata=BomMetaData(component=ours, timestamp=_date_of_release()),
    )
    bom.register_dependency(ours, components.values())
    for name, component in components.items():
        needed = {Requirement(one).name.replace("-", "_") for one in carried[name].requires or []}
        bom.register_dependency(component, [components[one] for one in sorted(needed & components.keys())])
    return JsonV1Dot6(bom).output_as_string(indent=2).encode() + b"\n"


def _component(package: Distribution) -> Component:
    told = package.metadata.json
    return Component(
        name=package.name,
        version=package.version,
        bom_ref=f"{package.name}@{package.version}",
        purl=PackageURL("pypi", name=package.name, version=package.version),
        licenses=[LicenseFactory().make_from_string(str(told.get("license_expression") or told["license"]))],
    )


def _date_of_release() -> datetime:
    [date] = re.findall(rf"^## \[{re.escape(__version__)}\] - (.*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    return datetime.fromisoformat(date).replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
