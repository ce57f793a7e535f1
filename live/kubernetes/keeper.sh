# Runs a cluster's first process, and removes what a cluster leaves behind when that has ended, whoever ended it.
# Arguments: the cluster's folder, its name, and the command of the first process.
set -u
folder=$1 name=$2
shift 2
shared=/run/deployctl-kube
sysctls="vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes"
mkdir -p "$shared"
locked() { exec 9>"$shared/lock" && flock 9; }
others() {
  for file in "$shared"/*.pid; do
    [ -e "$file" ] || continue
    if [ -d "/proc/$(cat "$file")" ]; then return 0; fi
    rm -f "$file"
  done
  return 1
}

# The kubelet changes settings of the whole machine: the first cluster notes them, the last one puts them back.
locked
others || for one in $sysctls; do
  mkdir -p "$(dirname "$shared/before/$one")"
  cat "/proc/sys/$one" >"$shared/before/$one"
done
echo $$ >"$shared/$name.pid"
exec 9>&-

# The processes of the node are below one cgroup of each hierarchy.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then roots=/sys/fs/cgroup; else roots=$(echo /sys/fs/cgroup/*/); fi
for root in $roots; do
  mkdir -p "$root/$name"
  for file in cpuset.cpus cpuset.mems; do
    if [ -e "$root/$file" ]; then cat "$root/$file" >"$root/$name/$file"; fi
  done
  for part in cpuset cpu io memory pids; do
    for place in "$root" "$root/$name"; do
      if [ -e "$place/cgroup.subtree_control" ]; then echo "+$part" >"$place/cgroup.subtree_control"; fi
    done
  done
done 2>/dev/null

unshare --mount --propagation private --net --pid --fork --mount-proc sh "$folder/node.sh" "$folder" "$@"

for root in $roots; do find "$root/$name" -depth -type d -exec rmdir {} \; ; done 2>/dev/null
locked
rm -f "$shared/$name.pid"
others || { for one in $sysctls; do cat "$shared/before/$one" >"/proc/sys/$one"; done; rm -rf "$shared/before"; }
rm -rf "$folder"
