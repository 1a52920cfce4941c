#!/usr/bin/env python3
"""Collects what an image holds into a folder, and writes its software bill of materials.

    collect.py --out /out --name barograph --version 0.1.0 --epoch 1700000000 \\
        --file /build/barograph=/barograph --package tzdata ...

Runs in a build stage. Programs are copied with the shared libraries that ldd names, each under its real
name with links from the name the loader asks for. Every file has the same time and plain modes, so that
the same input gives the same bytes. The bill (SPDX 2.3, JSON) is put at /usr/share/sbom/NAME.spdx.json:
each file with its checksums, each Debian package with version and license, and which file is whose.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import time
import uuid

USER = 65532
# Debian's names of licenses that SPDX has under another name.
LICENSES = {
    "expat": "MIT", "mit": "MIT", "zlib": "Zlib", "isc": "ISC", "apache-2.0": "Apache-2.0", "apache-2": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause", "bsd-2": "BSD-2-Clause", "bsd-3": "BSD-3-Clause",
    "gpl-2": "GPL-2.0-only", "gpl-2+": "GPL-2.0-or-later", "gpl-3": "GPL-3.0-only", "gpl-3+": "GPL-3.0-or-later",
    "lgpl-2": "LGPL-2.0-only", "lgpl-2+": "LGPL-2.0-or-later", "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-2.1+": "LGPL-2.1-or-later", "lgpl-3": "LGPL-3.0-only", "lgpl-3+": "LGPL-3.0-or-later",
    "mpl-2.0": "MPL-2.0", "public-domain": None,
}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Collection:
    """Files of the image: its path there -> the Debian package it is from (None: our own)."""

    def __init__(self, out):
        self.out = out
        self.owner = {}

    def place(self, target, package):
        path = self.out / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.owner[target] = package
        return path

    def write(self, target, text):
        self.place(target, None).write_text(text)

    def copy(self, source, target, package, strip=False):
        path = self.place(target, package)
        shutil.copyfile(source, path)
        if strip:
            output("strip", "--strip-all", str(path))
        path.chmod(0o755 if os.access(source, os.X_OK) else 0o644)

    def link(self, target, to, package):
        path = self.place(target, package)
        if not path.is_symlink():
            path.symlink_to(to)


def owner_of(path):
    """The package of a file. Debian merges /lib into /usr/lib; its database knows either name."""
    real = os.path.realpath(path)
    for candidate in (path, real, re.sub("^/usr/", "/", real), "/usr" + path):
        found = subprocess.run(["dpkg-query", "-S", candidate], capture_output=True, text=True)
        if found.returncode == 0:
            return found.stdout.split(": ")[0].split(",")[0].split(":")[0]
    return None


def libraries_of(program, search):
    """Paths of the libraries a program is loaded with, the loader included."""
    env = dict(os.environ, LD_LIBRARY_PATH=search) if search else None
    shown = subprocess.run(["ldd", str(program)], capture_output=True, text=True, env=env)
    if "not a dynamic executable" in shown.stdout + shown.stderr:
        return []
    if shown.returncode != 0 or "not found" in shown.stdout:
        raise SystemExit(f"{program}: {shown.stdout}{shown.stderr}")
    return sorted(set(re.findall(r"(/\S+) \(0x", shown.stdout)))


def add_library(collection, path):
    package = owner_of(path)
    real = os.path.realpath(path)
    name = os.path.basename(path)
    if package is None:  # built here
        folder = "/usr/lib/" + output("gcc", "-print-multiarch").strip()
        collection.copy(real, f"{folder}/{os.path.basename(real)}", None, strip=True)
        if name != os.path.basename(real):
            collection.link(f"{folder}/{name}", os.path.basename(real), None)
        return
    collection.copy(real, real, package)
    if path.startswith("/lib64/"):  # the loader, whose path is fixed in every program
        collection.link(path, os.path.relpath(real, "/lib64"), package)
    elif name != os.path.basename(real):
        collection.link(f"{os.path.dirname(real)}/{name}", os.path.basename(real), package)


def add_program(collection, source, target, search):
    package = owner_of(source)
    for library in libraries_of(source, search):
        add_library(collection, library)
    collection.copy(source, target, package, strip=package is None)


def add_zones(collection):
    """Zone data: each zone once (other names are links), without the copies under posix/ and right/."""
    root = pathlib.Path("/usr/share/zoneinfo")
    first = {}
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if relative.parts[0] in ("posix", "right") or path.is_dir() or path.name in ("localtime", "posixrules"):
            continue
        digest = hashlib.sha256(path.read_bytes()).digest()
        target = str(path)
        if digest in first:
            collection.link(target, os.path.relpath(first[digest], path.parent), "tzdata")
        else:
            first[digest] = target
            collection.copy(path.resolve(), target, "tzdata")


def add_accounts(collection):
    collection.write("/etc/passwd", f"root:x:0:0:root:/:/nonexistent\nbarograph:x:{USER}:{USER}:barograph:/data:/nonexistent\n")
    collection.write("/etc/group", f"root:x:0:\nbarograph:x:{USER}:\n")
    collection.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")


# ---- the bill of materials ----

def license_of(package):
    """The license of most files, from the machine-readable copyright file if there is one."""
    try:
        text = pathlib.Path(f"/usr/share/doc/{package}/copyright").read_text(errors="replace")
    except OSError:
        return "NOASSERTION"
    paragraph = re.search(r"^Files:\s*\*\s*$(.*?)(?:\n\s*\n|\Z)", text, re.M | re.S)
    found = paragraph and re.search(r"^License:\s*(.+)$", paragraph.group(1), re.M)
    if not found:
        return "NOASSERTION"
    words = re.split(r"\s+(and|or)\s+", re.sub(r"[(),]", " ", found.group(1)).strip())
    names = [word if word in ("and", "or") else LICENSES.get(word.strip().lower()) for word in words]
    if None in names or len(set(names) & {"and", "or"}) > 1:
        return "NOASSERTION"
    return " ".join(name.upper() if name in ("and", "or") else name for name in names)


def digests(path):
    data = path.read_bytes()
    return {"SHA1": hashlib.sha1(data).hexdigest(), "SHA256": hashlib.sha256(data).hexdigest()}


def identifier(kind, name):
    """SPDX allows few characters: a digest keeps names apart that differ in others."""
    plain = re.sub(r"[^A-Za-z0-9.-]", "-", name.strip("/"))
    return f"SPDXRef-{kind}-{plain}" + ("" if plain == name else "-" + hashlib.sha256(name.encode()).hexdigest()[:8])


def package_entry(name, version, spdx_license, files, **more):
    sha1s = "".join(sorted(file["checksums"][0]["checksumValue"] for file in files))
    return {
        "SPDXID": identifier("Package", name), "name": name, "versionInfo": version,
        "downloadLocation": "NOASSERTION", "filesAnalyzed": True,
        "packageVerificationCode": {"packageVerificationCodeValue": hashlib.sha1(sha1s.encode()).hexdigest()},
        "licenseConcluded": "NOASSERTION", "licenseDeclared": spdx_license,
        "licenseInfoFromFiles": ["NOASSERTION"], "copyrightText": "NOASSERTION", **more,
    }


def debian_entry(package, files):
    fields = ["${Version}", "${Architecture}", "${source:Package}", "${source:Version}", "${Maintainer}"]
    shown = output("dpkg-query", "-W", "-f", "\t".join(fields) + "\n", package).splitlines()[0]
    version, architecture, source, source_version, maintainer = shown.split("\t")
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)', pathlib.Path("/etc/os-release").read_text(), re.M))
    vendor = system.get("ID", "debian")
    return package_entry(
        package, version, license_of(package), files, supplier=f"Person: {maintainer}",
        sourceInfo=f"built from {source} {source_version}; only the files named here are in the image",
        externalRefs=[{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                       "referenceLocator": f"pkg:deb/{vendor}/{package}@{version.replace(':', '%3A').replace('+', '%2B')}"
                                           f"?arch={architecture}"}])


def bill(collection, options, bill_path):
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(options.epoch))
    files, by_package = [], {}
    for target, package in sorted(collection.owner.items()):
        path = collection.out / target.lstrip("/")
        if path.is_symlink() or target == bill_path:
            continue
        entry = {"fileName": "." + target, "SPDXID": identifier("File", target),
                 "checksums": [{"algorithm": k, "checksumValue": v} for k, v in digests(path).items()],
                 "licenseConcluded": "NOASSERTION", "licenseInfoInFiles": ["NOASSERTION"],
                 "copyrightText": "NOASSERTION"}
        files.append(entry)
        by_package.setdefault(package, []).append(entry)
    own = package_entry(options.name, options.version, "Apache-2.0", by_package.pop(None, []),
                        primaryPackagePurpose="CONTAINER", supplier="NOASSERTION",
                        sourceInfo=f"revision {options.revision}")
    packages, relations = [own], []
    for package, entries in sorted(by_package.items()):
        packages.append(debian_entry(package, entries))
        relations.append((own["SPDXID"], "CONTAINS", packages[-1]["SPDXID"]))
        relations += [(packages[-1]["SPDXID"], "CONTAINS", entry["SPDXID"]) for entry in entries]
    owned = {entry["SPDXID"] for entries in by_package.values() for entry in entries}
    relations += [(own["SPDXID"], "CONTAINS", entry["SPDXID"]) for entry in files if entry["SPDXID"] not in owned]
    content = hashlib.sha256(json.dumps([packages, files], sort_keys=True).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{options.name}-{options.version}",
        "documentNamespace": uuid.uuid5(uuid.NAMESPACE_OID, content).urn,
        "creationInfo": {"created": created, "creators": ["Tool: collect.py"]},
        "packages": packages, "files": files,
        "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                           "relatedSpdxElement": own["SPDXID"]}] +
                         [{"spdxElementId": a, "relationshipType": r, "relatedSpdxElement": b} for a, r, b in relations],
    }


def settle(out, epoch):
    """One time for everything, plain modes."""
    for path in sorted(out.rglob("*"), reverse=True) + [out]:
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--revision", default="unknown")
    parser.add_argument("--epoch", type=int, default=0)
    parser.add_argument("--file", action="append", default=[], metavar="PROGRAM=TARGET")
    parser.add_argument("--link", action="append", default=[], metavar="TARGET=TO", help="symbolic links")
    parser.add_argument("--search", default="", help="where libraries built here are")
    parser.add_argument("--zones", action="store_true", help="with zone data")
    parser.add_argument("--certificates", action="store_true", help="with the certificates of authorities")
    parser.add_argument("--data", help="an empty folder that the image's user may write to")
    options = parser.parse_args()

    collection = Collection(options.out)
    options.out.mkdir(parents=True)
    for pair in options.file:
        source, target = pair.split("=", 1)
        add_program(collection, source, target, options.search)
    for pair in options.link:
        target, to = pair.split("=", 1)
        collection.link(target, to, None)
    if options.zones:
        add_zones(collection)
    if options.certificates:
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        collection.copy(bundle, bundle, "ca-certificates")
    add_accounts(collection)

    bill_path = f"/usr/share/sbom/{options.name}.spdx.json"
    collection.write(bill_path, "")
    text = json.dumps(bill(collection, options, bill_path), indent=1, sort_keys=True)
    collection.write(bill_path, text + "\n")
    settle(options.out, options.epoch)
    if options.data:
        # Writable for the image's user, and for any other user id that is in group 0, as some
        # clusters choose.
        path = options.out / options.data.lstrip("/")
        path.mkdir()
        os.chown(path, USER, 0)
        path.chmod(0o770)
        for changed in (path, options.out):
            os.utime(changed, (options.epoch, options.epoch))


if __name__ == "__main__":
    main()
