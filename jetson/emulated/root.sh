# shellcheck shell=bash
# An arm64 root file system without root: fetched and checked by debootstrap, unpacked, and never
# configured, because nothing that is needed here comes from a package's scripts.
# Sourced by prove.sh.

readonly SUITES=(jammy noble bookworm)

mirror_of() {
    case $1 in
        bookworm) echo http://deb.debian.org/debian ;;
        *) echo http://ports.ubuntu.com/ubuntu-ports ;;
    esac
}

# keyring_of SUITE: the keys that its index must be signed with.
keyring_of() {
    case $1 in
        bookworm) echo /usr/share/keyrings/debian-archive-keyring.gpg ;;
        *) echo /usr/share/keyrings/ubuntu-archive-keyring.gpg ;;
    esac
}

# answers MIRROR SUITE
answers() {
    "$PYTHON" - "$1/dists/$2/Release" << 'END' 2> /dev/null
import sys
import urllib.request
urllib.request.urlopen(sys.argv[1], timeout=10).read(100)
END
}

# choose_suite: SUITE and MIRROR, and the reason.
choose_suite() {
    local each reasons=()
    for each in ${SUITE:-"${SUITES[@]}"}; do
        local mirror=${MIRROR:-$(mirror_of "$each")}
        if [[ ! -f $(keyring_of "$each") ]]; then
            reasons+=("$each: $(keyring_of "$each") is not there")
        elif ! answers "$mirror" "$each"; then
            reasons+=("$each: $mirror does not answer")
        else
            SUITE=$each MIRROR=$mirror
            printf 'root file system: %s%s\n' "$SUITE" "${reasons[*]:+ ($(join_by '; ' "${reasons[@]}"))}"
            return
        fi
    done
    fail 3 "no mirror of an arm64 system: $(join_by '; ' "${reasons[@]}"); give --suite and --mirror"
}

# join_by SEPARATOR TEXT...
join_by() {
    local separator=$1 text=$2
    shift 2
    printf '%s' "$text" "${@/#/$separator}"
}

# make_root DIR
make_root() {
    local root=$1 new=$1.new package
    if [[ -f $root/.complete && $(< "$root/.complete") == "$SUITE" ]]; then return; fi
    rm -rf "$root" "$new"
    local include=python3,python3-venv,mawk components=main script=bookworm
    # All of Ubuntu's scripts are the same one; a debootstrap of before 24.04 lacks its name.
    if [[ $SUITE != bookworm ]]; then components=main,universe script=jammy; fi
    # --foreign: fetch, check, unpack; the second stage would need an emulated root.
    fakeroot debootstrap --foreign --variant=minbase --arch=arm64 --include="$include" \
        --components="$components" --keyring="$(keyring_of "$SUITE")" "$SUITE" "$new" "$MIRROR" \
        "/usr/share/debootstrap/scripts/$script" ||
        return
    for package in "$new"/var/cache/apt/archives/*.deb; do
        dpkg-deb --extract "$package" "$new" || return
    done
    ln -sf mawk "$new/usr/bin/awk"
    rm -rf "$new"/var/cache/apt/archives/*.deb "$new/debootstrap"
    printf '%s' "$SUITE" > "$new/.complete"
    mv "$new" "$root"
}

# emulate ROOT PLACE COMMAND...: run it in the root file system, on emulated aarch64; PLACE is seen
# there under the name it has here, because proot 5.1 hands the newer faccessat2 on without
# translating its path: what is checked for permission must exist on both sides.
emulate() {
    local root=$1 each binds=(-b "$2")
    shift 2
    for each in /dev /proc /sys /etc/resolv.conf /etc/hosts /etc/ssl/certs; do
        if [[ -e $each ]]; then binds+=(-b "$each"); fi
    done
    # The caller's package index, its certificates and proxies hold inside too.
    local settings=()
    for each in $(compgen -e | grep -iE '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|CERT|TRUSTED_HOST|DEFAULT_TIMEOUT)|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|.*_PROXY)$'); do
        settings+=("$each=${!each}")
    done
    # proot's own shortcut by seccomp does not work with every kernel.
    PROOT_NO_SECCOMP=1 proot -q qemu-aarch64-static -0 -r "$root" "${binds[@]}" -w / \
        /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "${settings[@]}" "$@"
}
