#!/bin/sh
# Runs a service together with others from a script, and ends it whatever happens.
#
#   session.sh SERVICE PROVIDER PEER [MINUTES]
#
# Says on stdout what it cost. Exits as deployctl does: 3 where somebody said no, 5 where trying again may help, 7 where it
# ran, but not with everybody.
set -eu
service=$1 provider=$2 peer=$3 minutes=${4:-1}
export DEPLOYCTL_FORMAT=json

session=
end() {
    code=$?
    trap - EXIT INT TERM
    if [ -n "$session" ]; then
        deployctl stop "$session" --reason 'the script is over' >/dev/null || true
    fi
    exit "$code"
}
trap end EXIT
trap 'exit 130' INT TERM

session=$(deployctl --no-input request "$service" --provider "$provider" --peer "$peer" | jq -r .session)
deployctl --timeout 10m start "$session" >/dev/null
sleep "$((minutes * 60))"
deployctl --timeout 5m account "$session" --final | jq -r '"\(.total) \(.currency)"'
