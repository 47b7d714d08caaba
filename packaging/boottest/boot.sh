#!/bin/sh
# Runs the next part of the test at each boot of the container. It reboots between
# two parts, and powers off after the last or a failed one.
set -u
parts="inside.sh again.sh install.sh user.sh"
done=$(cat /test/done 2>/dev/null || echo 0)
part=$(echo "$parts" | cut -d' ' -f $((done + 1)))

/bin/sh "/test/$part" >>/test/log 2>&1
status=$?
echo $((done + 1)) >/test/done
if [ $status = 0 ] && [ $((done + 1)) -lt "$(echo "$parts" | wc -w)" ]; then
	systemctl reboot
else
	echo $status >/test/status
	systemctl poweroff --force
fi
