"""Makes a CycloneDX bill of materials of what `cargo metadata` says (standard input): sbom.py CARGO_LOCK PROGRAM…"""

import json
import re
import sys
import uuid


def checksums(lock):
    """Checksum of each package by name and version, out of Cargo.lock."""
    found = {}
    for block in lock.split("[[package]]")[1:]:
        fields = dict(re.findall(r'^(name|version|checksum) = "([^"]+)"$', block, re.MULTILINE))
        if "checksum" in fields:
            found[fields["name"], fields["version"]] = fields["checksum"]
    return found


def linked(metadata, roots):
    """Numbers of the packages that are linked into these programs, with what each of them links."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    links = {}
    waiting = list(roots)
    while waiting:
        package = waiting.pop()
        if package in links:
            continue
        normal = [d["pkg"] for d in nodes[package]["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]
        links[package] = sorted(set(normal))
        waiting.extend(normal)
    return links


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, sums):
    program = package["source"] is None and any("bin" in target["kind"] for target in package["targets"])
    one = {
        "type": "application" if program else "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("description"):
        one["description"] = " ".join(package["description"].split())
    if package.get("license"):
        # Older manifests write a slash where SPDX has OR.
        one["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    checksum = sums.get((package["name"], package["version"]))
    if checksum:
        one["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        one["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return one


def main():
    lock, programs = sys.argv[1], sys.argv[2:]
    metadata = json.load(sys.stdin)
    with open(lock, encoding="utf-8") as text:
        sums = checksums(text.read())
    packages = {package["id"]: package for package in metadata["packages"]}
    ours = {packages[member]["name"]: member for member in metadata["workspace_members"]}
    unknown = [program for program in programs if program not in ours]
    if unknown or not programs:
        sys.exit(f"sbom.py: no such program here: {' '.join(unknown) or '(none named)'}")
    links = linked(metadata, [ours[program] for program in programs])
    parts = sorted(links, key=lambda id: (packages[id]["name"], packages[id]["version"]))
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[ours[programs[0]]], sums)},
        "components": [component(packages[id], sums) for id in parts if id != ours[programs[0]]],
        "dependencies": [
            {"ref": reference(packages[id]), "dependsOn": sorted({reference(packages[d]) for d in links[id]})}
            for id in parts
        ],
    }
    text = json.dumps(bom, sort_keys=True)
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}"
    json.dump(bom, sys.stdout, indent=1, sort_keys=True)
    print()


main()
