#!/usr/bin/env bash
# Avahi on this link alone, with a bus of its own: tells what instances of each TYPE come (`TYPE =;…`) and go (`TYPE -;…`)
# until it is killed, and all that it started with it. Needs root.
#
# Usage: unshare --mount --pid --fork --kill-child avahi_browse.sh FOLDER TYPE…
set -euo pipefail

folder=$1
mount -t tmpfs none /run
mkdir -p /run/dbus /run/avahi-daemon
cat >"$folder/bus.conf" <<'XML'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
XML
printf '[server]\nallow-interfaces=eth0\n[publish]\ndisable-publishing=yes\n' >"$folder/avahi.conf"
dbus-daemon --config-file="$folder/bus.conf" --nofork 2>/dev/null &
until [[ -S /run/dbus/system_bus_socket ]]; do sleep 0.05; done
avahi-daemon --no-drop-root --no-chroot --no-rlimits --file="$folder/avahi.conf" >/dev/null 2>&1 &
for type in "${@:2}"; do
    until stdbuf -oL avahi-browse --parsable --resolve "$type" 2>/dev/null; do sleep 0.1; done | sed --unbuffered "s/^/$type /" &
done
wait
