#!/bin/sh
# Both hosts on this one, each with directories and a key of its own below $1. Ctrl-C ends both.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
base=${1:?usage: try.sh DIRECTORY}
mkdir -p "$base/top" "$base/edge"
top=$(sng keygen "$base/top/node.key" 2>/dev/null || sng keygen --show "$base/top/node.key")
edge=$(sng keygen "$base/edge/node.key" 2>/dev/null || sng keygen --show "$base/edge/node.key")

# What a person would do with an editor: put the public key of each into the file of the other.
with_key() {
    NEW_KEY=$2 awk '{ if ($1 == "public_key") print "public_key = \"" ENVIRON["NEW_KEY"] "\""; else print }' "$1"
}
with_key "$here/top.toml" "$edge" >"$base/top/tree.toml"
with_key "$here/edge.toml" "$top" >"$base/edge/tree.toml"

for node in top edge; do
    supervisord-ng -c "$base/$node/tree.toml" --runtime-dir "$base/$node/run" --state-dir "$base/$node" &
done
trap 'kill 0' INT TERM
echo "in another terminal: sng --runtime-dir $base/top/run status --all"
wait
