#!/bin/sh
# A user's own service, as tokend install makes it. Takes the package, installed
# or in /test, and a Debian with dbus-user-session, libpam-systemd, gnome-keyring
# and libsecret-tools. It makes its user, ursula.
. /test/lib.sh

fail() {
	echo "FAIL $*"
	as systemctl --user status tokend.service tokend.socket --no-pager || true
	as journalctl --user --no-pager -n 50 || true
	exit 1
}

[ -e /usr/bin/tokend ] || quietly dpkg -i /test/tokend_1.0.1_*.deb
# By hand: not the program that the package's units name.
install -m 0755 /usr/bin/tokend /usr/bin/tokenctl /usr/local/bin/
useradd -m ursula
uid=$(id -u ursula)
run=/run/user/$uid
home=/home/ursula
as() { runuser -u ursula -- env -i "PATH=$PATH" "HOME=$home" "XDG_RUNTIME_DIR=$run" "DBUS_SESSION_BUS_ADDRESS=unix:path=$run/bus" "$@"; }
active() { as systemctl --user is-active -q tokend.service; }
# unlock starts the keyring as a login does that knows the password. D-Bus may
# start another one meanwhile, when a program asks, and that one is locked.
unlock() { soon 20 unlocked || fail "the keyring stays locked"; }
unlocked() {
	as sh -c 'printf secret | gnome-keyring-daemon --replace --unlock --components=secrets'
	sleep 0.2
	as busctl --user get-property org.freedesktop.secrets /org/freedesktop/secrets/collection/login org.freedesktop.Secret.Collection Locked | grep -q false
}
uproperty() { as systemctl --user show -p "$1" --value tokend.service; }

mkdir -p /test/user
issuers /test/user &
issuers=$!
trap 'kill $issuers' EXIT # a part ends with what it started
soon 100 test -s /test/user/key.json || fail "the issuers do not start"
chmod -R a+rX /test/user
as mkdir -p $home/.config/tokend
printf 'ca_file = "/test/user/ca.pem"\nproxy = "none"\n' >$home/.config/tokend/config.toml
chown ursula: $home/.config/tokend/config.toml

# No session of hers: said, with what to do.
as tokend install >/tmp/out 2>&1 && fail "it installs without systemd"
grep -q 'enable-linger' /tmp/out || fail "without a session: $(cat /tmp/out)"
[ ! -e $home/.config/systemd ] || fail "it left units behind"
ok "without a session it says what is missing"

loginctl enable-linger ursula
soon 100 as systemctl --user is-system-running || soon 50 test -S $run/bus || fail "no session for ursula"

# Before the setup: installed, enabled, not started, and says what is next.
as sh -c 'umask 000; tokend install' >/tmp/out 2>&1 || fail "install: $(cat /tmp/out)"
grep -q '^Next: tokend setup, then: tokend start$' /tmp/out || fail "install before setup says: $(cat /tmp/out)"
as systemctl --user is-enabled -q tokend.service tokend.socket || fail "not enabled"
! find $home/.config $home/.local -perm /o+w ! -type l | grep . || fail "open to others"
status=0
as tokend start >/tmp/out 2>&1 || status=$?
[ $status = 78 ] || fail "not set up: status $status: $(cat /tmp/out)"
grep -q 'not set up: run "tokend setup"' /tmp/out || fail "not set up: $(cat /tmp/out)"
ok "installed before the setup, it says so, and ends with its status"

# The keyring, unlocked as a login does it.
unlock
soon 50 as secret-tool search none none || true
as tokend setup >/dev/null || fail "setup"
# The socket is held ready, so one by hand would be in the way of the service.
status=0
as tokend run 2>/tmp/out || status=$?
[ $status = 3 ] && grep -q 'service manager' /tmp/out || fail "by hand: status $status: $(cat /tmp/out)"
as tokend stop
as tokenctl --start status >/dev/null || fail "by hand"
status=0
as tokend start 2>/tmp/out || status=$?
[ $status = 3 ] && grep -q 'another tokend, process' /tmp/out || fail "beside one by hand: status $status: $(cat /tmp/out)"
as tokend install >/tmp/out || fail "install in the place of one by hand: $(cat /tmp/out)"
grep -q 'the service takes its place' /tmp/out || fail "in the place of one by hand: $(cat /tmp/out)"
as tokend status >/tmp/out || fail "status: $(cat /tmp/out)"
grep -q 'runs, process .*keystore os: ok' /tmp/out || fail "status: $(cat /tmp/out)"
as tokenctl logs >/tmp/out 2>&1 || usermod -aG systemd-journal ursula # as it says
as tokenctl logs >/tmp/out 2>&1 && grep -q 'tokend serves' /tmp/out || fail "logs: $(cat /tmp/out)"
as tokenctl add clms --provider clms --service-key /test/user/key.json >/dev/null || fail "add"
as tokenctl get clms | grep -q . || fail "get"
as secret-tool search --all service tokend 2>&1 | grep -q clms/private_key || fail "the key is not in the keyring"
ok "started, it serves, with the keys in her keyring"

