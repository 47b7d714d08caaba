#!/bin/sh
# Makes the image, and runs compose.yaml with the real podman and podman-compose:
# tokend in one container, a program in another one, as another user, with issuers
# that are played on loopback. Needs root, and what packaging/check.sh full installs.
#
# It changes what a sandbox without nested containers needs: images are plain
# directories (vfs), containers share the host's network and are in no cgroup.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "test.sh: needs root" >&2; exit 1; }
# A mount namespace of its own, because crun wants cgroups of version 2.
if [ -z "${IN_TEST-}" ]; then
	exec env IN_TEST=1 unshare --mount --propagation private "$0"
fi
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup

dir=$(mktemp -d)
export CONTAINERS_STORAGE_CONF="$dir/storage.conf" CONTAINERS_CONF="$dir/containers.conf"
cat >"$dir/storage.conf" <<.
[storage]
driver = "vfs"
graphroot = "$dir/graph"
runroot = "$dir/run"
.
cat >"$dir/containers.conf" <<.
[containers]
cgroups = "disabled"
netns = "host"
default_ulimits = []
[engine]
runtime = "crun"
.
clean() {
	podman rm --all --force >/dev/null 2>&1 || :
	podman network rm tokend-test_default >/dev/null 2>&1 || : # the only thing outside
	[ -z "${issuers-}" ] || kill "$issuers"
	rm -rf "$dir"
}
trap clean EXIT
fail() { echo "FAIL: $*" >&2; podman logs tokend-test_tokend_1 >&2 2>&1 || :; exit 1; }
ok() { echo "ok   $*"; }

CGO_ENABLED=0 go build -o "$dir/play" ./packaging/boottest/issuers
mkdir "$dir/compose" "$dir/issuers"
"$dir/play" "$dir/issuers" &
issuers=$!
until [ -s "$dir/issuers/key.json" ]; do sleep 0.1; done

CERTIFICATES=$dir/issuers/ca.pem BUILD_OPTIONS=--isolation=chroot packaging/container/build.sh >"$dir/log" 2>&1 || { cat "$dir/log"; fail "the image"; }
ok "the image is made from programs that were built outside it"

cp packaging/container/compose.yaml packaging/container/config.toml "$dir/compose/"
cd "$dir/compose"
head -c32 /dev/urandom >key
install -m 0400 -o 65532 key tokend.key
# podman-compose wants a network of its own for each project.
cat >"$dir/podman" <<'.'
#!/bin/bash
args=()
while [ $# -gt 0 ]; do
	case $1 in
	run) args+=(run --ulimit=host) ;;
	--net | --network-alias) shift ;;
	*) args+=("$1") ;;
	esac
	shift
done
exec podman "${args[@]}"
.
chmod +x "$dir/podman"
compose() { podman-compose --no-ansi --podman-path "$dir/podman" -f compose.yaml -p tokend-test "$@"; }
compose up -d tokend >>"$dir/log" 2>&1 || { cat "$dir/log"; fail "compose up"; }
until podman exec tokend-test_tokend_1 tokenctl status >"$dir/status" 2>&1; do
	podman container inspect -f '{{.State.Running}}' tokend-test_tokend_1 | grep -q true || fail "tokend does not run"
	sleep 0.1
done
ok "tokend runs, as user 65532, with the mounted key"
podman exec -i tokend-test_tokend_1 tokenctl add clms --service-key - --allow-user 1000 <"$dir/issuers/key.json" >"$dir/said" 2>&1 || { cat "$dir/said"; fail "add"; }
token=$(podman exec tokend-test_tokend_1 tokenctl get clms)
# app runs the other container, prints what podman-compose and tokenctl say, and
# reports whether the token is there: podman-compose exits with 0 always.
app() {
	compose run -T --rm --no-deps "$@" get clms >"$dir/said" 2>&1
	grep -qxF -e "$token" "$dir/said"
}
app app || fail "the other container: $(cat "$dir/said")"
ok "user 1000 in another container gets a token through the socket"
for user in 1001:1001 1001:1000; do
	! app -u $user app || fail "$user got one"
done
grep -q 'no profile "clms"' "$dir/said" || fail "to user 1001, who is in the group, it says: $(cat "$dir/said")"
! app -e TOKEND_SERVER_UID=0 app || fail "a server is trusted that is not named"
grep -q 'served by uid 65532' "$dir/said" || fail "without TOKEND_SERVER_UID: $(cat "$dir/said")"
ok "others do not, and only the server that is named is trusted"
kill "$issuers"
issuers=
podman restart tokend-test_tokend_1 >>"$dir/log" 2>&1
until podman exec tokend-test_tokend_1 tokenctl status >/dev/null 2>&1; do sleep 0.1; done
app app || fail "after a restart: $(cat "$dir/said")"
ok "after a restart it serves the token of before, without an issuer"
