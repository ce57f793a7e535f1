# The first process of a cluster, in namespaces of its own: what the node leaves in the folders of the system stays in them.
set -eu
mount --make-rshared /
for folder in /run /var/lib /var/log; do mount -t tmpfs tmpfs "$folder"; done
mkdir -p /run/lock
echo 1 >/proc/sys/net/ipv4/ip_forward
touch "$1/begun"
shift
exec "$@"
