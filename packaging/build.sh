#!/bin/sh
# Builds the packages of tokend: .deb, .rpm and .apk from packaging/nfpm.yaml,
# with man pages and completions made by the programs themselves.
#
#	packaging/build.sh [-o DIR] [-a ARCHITECTURES] [-f FORMATS] [VERSION]
#	packaging/build.sh -o /tmp/out -a amd64 -f deb 1.2.3
#
# DIR (build) gets the packages, and man/ and completions/ beside them. VERSION is
# that of the last tag unless given. The same commit and Go make the same bytes;
# SOURCE_DATE_EPOCH is the commit's time unless set.
set -eu
cd "$(dirname "$0")/.."

nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2

out=build
architectures="amd64 arm64"
formats="deb rpm apk"
usage() { sed -n 's/^#\t/usage: /p' "$0" | head -1 >&2; exit 2; }
while getopts o:a:f:h flag; do
	case $flag in
	o) out=$OPTARG ;;
	a) architectures=$OPTARG ;;
	f) formats=$OPTARG ;;
	h)
		sed -n '2,/^[^#]/s/^#[ \t]*//p' "$0"
		exit
		;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -le 1 ] || usage

# last_version is the version since the last tag: 1.2.3, or 1.2.4-dev.5 five
# commits after 1.2.3.
last_version() {
	commits=$(git rev-list --count HEAD)
	tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null) || { echo "0.0.0-dev.$commits"; return; }
	since=$(git rev-list --count "$tag..HEAD")
	tag=${tag#v}
	[ "$since" = 0 ] && { echo "$tag"; return; }
	echo "${tag%.*}.$((${tag##*.} + 1))-dev.$since"
}
VERSION=${1:-$(last_version)}
case $VERSION in
[0-9]*) ;;
*) echo "build.sh: $VERSION is not a version: it begins with a digit (1.2.3)" >&2; exit 2 ;;
esac
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export VERSION SOURCE_DATE_EPOCH
touch -d "@$SOURCE_DATE_EPOCH" packaging/scripts/*.sh # .apk keeps their times

# compile GOOS GOARCH. On Linux, Go erases keys from memory after their use
# (providers/token/erase).
compile() {
	experiment=
	[ "$1" != linux ] || experiment=runtimesecret
	mkdir -p "$STAGE/$1-$2"
	GOEXPERIMENT=$experiment CGO_ENABLED=0 GOOS=$1 GOARCH=$2 \
		go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o "$STAGE/$1-$2/" ./cmd/tokend ./cmd/tokenctl
}

mkdir -p "$out"
OUT=$(cd "$out" && pwd)
STAGE=$OUT/stage
export OUT STAGE
rm -rf "$STAGE" "$OUT/man" "$OUT/completions"
mkdir -p "$STAGE" "$OUT/man" "$OUT/completions"
for arch in $architectures; do
	compile linux "$arch"
done

# What the programs say of themselves, they say on this machine.
host=$STAGE/$(go env GOHOSTOS)-$(go env GOHOSTARCH)
[ -d "$host" ] || compile "$(go env GOHOSTOS)" "$(go env GOHOSTARCH)"
go run ./packaging/man -o "$OUT/man" -version "$VERSION" "$host/tokend" "$host/tokenctl"
for program in tokend tokenctl; do
	for shell in bash zsh fish; do
		"$host/$program" completion $shell >"$OUT/completions/$program.$shell"
	done
done

for ARCH in $architectures; do
	export ARCH
	for format in $formats; do
		go run $nfpm package --config packaging/nfpm.yaml --packager "$format" --target "$OUT/" >/dev/null
	done
done
rm -rf "$STAGE"
ls "$OUT"
