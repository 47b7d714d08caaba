#!/bin/sh
# Installs what the tests need and runs them, from any folder and as often as
# you like:
#
#	packaging/check.sh         what every change must pass, some minutes
#	packaging/check.sh full    everything, as CI runs it; needs root
#
# On Debian and Ubuntu it installs missing tools with apt-get.
set -eu
cd "$(dirname "$0")/.."
case "$# ${1:-}" in
"0 ") TOKEND_CHECK=quick ;;
"1 full") TOKEND_CHECK=full ;;
*) echo "usage: packaging/check.sh [full]" >&2; exit 2 ;;
esac
export TOKEND_CHECK # packaging/checktest: in full a missing tool fails its test
full() { [ "$TOKEND_CHECK" = full ]; }
full && [ "$(id -u)" != 0 ] && { echo "check.sh: full mounts disks and boots a container: run it as root" >&2; exit 1; }
PATH=$PATH:/usr/sbin:/sbin # nginx

say() { printf '\n== %s\n' "$*"; }

# install_packages waits while another apt-get runs. Its Lock::Timeout does not
# cover the package lists.
install_packages() {
	command -v apt-get >/dev/null || { echo "check.sh: please install: $*" >&2; exit 1; }
	root=
	[ "$(id -u)" = 0 ] || root=sudo
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		$root apt-get update -q && break
		sleep 15
	done
	DEBIAN_FRONTEND=noninteractive $root apt-get -o DPkg::Lock::Timeout=600 install -y -q --no-install-recommends "$@"
}

# need_programs installs the packages of missing programs, given as PROGRAM:PACKAGE.
need_programs() {
	missing=
	for pair; do
		command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
	done
	# shellcheck disable=SC2086 # one word per package
	[ -z "$missing" ] || install_packages $missing
}

# need_clients installs the programs that ask tokend, what the examples in the
# documentation use, and independent implementations to compare signatures with.
# Debian has no packages of the Node libraries and programs.
need_clients() {
	need_programs bash:bash zsh:zsh fish:fish swtpm:swtpm tpm2_pcrread:tpm2-tools nginx:nginx-light python3:python3 node:nodejs npm:npm \
		docker:docker.io skopeo:skopeo cargo:cargo gdalinfo:gdal-bin systemd-analyze:systemd openssl:openssl jq:jq \
		mandoc:mandoc man:man-db rpm:rpm git-lfs:git-lfs rclone:rclone systemd-nspawn:systemd-container debootstrap:debootstrap promtool:prometheus \
		keepassxc:keepassxc podman:podman podman-compose:podman-compose crun:crun direnv:direnv Xvfb:xvfb xdotool:xdotool ansible-playbook:ansible-core dunst:dunst
	/usr/bin/python3 -c 'import jwt, cryptography, osgeo, requests, httpx' 2>/dev/null ||
		install_packages python3-jwt python3-cryptography python3-gdal python3-requests python3-httpx
	python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
	Rscript -e 'library(httr2); library(jsonlite)' >/dev/null 2>&1 || install_packages r-base-core r-cran-httr2 r-cran-jsonlite
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/tokend-check
	for library in jsonwebtoken @azure/identity pnpm pnpm12; do
		[ -d "$cache/node_modules/$library" ] && continue
		npm install --prefix "$cache" --no-audit --no-fund --silent jsonwebtoken@9.0.3 @azure/identity@4.13.0 pnpm@10.34.1 pnpm12@npm:pnpm@12.21.0
		break
	done
	export NODE_PATH="$cache/node_modules"
}

formatted() {
	unformatted=$(gofmt -l .)
	[ -z "$unformatted" ] || { echo "gofmt would change: $unformatted" >&2; exit 1; }
}

# vet checks both modules: the product, and its benchmarks and soak.
vet() {
	go vet ./...
	go vet -C packaging/bench ./...
}

# vulnerabilities asks the database of known ones, a service ($GOVULNDB names
# another). Where it cannot be reached the answer is unknown.
vulnerabilities() {
	if out=$(go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ${GOVULNDB:+-db "$GOVULNDB"} ./... 2>&1); then
		echo "$out"
		return 0
	fi
	echo "$out" >&2
	case $out in
	*"no such host"* | *"connection refused"* | *"i/o timeout"* | *"network is unreachable"* | *"misbehaving"* | *"Forbidden"*)
		echo "check.sh: cannot reach the vulnerability database: did NOT look for known vulnerabilities" >&2 ;;
	*) exit 1 ;;
	esac
}

say "tools"
need_programs gcc:gcc git:git curl:curl ps:procps script:bsdutils shellcheck:shellcheck \
	dbus-daemon:dbus-daemon dbus-launch:dbus-x11 gnome-keyring-daemon:gnome-keyring secret-tool:libsecret-tools
if full; then need_clients; fi
say "gofmt"
formatted
say "shellcheck"
find . -name '*.sh' -not -path './build/*' -exec shellcheck -x -S warning {} +
say "go vet"
vet
say "staticcheck"
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
go run $staticcheck ./...
go run -C packaging/bench $staticcheck ./...
if ! full; then
	say "go test -race, cmd/tokend without -race"
	go list ./... | grep -v '^tokend/cmd/tokend$' | xargs go test -race
	go test -parallel 4 ./cmd/tokend # they wait for processes
	exit
fi

say "macOS and Windows"
for os in darwin windows; do
	(export GOOS=$os && go build ./... && vet)
done
say "govulncheck"
vulnerabilities
say "go test -race"
go test -race -timeout 40m ./...
say "keys are erased after their use"
case $(go env GOOS)/$(go env GOARCH) in
linux/amd64 | linux/arm64) GOEXPERIMENT=runtimesecret go test -run Erased ./cmd/tokend ;;
esac
say "a minute of kills, cuts, a full disk and a locked keyring"
packaging/soak.sh 1m
say "fuzzing"
packaging/fuzz.sh 5s || echo "check.sh: fuzzing found what is shown above; it may be older than your change, so it does not fail this check" >&2
say "packages"
packaging/packagetest.sh
say "containers"
packaging/container/test.sh
say "boot test"
packaging/boottest/run.sh
