# The node: its network, its control groups, and how all of it is taken away again. Sourced, never run.
#
# Invariants:
#   - Nothing that the cluster did not make is removed. The network is known as ours by the alias of its outer link,
#     which holds the state folder; the state folder by the file `rag-cluster` in it.
#   - clean leaves no process, mount, link, network namespace, control group or file, whatever state it finds: a cluster
#     half started, killed in part, or gone with the machine.
# shellcheck shell=bash

# make_network connects the node's network to the machine's, and tells the machine where pods and Services are.
make_network() {
  ip netns add "$NETWORK"
  ip link add "$OUTER_LINK" type veth peer name "$INNER_LINK" netns "$NETWORK"
  ip link set "$OUTER_LINK" alias "$STATE"
  ip address add "$MACHINE_ADDRESS/24" dev "$OUTER_LINK"
  ip link set "$OUTER_LINK" up
  inside ip link set lo up
  inside ip address add "$NODE_ADDRESS/24" dev "$INNER_LINK"
  inside ip link set "$INNER_LINK" up
  inside ip route add default via "$MACHINE_ADDRESS"
  inside sysctl -qw net.ipv4.ip_forward=1
  ip route add "$POD_ADDRESSES" via "$NODE_ADDRESS"
  ip route add "$SERVICE_ADDRESSES" via "$NODE_ADDRESS"
}

# check_network refuses to touch a network that another made. A folder that was lost is no excuse: `down` for it still
# finds that cluster's processes.
check_network() {
  local owner
  owner=$(network_owner)
  [[ -z $owner || $owner == "$STATE" ]] ||
    die "A cluster with its state in $owner exists; run \`RAG_CLUSTER_DIR=$owner dev/cluster/cluster down\` first."
  [[ -n $owner || -e $STATE/rag-cluster || (! -e /run/netns/$NETWORK && ! -e /sys/class/net/$OUTER_LINK) ]] ||
    die "There is a network $NETWORK or a link $OUTER_LINK that no cluster is known to have made; remove it first:" \
      "ip link delete $OUTER_LINK; ip netns delete $NETWORK"
}

# network_owner prints the state folder of the cluster that made the network, or nothing.
network_owner() { cat "/sys/class/net/$OUTER_LINK/ifalias" 2>/dev/null || true; }

# make_control_groups makes the group that all pods are in, in every hierarchy, since the kubelet wants to find it.
make_control_groups() {
  local group controller
  for group in "${CONTROL_GROUPS[@]}"; do
    mkdir -p "$group"
    # All pods together are one of many to the scheduler of the kernel: a build beside them would starve them, and
    # a starved server looks like a bad release.
    [[ ! -f $group/cpu.shares ]] || echo 16384 >"$group/cpu.shares"
  done
  if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
    for controller in cpu cpuset memory pids; do
      echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
    done
    echo 1000 >"/sys/fs/cgroup/$CONTROL_GROUP/cpu.weight"
  fi
}

# list_control_groups sets CONTROL_GROUPS: one folder with cgroup v2, one in each hierarchy with v1.
list_control_groups() {
  local hierarchy
  CONTROL_GROUPS=()
  if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
    CONTROL_GROUPS=("/sys/fs/cgroup/$CONTROL_GROUP")
    return
  fi
  for hierarchy in /sys/fs/cgroup/*/; do
    hierarchy=${hierarchy%/}
    # Links are second names of a hierarchy.
    [[ -L $hierarchy ]] || CONTROL_GROUPS+=("$hierarchy/$CONTROL_GROUP")
  done
}

# The kernel settings that every kubelet changes, for the whole machine.
KERNEL_SETTINGS=(vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
  kernel.keys.root_maxkeys kernel.keys.root_maxbytes)

remember_kernel_settings() { sysctl "${KERNEL_SETTINGS[@]}" >"$STATE/kernel-settings"; }

restore_kernel_settings() { [[ ! -f $STATE/kernel-settings ]] || sysctl -q -p "$STATE/kernel-settings" >/dev/null; }

# clean removes the cluster. SIGKILL throughout: nothing of its state is kept.
clean() {
  local name
  if [[ $(network_owner) == "$STATE" && ! -e $STATE/rag-cluster ]]; then
    # Somebody has removed the state folder below a running cluster.
    mkdir -p "$STATE"
    touch "$STATE/rag-cluster"
  fi
  [[ -e $STATE/rag-cluster ]] || return 0
  for name in "${COMPONENTS[@]}"; do
    signal KILL "$name" || true
  done
  for name in "${COMPONENTS[@]}"; do
    wait_until 10 ended "$name" || die "$name does not end, not even by SIGKILL."
  done
  kill_all strays
  kill_all pod_processes
  restore_kernel_settings
  remove_mounts
  remove_control_groups
  remove_network
  remove_traces
  # The mark goes last: what an interrupted removal leaves is still known as ours.
  find "$STATE" -mindepth 1 -maxdepth 1 ! -name rag-cluster -exec rm -rf --one-file-system {} +
  rm -rf --one-file-system "$STATE"
}

# remove_mounts unmounts what is mounted inside the state folder, the innermost first.
remove_mounts() {
  local points
  mapfile -t points < <(awk -v inside="$STATE/" 'index($2, inside) == 1 {print $2}' /proc/self/mounts | tac)
  ((${#points[@]})) || return 0
  umount "${points[@]}" 2>/dev/null || umount --lazy "${points[@]}" 2>/dev/null || true
  ! grep -q " $STATE/" /proc/self/mounts || die "Something inside $STATE cannot be unmounted."
}

remove_control_groups() {
  local group
  for group in "${CONTROL_GROUPS[@]}"; do
    [[ ! -d $group ]] || wait_until 10 remove_control_group "$group" || die "The control group $group cannot be removed."
  done
}

remove_control_group() {
  find "$1" -depth -type d -delete
  [[ ! -d $1 ]]
}

remove_network() {
  ip netns delete "$NETWORK" 2>/dev/null || true
  # After a restart of the machine a namespace's file may be left without the namespace.
  rm -f "/run/netns/$NETWORK"
  ip link delete "$OUTER_LINK" 2>/dev/null || true
  # The mount point that `ip netns add` makes for all namespaces together.
  if [[ -d /run/netns && -z $(ls -A /run/netns) ]]; then
    umount /run/netns 2>/dev/null || true
    rmdir /run/netns 2>/dev/null || true
  fi
}

# remove_traces removes what containerd's shims, the CNI library and the kubelet write outside of the state folder, and
# the folders they made for it when nobody else has put anything there.
remove_traces() {
  local file address
  for file in "$STATE"/run/containerd/io.containerd.runtime.v2.task/k8s.io/*/address; do
    [[ -f $file ]] || continue
    address=$(<"$file")
    rm -f "${address#unix://}"
  done
  for file in "/var/lib/cni/results/$CNI_NAME-"*-eth0; do
    # Each sandbox has a second result, for its loopback, whose name has the sandbox only.
    file=${file##*/"$CNI_NAME"-}
    rm -f "/var/lib/cni/results/$CNI_NAME-$file" "/var/lib/cni/results/cni-loopback-${file%-eth0}-lo"
  done
  rm -f /var/lib/kubelet/device-plugins/kubelet.sock
  for file in /var/log/containers/*; do
    [[ $(readlink "$file") != "$STATE/"* ]] || rm -f "$file"
  done
  rmdir /var/lib/cni/results /var/lib/cni /var/lib/kubelet/device-plugins /var/lib/kubelet /var/log/containers \
    /run/containerd/s /run/containerd 2>/dev/null || true
}
