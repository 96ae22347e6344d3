#!/bin/sh
# Waits for a session to come to a state, by the lines that `status --watch` writes.
#
#   wait-for.sh SESSION STATE
set -eu
deployctl --format json status "$1" --watch | jq --unbuffered -e --arg state "$2" 'select(.state == $state) | halt' >/dev/null
