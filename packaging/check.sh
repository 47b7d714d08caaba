#!/bin/sh
# Installs what the tests need and passes them. Run from anywhere, as often as
# you like; on Debian and Ubuntu it installs missing tools with apt-get.
set -eu
cd "$(dirname "$0")/.."

# A test whose tool is missing fails instead of being skipped. With CI=true, as
# CI sets it, so does one that needs root, for a second uid.
export CI="${CI:-tools}"
PATH=$PATH:/usr/sbin:/sbin # nginx

say() { printf '\n== %s\n' "$*"; }

# Independent implementations to compare signatures with, programs that ask tokend,
# and what the examples in the documentation use. Debian has no packages of the
# first ones.
need_libraries() {
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/tokend-check
	for library in jsonwebtoken @azure/identity pnpm; do
		[ -d "$cache/node_modules/$library" ] && continue
		npm install --prefix "$cache" --no-audit --no-fund --silent jsonwebtoken@9.0.3 @azure/identity@4.13.0 pnpm@10.34.1
		break
	done
	export NODE_PATH="$cache/node_modules"
	/usr/bin/python3 -c 'import jwt, cryptography, osgeo, requests, httpx' 2>/dev/null ||
		install_packages python3-jwt python3-cryptography python3-gdal python3-requests python3-httpx
	python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
	Rscript -e 'library(httr2); library(jsonlite)' >/dev/null 2>&1 || install_packages r-base-core r-cran-httr2 r-cran-jsonlite
}

install_packages() {
	command -v apt-get >/dev/null || { echo "check.sh: please install: $*" >&2; exit 1; }
	root=
	[ "$(id -u)" = 0 ] || root=sudo
	$root apt-get update -q
	DEBIAN_FRONTEND=noninteractive $root apt-get install -y -q --no-install-recommends "$@"
}

need_packages() {
	missing=
	for pair in gnome-keyring-daemon:gnome-keyring dbus-daemon:dbus-daemon dbus-run-session:dbus-daemon dbus-launch:dbus-x11 swtpm:swtpm tpm2_pcrread:tpm2-tools \
		secret-tool:libsecret-tools curl:curl git:git script:bsdutils gcc:gcc ps:procps nginx:nginx-light python3:python3 node:nodejs npm:npm \
		docker:docker.io skopeo:skopeo cargo:cargo gdalinfo:gdal-bin systemd-analyze:systemd openssl:openssl jq:jq \
		shellcheck:shellcheck mandoc:mandoc man:man-db rpm:rpm systemd-nspawn:systemd-container debootstrap:debootstrap promtool:prometheus; do
		command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
	done
	# shellcheck disable=SC2086 # one word per package
	[ -z "$missing" ] || install_packages $missing
}

formatted() {
	unformatted=$(gofmt -l .)
	[ -z "$unformatted" ] || { echo "not formatted by gofmt: $unformatted" >&2; exit 1; }
}

# The vulnerability database is a service of its own ($GOVULNDB names another).
# Where it cannot be reached the answer is unknown, and that is said.
vulnerabilities() {
	if out=$(go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ${GOVULNDB:+-db "$GOVULNDB"} ./... 2>&1); then
		echo "$out"
		return 0
	fi
	echo "$out" >&2
	case $out in
	*"no such host"* | *"connection refused"* | *"i/o timeout"* | *"network is unreachable"* | *"misbehaving"*)
		echo "check.sh: the vulnerability database cannot be reached; known vulnerabilities were NOT looked for" >&2 ;;
	*) exit 1 ;;
	esac
}

# A container is booted, which takes root. CI has it; elsewhere somebody may not.
boot_test() {
	if [ "$(id -u)" = 0 ]; then
		packaging/boottest/run.sh
	elif [ "$CI" = true ]; then
		echo "check.sh: the boot test needs root" >&2
		exit 1
	else
		echo "check.sh: not root: the package was NOT installed and tried in a container; that is: sudo packaging/boottest/run.sh" >&2
	fi
}

say "tools"
need_packages
need_libraries
say "gofmt"
formatted
say "shellcheck"
find . -name '*.sh' -not -path './build/*' -exec shellcheck -x -S warning {} +
say "go vet, here and for the other platforms"
go vet ./...
go vet -C packaging/bench ./...
for os in darwin windows; do
	GOOS=$os go build ./...
	GOOS=$os go vet ./...
	GOOS=$os go vet -C packaging/bench ./...
done
say "staticcheck"
go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
go run -C packaging/bench honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
say "govulncheck"
vulnerabilities
say "go test -race"
go test -race -timeout 20m ./...
go test -C packaging/bench -race ./...
say "keys are erased after their use, in a build that does that"
case $(go env GOOS)/$(go env GOARCH) in
linux/amd64 | linux/arm64) GOEXPERIMENT=runtimesecret go test -run Erased ./cmd/tokend ;;
esac
if [ "$CI" = true ]; then
	say "a minute of kills, cuts, a full disk and a locked keyring"
	packaging/soak.sh 1m
fi
say "garbage for every decoder"
if [ "$CI" = true ]; then packaging/fuzz.sh 30s; else packaging/fuzz.sh 3s; fi
say "packages"
packaging/packagetest.sh
say "boot test"
boot_test
