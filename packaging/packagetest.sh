#!/bin/sh
# Builds the packages for this machine twice, the second time with the umask 000,
# and checks that they are the same to the last byte, hold the right files, and are
# closed to others. boottest/run.sh tries the installed package.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
fail() { echo "packagetest.sh: $*" >&2; exit 1; }

arch=$(go env GOARCH)
packaging/build.sh -o "$out/a" -a "$arch" 1.2.3-rc.1 >"$out/built"
(umask 000 && packaging/build.sh -o "$out/b" -a "$arch" 1.2.3-rc.1 >/dev/null)
[ "$(grep -c tokend "$out/built")" = 3 ] || fail "not three packages: $(cat "$out/built")"
for package in "$out"/a/tokend*; do
	cmp "$package" "$out/b/$(basename "$package")" || fail "the same source made a different package"
done

# The lists of files, as "mode owner/group path".
tar_list() { awk '{ sub(/^(\.\/)?/, "/", $6); print $1, $2, $6, $7, $8 }'; }
dpkg-deb -c "$out"/a/*.deb | tar_list >"$out/deb"
rpm -qlpv "$out"/a/*.rpm | awk '{ print $1, $3 "/" $4, $9, $10, $11 }' >"$out/rpm"
tar -tvzf "$out"/a/*.apk 2>/dev/null | tar_list | grep ' /usr/' >"$out/apk"
for format in deb rpm apk; do
	grep -v '^d' "$out/$format" | sed 's/^l\S* \S*/l/; s/vendor-completions/site-functions/; s/ *$//' | sort >"$out/$format.files"
	cmp -s "$out/deb.files" "$out/$format.files" || fail "the .$format and the .deb differ: $(diff "$out/deb.files" "$out/$format.files")"
done
grep -vE '^(-rwxr-xr-x root/root /usr/bin/|-rw-r--r-- root/root /usr/(lib/systemd|lib/sysusers.d|share)/|l )' "$out/deb.files" && fail "these have the wrong mode or place"

find README.md docs -name '*.md' | while read -r file; do
	grep -q " /usr/share/doc/tokend/$file\$" "$out/deb.files" || fail "$file is not in the packages"
done
for unit in tokend.service tokend.socket; do
	for manager in system user; do
		grep -q " /usr/lib/systemd/$manager/$unit\$" "$out/deb.files" || fail "$unit for the $manager is not in the packages"
	done
done
grep -q " /usr/lib/systemd/user/tokend-notify.service\$" "$out/deb.files" || fail "tokend-notify.service is not in the packages"
[ "$(dpkg-deb -f "$out"/a/*.deb Version)" = "1.2.3~rc.1" ] || fail "the version is $(dpkg-deb -f "$out"/a/*.deb Version)"
dpkg-deb -x "$out"/a/*.deb "$out/root"
"$out/root/usr/bin/tokend" --version | grep -q "1.2.3-rc.1" || fail "the program says $("$out/root/usr/bin/tokend" --version)"
man -l "$out/root/usr/share/man/man1/tokend.1.gz" | grep -q "tokend 1.2.3-rc.1" || fail "the man page does not name its version"
go version -m "$out/root/usr/bin/tokend" >"$out/settings"
for setting in CGO_ENABLED=0 -trimpath=true GOEXPERIMENT=runtimesecret; do
	grep -q -e "$setting" "$out/settings" || fail "tokend was built without $setting"
done
echo "packages: $(wc -l <"$out/deb.files") files in each"
