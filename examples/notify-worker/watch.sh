#!/bin/sh
# Watches how full a file system is, and says so with systemd-notify(1).
set -eu # what fails ends the script, and the supervisor starts another

directory=${1:-.}
say() { # to the supervisor, if there is one
    if [ -n "${NOTIFY_SOCKET-}" ]; then systemd-notify "$@"; fi
}
trap 'say STOPPING=1; echo "no longer watching $directory"; exit 0' TERM

echo "watching $directory"
say --ready --status="watching $directory"
while :; do
    used=$(df --output=pcent "$directory")
    say WATCHDOG=1 "STATUS=${used##* } used"
    # In the background: a trap waits for a command in the foreground, but `wait` ends at once.
    sleep 1 &
    wait $!
done