# What it cannot do (a process that joins its mount namespace sees the same).
pid=$(uproperty MainPID)
inside() { nsenter -t "$pid" -m -- "$@" 2>/dev/null; }
for file in /usr/x /etc/x $home/x $home/.config/x $run/x; do
	inside touch $file && fail "$file can be written"
done
inside touch $home/.config/tokend/x && inside rm $home/.config/tokend/x || fail "its configuration cannot be written"
touch /tmp/seen-from-outside
inside ls /tmp | grep -q seen && fail "it sees /tmp"
grep -q "^ *$uid *$uid *1$" /proc/$pid/uid_map || fail "no user namespace of its own"
[ "$(awk '/^NoNewPrivs/ {print $2}' /proc/$pid/status)" = 1 ] || fail "it can gain privileges"
as tokenctl status | grep -q 'landlock: ok' || fail "Landlock is not active: $(as tokenctl status)"
ok "the sandbox is active"

# Over restarts, also by a new installation, no call is lost.
(
	n=0
	while [ ! -e /tmp/user-done ]; do
		as tokenctl get clms >/dev/null || echo "call $n failed" >>/tmp/user-lost
		n=$((n + 1))
	done
	echo $n >/tmp/user-calls
) &
as systemctl --user restart tokend
sleep 0.3
as tokend restart
sleep 0.3
as tokend install >/dev/null || fail "install again"
touch /tmp/user-done
soon 100 test -s /tmp/user-calls || fail "the caller hangs"
[ ! -e /tmp/user-lost ] || fail "$(wc -l </tmp/user-lost) of $(cat /tmp/user-calls) calls failed: $(head -3 /tmp/user-lost)"
[ "$(uproperty MainPID)" != "$pid" ] || fail "it did not restart"
ok "no call of $(cat /tmp/user-calls) was lost over three restarts"

# A second one by hand takes nothing away.
status=0
as tokend run 2>/tmp/out || status=$?
[ $status = 3 ] || fail "the second tokend: status $status: $(cat /tmp/out)"
as tokenctl status >/dev/null || fail "the service does not answer after a second start"
ok "a second one ends with status 3"

kill -KILL "$(uproperty MainPID)"
soon 30 active || fail "not started again after a kill"
as tokenctl get clms >/dev/null || fail "no token after a kill"
as systemctl --user reload tokend || fail "reload"
printf 'nonsense = 1\n' >>$home/.config/tokend/config.toml
as systemctl --user reload tokend 2>/dev/null && fail "a bad configuration is reloaded"
sed -i '$d' $home/.config/tokend/config.toml
as tokenctl get clms >/dev/null || fail "no token after a bad reload"
ok "killed, it starts again; reload reports a bad configuration"

# Locked, it stays up and serves what it has, and needs her; unlocked, it recovers.
lock() {
	as dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \
		org.freedesktop.Secret.Service.Lock array:objpath:/org/freedesktop/secrets/collection/login >/dev/null
}
lock || fail "the keyring cannot be locked"
as tokenctl get clms >/dev/null || fail "locked: not the cached token"
printf '#!/bin/sh\nexec cat >>%s/needs\n' $home >/tmp/hook
chmod 0755 /tmp/hook
as tokend notify --hook /tmp/hook 2>/dev/null &
as tokend restart || fail "locked: it does not start"
as tokenctl status | grep -q 'os: locked' || fail "locked: $(as tokenctl status)"
soon 50 grep -q '"event":"locked"' $home/needs || fail "tokend notify does not say that the keyring is locked"
pkill -u ursula -f 'tokend notify'
unlock
soon 100 as tokenctl get clms || fail "unlocked: $(as tokenctl get clms 2>&1)"
ok "with a locked keyring it stays up, and recovers"

