#!/bin/sh
# Builds the images: barograph, barograph-tools and the example sensorlog, tagged localhost/NAME:VERSION.
#
#   BASE=IMAGE        what the build stages stand on; "debootstrap": made here from the machine's own
#                     Debian mirrors; empty: the Dockerfiles' default if it can be had, else debootstrap
#   BUILDER=buildah|docker   empty: buildah if it is there (the same source gives the same image id)
#   IMAGES="NAME..."  only these
#   OUT=FOLDER        build/images: NAME.tar (docker load, podman load), NAME.id, NAME.spdx.json
#   NO_CACHE=1        builds everything anew
#   SOURCE_REVISION, SOURCE_DATE_EPOCH   what the images say they are made from; empty: ask git
set -eu
cd "$(dirname "$0")/.."
out=${OUT:-build/images}
cache=build/images
mkdir -p "$out" "$cache"

version=$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
revision=${SOURCE_REVISION:-$(git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)

# Debian's own client: a newer one earlier in the path may not know the older daemon.
docker=docker
[ ! -x /usr/bin/docker ] || docker=/usr/bin/docker
builder=${BUILDER:-}
if [ -z "$builder" ]; then
    if command -v buildah >/dev/null; then
        builder=buildah
    elif $docker info >/dev/null 2>&1; then
        builder=docker
    else
        echo "images: needs buildah, or docker with a running daemon" >&2
        exit 1
    fi
fi

# The lines "URI SUITE" of the machine's Debian (or Ubuntu) archives, as apt knows them.
# shellcheck disable=SC2016
mirrors() {
    apt-get indextargets --format '$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)|$(IDENTIFIER)' |
        sed -n 's/^\(Debian\|Ubuntu\)|\([^|]*\)|\([^|]*\)|main|Packages$/\2 \3/p' | sort -u
}

# A root file system from the machine's own mirrors, once.
debootstrap_base() {
    base_tar=$cache/base.tar
    [ ! -s "$base_tar" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
        echo "images: making the base needs root and debootstrap; or give BASE=IMAGE" >&2
        exit 1
    fi
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    [ -n "$(mirrors)" ] || apt-get update -qq
    uri=$(mirrors | sed -n "s/ $codename\$//p" | head -n 1)
    root=$(mktemp -d)
    echo "images: making the base ($codename) by debootstrap"
    if ! debootstrap --variant=minbase "$codename" "$root" "$uri" >"$cache/debootstrap.log" 2>&1; then
        tail -n 20 "$cache/debootstrap.log" >&2
        rm -rf "$root"
        exit 1
    fi
    mirrors | sed 's/^/deb /; s/$/ main/' >"$root/etc/apt/sources.list"
    # As in container images: packages are unpacked without waiting for the disk, and without manuals.
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/container"
    printf 'path-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n' >>"$root/etc/dpkg/dpkg.cfg.d/container"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/*
    tar -C "$root" -cf "$base_tar.new" .
    mv "$base_tar.new" "$base_tar"
    rm -rf "$root"
}

# Makes the base's image under a local name, unless it is there.
import_base() {
    base=localhost/barograph-base:$(cksum "$cache/base.tar" | cut -d ' ' -f 1)
    if [ "$builder" = docker ]; then
        $docker image inspect "$base" >/dev/null 2>&1 || $docker import - "$base" <"$cache/base.tar" >/dev/null
    elif ! buildah inspect --type image "$base" >/dev/null 2>&1; then
        container=$(buildah from scratch)
        buildah add -q "$container" "$cache/base.tar" / >/dev/null
        buildah config --env PATH=/usr/sbin:/usr/bin:/sbin:/bin "$container"
        buildah commit -q --rm "$container" "$base" >/dev/null
    fi
}

base=${BASE:-}
if [ -z "$base" ]; then
    wanted=$(sed -n 's/^ARG BASE=//p' deploy/images/barograph/Dockerfile)
    case $builder in
        docker) timeout 30 $docker pull -q "$wanted" >/dev/null 2>&1 && base=$wanted ;;
        buildah) base=$(timeout 30 buildah pull -q "docker://$wanted" 2>/dev/null) ;;
    esac || true
    [ -n "$base" ] || { echo "images: $wanted cannot be had from a registry" && base=debootstrap; }
fi
if [ "$base" = debootstrap ]; then
    debootstrap_base
    import_base
fi

build() {
    name=$1
    file=$2
    image=localhost/$name:$version
    echo "images: building $image with $builder"
    set -- --build-arg BASE="$base" --build-arg VERSION="$version" --build-arg REVISION="$revision" \
        --build-arg SOURCE_DATE_EPOCH="$epoch" --build-arg CREATED="$created" -f "$file" -t "$image"
    [ -z "${NO_CACHE:-}" ] || set -- "$@" --no-cache
    log=$out/$name.log
    rm -f "$out/$name.tar" "$out/$name.built"
    if [ "$builder" = docker ]; then
        DOCKER_BUILDKIT=1 $docker build --network host "$@" . >"$log" 2>&1 || failed "$log"
        $docker save -o "$out/$name.built" "$image"
    else
        [ -n "${NO_CACHE:-}" ] || set -- "$@" --layers
        buildah bud --isolation chroot --pull-never --format docker --timestamp "$epoch" "$@" . >"$log" 2>&1 ||
            failed "$log"
        buildah push -q "$image" "docker-archive:$out/$name.built:$image"
    fi
    python3 deploy/images/seal.py "$out/$name.built" "$out/$name.tar" --epoch "$epoch" \
        --bill "$out/$name.spdx.json" >"$out/$name.id"
    rm "$out/$name.built"
    if [ "$builder" = docker ]; then
        $docker load -qi "$out/$name.tar" >/dev/null
    else
        buildah pull -q "docker-archive:$out/$name.tar" >/dev/null
    fi
    echo "images: $image $(cat "$out/$name.id")"
}

failed() {
    tail -n 40 "$1" >&2
    exit 1
}

for name in ${IMAGES:-barograph barograph-tools sensorlog}; do
    case $name in
        barograph) build barograph deploy/images/barograph/Dockerfile ;;
        barograph-tools) build barograph-tools deploy/images/tools/Dockerfile ;;
        sensorlog) build sensorlog examples/embed/Dockerfile ;;
        *) echo "images: no image is called $name" >&2 && exit 2 ;;
    esac
done
