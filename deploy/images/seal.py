#!/usr/bin/env python3
"""Makes an image's archive depend on nothing but its content.

    seal.py BUILT.tar SEALED.tar [--epoch SECONDS] [--bill FILE]

Builders write the name of the machine, the ids of intermediate containers and the times of each step into
an image, so that two builds of the same source differ. This rewrites the archive (as `docker save` and
`buildah push docker-archive:` make it): one layer with sorted entries, a configuration with only what the
Dockerfile said. The same source then has the same image id, whichever builder made it. Prints the id.
--bill takes the software bill of materials out of the image.
"""
import argparse
import hashlib
import io
import json
import tarfile
import time

# What `docker run` and orchestrators look at.
KEPT = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "StopSignal", "Healthcheck")


def read(archive, name):
    return archive.extractfile(archive.getmember(name)).read()


def merged(archive, layers, epoch):
    """All layers as one, sorted, without names of users; and the files by path."""
    entries = {}
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(read(archive, layer))) as tar:
            for member in tar:
                name = member.name.strip("/").removeprefix("./")
                if name.rsplit("/", 1)[-1].startswith(".wh."):
                    raise SystemExit(f"{name}: layers that remove files cannot be sealed")
                if name in ("", "."):
                    continue
                if member.islnk():  # the same file twice: keep it as a link to a sealed name
                    member.linkname = member.linkname.strip("/").removeprefix("./")
                data = tar.extractfile(member).read() if member.isreg() else None
                entries[name] = (member, data)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (member, data) in sorted(entries.items(), key=lambda item: (item[1][0].islnk(), item[0])):
            clean = tarfile.TarInfo(name)
            clean.type, clean.mode, clean.linkname = member.type, member.mode & 0o7777, member.linkname
            clean.uid, clean.gid, clean.mtime = member.uid, member.gid, epoch
            clean.size = len(data) if data is not None else 0
            tar.addfile(clean, io.BytesIO(data) if data is not None else None)
    return out.getvalue(), {name: data for name, (_, data) in entries.items()}


def configuration(built, layer, epoch):
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    config = {key: built["config"][key] for key in KEPT if built["config"].get(key)}
    if config.get("WorkingDir") == "/":  # where a container starts anyway; some builders write it down
        del config["WorkingDir"]
    config["Labels"] = {k: v for k, v in (built["config"].get("Labels") or {}).items()
                        if not k.startswith("io.buildah.")}
    return {
        "architecture": built["architecture"], "os": built["os"], "created": created, "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": created, "created_by": "COPY --from=collect /out/ /"}],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built")
    parser.add_argument("sealed")
    parser.add_argument("--epoch", type=int, default=0)
    parser.add_argument("--bill")
    options = parser.parse_args()
    with tarfile.open(options.built) as archive:
        manifest = json.loads(read(archive, "manifest.json"))[0]
        built = json.loads(read(archive, manifest["Config"]))
        layer, files = merged(archive, manifest["Layers"], options.epoch)
    config = json.dumps(configuration(built, layer, options.epoch), sort_keys=True).encode()
    image_id = hashlib.sha256(config).hexdigest()
    layer_name = hashlib.sha256(layer).hexdigest() + ".tar"
    manifest = [{"Config": image_id + ".json", "RepoTags": manifest["RepoTags"], "Layers": [layer_name]}]
    with tarfile.open(options.sealed, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in ((image_id + ".json", config), (layer_name, layer),
                           ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), options.epoch, 0o644
            archive.addfile(info, io.BytesIO(data))
    if options.bill:
        name = next(name for name in files if name.startswith("usr/share/sbom/") and name.endswith(".json"))
        with open(options.bill, "wb") as out:
            out.write(files[name])
    print("sha256:" + image_id)


if __name__ == "__main__":
    main()