# Half an installation is put right.
as systemctl --user stop tokend.socket tokend.service
rm $home/.config/systemd/user/tokend.socket $home/.config/systemd/user/default.target.wants/tokend.service
printf '[Service]\nType=nonsense\n' >$home/.config/systemd/user/tokend.service
as tokend install >/dev/null || fail "over half an installation"
as tokenctl get clms >/dev/null || fail "over half an installation: no token"
as systemctl --user is-enabled -q tokend.service tokend.socket || fail "over half an installation: not enabled"
ok "half an installation is put right"

# She logs in: it starts by itself, without help.
loginctl terminate-user ursula
soon 100 test ! -e $run/bus || fail "her session does not end"
loginctl enable-linger ursula
systemctl start "user@$uid.service"
soon 100 active || fail "it does not start at login"
as tokenctl status | grep -q 'os: locked' || fail "at login: $(as tokenctl status)"
unlock
soon 100 as tokenctl get clms || fail "after login: $(as tokenctl get clms 2>&1)"
ok "it starts at login, and serves once the keyring is unlocked"

as tokend stop || fail "stop"
! active || fail "stop does not stop it"
[ ! -e $run/tokend/tokend.sock ] || fail "stop leaves the socket"
as tokenctl get clms 2>/dev/null && fail "stopped, it answers"
as tokend status >/dev/null 2>&1 && fail "status takes it for running"
as tokend start || fail "start after stop"
ok "stopped is stopped"

# Notifications, with her desktop session; a plain install leaves them.
notifies() { as systemctl --user is-active -q tokend-notify.service && as systemctl --user is-enabled -q tokend-notify.service; }
as tokend install --notify >/tmp/out || fail "install --notify: $(cat /tmp/out)"
soon 50 notifies || fail "tokend notify does not run: $(as systemctl --user status tokend-notify.service)"
soon 50 as sh -c 'curl -s --unix-socket $XDG_RUNTIME_DIR/tokend/tokend.sock http://tokend/metrics | grep -q "^tokend_event_watchers 1"' || fail "tokend notify does not follow tokend"
as tokend install >/dev/null || fail "install after install --notify"
notifies || fail "install ends tokend notify"
ok "tokend notify runs in her session"

as tokend uninstall >/tmp/out || fail "uninstall: $(cat /tmp/out)"
notifies && fail "uninstall leaves tokend notify"
find $home/.config/systemd | grep tokend && fail "uninstall leaves units"
[ -e $home/.local/state/tokend/install.toml ] || fail "uninstall takes the state away"
as secret-tool search --all service tokend 2>&1 | grep -q clms/private_key || fail "uninstall takes the keys away"
as tokend uninstall >/tmp/out || fail "uninstall again: $(cat /tmp/out)"
as tokend install >/dev/null || fail "install after uninstall"
as tokenctl get clms >/dev/null || fail "no token after uninstall and install"
ok "uninstall leaves keys and configuration"

# Installed from a directory, and for one, whose names mean something to systemd.
bin="$home/50% of %h"
as mkdir "$bin"
as cp /usr/bin/tokend /usr/bin/tokenctl "$bin/"
odd="$home/it's \"\$HOME\" %t; or\\not"
as mkdir "$odd"
as cp -r $home/.config/tokend "$odd/config"
as "$bin/tokend" install --config "$odd/config" --socket "$odd/s" >/dev/null || fail "install with odd names"
as tokenctl get clms --socket "$odd/s" >/dev/null || fail "no token with odd names"
as tokenctl status --socket "$odd/s" | grep -qF "$odd/config" || fail "another configuration with odd names: $(as tokenctl status --socket "$odd/s")"
readlink "/proc/$(uproperty MainPID)/exe" | grep -qF "$bin/tokend" || fail "another program with odd names"
inside() { nsenter -t "$(uproperty MainPID)" -m -- "$@"; }
inside touch "$odd/config/x" && rm "$odd/config/x" || fail "the configuration with odd names cannot be written"
as systemctl --user reload tokend || fail "reload with odd names"
as tokend install >/dev/null || fail "install again without odd names"
[ ! -e "$odd/s" ] || fail "the socket with odd names is still there"
rm -r "$odd" "$bin"
ok "names that mean something to systemd are taken for names"

