#!/bin/sh
# Run a program as three nodes with a network of their own: namespaces n0 to n2 with addresses 10.77.0.10 to 12 on veth
# pairs, at a bridge. Usage: namespaces.sh PROGRAM ARGUMENT..., which is given the node's number as its last argument.
set -eu
if [ "${INSIDE:-}" != yes ]; then
    INSIDE=yes exec unshare --user --map-root-user --net --mount sh "$0" "$@"
fi
mount -t tmpfs none /run
ip link add name lan type bridge
ip link set lan up
for node in 0 1 2; do
    ip netns add "n$node"
    ip link add "port$node" type veth peer name fabric netns "n$node"
    ip link set "port$node" master lan up
    ip -n "n$node" link set lo up
    ip -n "n$node" link set fabric up
    ip -n "n$node" address add "10.77.0.1$node/24" dev fabric
done
pids=
for node in 2 1 0; do
    ip netns exec "n$node" "$@" "$node" &
    pids="$pids $!"
done
status=0
for pid in $pids; do
    wait "$pid" || status=$?
done
exit "$status"
