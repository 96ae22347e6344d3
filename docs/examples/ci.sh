#!/bin/sh
# For the repository of a service: builds each of its roles twice, outside any session, and demands the same package.
#
#   ci.sh FOLDER-OF-THE-SERVICE ROLE…
set -eu
folder=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Builds need no node and no identity; a state directory of their own keeps them apart from those that are there.
export DEPLOYCTL_FORMAT=json DEPLOYCTL_STATE="$work/state"

for role in "$@"; do
    for turn in 1 2; do
        # Manifest and provenance are signed by a key that is thrown away, so that only the package is compared.
        deployctl build --service "$folder" --role "$role" --output "$work/$role.$turn" |
            jq -er .package.digest >"$work/$role.$turn.digest"
    done
    if ! cmp -s "$work/$role.1.digest" "$work/$role.2.digest"; then
        echo "$role: two builds give two packages" >&2
        exit 1
    fi
    echo "$role: $(cat "$work/$role.1.digest")"
done