# The package's units, if it is the package's program.
as /usr/bin/tokend install >/tmp/out || fail "install of the package's program: $(cat /tmp/out)"
grep -q '^Installed: /usr/lib/systemd/user/tokend.service$' /tmp/out || fail "it does not use the package's unit: $(cat /tmp/out)"
[ ! -e $home/.config/systemd/user/tokend.service ] || fail "its own unit hides the package's"
as tokenctl get clms >/dev/null || fail "no token with the package's unit"
as tokend install >/dev/null || fail "install again by hand"
[ -e $home/.config/systemd/user/tokend.service ] || fail "the package's unit runs another program"
ok "the package's program is started by the package's units"

# A system on which users may make no namespaces.
mkdir -p "/etc/systemd/system/user@$uid.service.d"
printf '[Service]\nRestrictNamespaces=~user\n' >"/etc/systemd/system/user@$uid.service.d/test.conf"
systemctl daemon-reload
systemctl restart "user@$uid.service"
soon 50 test -S $run/bus || fail "no session without namespaces"
unlock
as tokend install >/tmp/out || fail "install without namespaces: $(cat /tmp/out)"
grep -q 'sandbox is off' /tmp/out || fail "without namespaces it does not say so: $(cat /tmp/out)"
as tokenctl get clms >/dev/null || fail "no token without namespaces"
as tokenctl status | grep -q 'landlock: ok' || fail "without namespaces there is no Landlock either: $(as tokenctl status)"
as tokend status | grep -q 'sandbox is off' || fail "without namespaces status does not say so"
rm -r "/etc/systemd/system/user@$uid.service.d"
systemctl daemon-reload
systemctl restart "user@$uid.service"
soon 50 test -S $run/bus || fail "no session again"
unlock
as tokend install >/dev/null || fail "install with namespaces again"
inside touch $home/x 2>/dev/null && fail "there is no sandbox although there could be"
ok "where there can be no sandbox it runs without, and says so"

as tokend uninstall --purge </dev/null >/tmp/out 2>&1 && fail "purge does not ask"
as tokenctl get clms >/dev/null || fail "a purge that was not answered did something"
as tokend uninstall --purge --yes >/tmp/out || fail "purge: $(cat /tmp/out)"
as secret-tool search --all service tokend 2>&1 | grep . && fail "purge leaves items in the keyring"
find $home -path '*tokend*' | grep . && fail "purge leaves files"
ok "purge leaves nothing"

# At a terminal: the keyring, and Enter for the start; again, there is nothing to ask.
printf '\n' | as script -qec 'tokend setup' /dev/null >/tmp/out || fail "setup at a terminal: $(cat /tmp/out)"
grep -q 'Start tokend now and when you log in' /tmp/out || fail "setup does not offer the start: $(cat /tmp/out)"
as systemctl --user is-enabled -q tokend.service && as tokenctl status >/dev/null || fail "setup does not start tokend: $(cat /tmp/out)"
as script -qec 'tokend setup' /dev/null </dev/null >/tmp/out || fail "setup again: $(cat /tmp/out)"
grep -q 'tokend runs, process .* starts when you log in' /tmp/out || fail "setup again says: $(cat /tmp/out)"
as tokend uninstall --purge --yes >/tmp/out || fail "purge after setup: $(cat /tmp/out)"
ok "setup at a terminal starts it, now and at login"

# The package's units without tokend install, on a host with no keyring.
useradd -m vera
loginctl enable-linger vera
vera() { runuser -u vera -- env -i "PATH=/usr/bin:/bin" HOME=/home/vera "XDG_RUNTIME_DIR=/run/user/$(id -u vera)" "$@"; }
soon 100 vera systemctl --user is-active -q default.target || fail "no session for vera"
quietly vera tokend setup --keystore sealed --key-file /home/vera/tokend.key
vera cp /test/user/ca.pem /home/vera/.config/tokend/
vera sh -c 'printf "ca_file = \"/home/vera/.config/tokend/ca.pem\"\nproxy = \"none\"\n" >/home/vera/.config/tokend/config.toml'
quietly vera systemctl --user enable --now tokend
quietly vera tokenctl add clms --provider clms --service-key /test/user/key.json
vera tokenctl get clms | grep -q . || fail "vera gets no token"
[ "$(vera tokend status | grep -c 'runs, process')" = 1 ] || fail "status does not know a service that was enabled by hand"
ok "the package's units work without tokend install"
