#!/bin/sh
# After the files were removed. Keys, profiles and cached tokens stay until
# you ask for their end: with dpkg that is purging, elsewhere rm.
set -e

reload() { if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi; }

case ${1:-} in
purge) # dpkg
	rm -rf /var/lib/tokend /etc/tokend
	drop_ins=/etc/systemd/system/tokend.service.d
	grep -ls "^# Written by tokend setup" $drop_ins/*.conf | xargs -r rm -f
	rmdir $drop_ins 2>/dev/null || true # others' drop-ins stay
	reload
	echo "tokend: deleted /var/lib/tokend and /etc/tokend: profiles, keys and cached tokens of the system service."
	echo "tokend: The user and group tokend stay, as do the keys of users' own services."
	;;
remove) # dpkg
	reload
	echo "tokend: keys and profiles stay in /var/lib/tokend and /etc/tokend; apt purge tokend deletes them."
	;;
upgrade | failed-upgrade | abort-install | abort-upgrade | disappear) ;; # dpkg
1) ;;                                                                    # rpm, upgrade
*)                                                                       # rpm, apk
	reload
	echo "tokend: keys and profiles stay in /var/lib/tokend and /etc/tokend; to delete them: rm -r /var/lib/tokend /etc/tokend"
	;;
esac
