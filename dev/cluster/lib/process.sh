# Starting, finding and signalling the cluster's processes. Sourced, never run.
#
# Why not by name: other clusters, other tests and other users run programs of the same names.
#
# Invariants:
#   - A process is signalled only when it runs the very command line that was started here; every such command line
#     contains the state folder. A process number alone is never believed: it may be another's since.
#   - A component leads a session of its own, without a terminal and without the caller's open files: it survives the
#     shell that started it and holds no pipe and no lock of it.
#   - A record names the component itself, not a shell above it: every step of the start replaces its process.
# shellcheck shell=bash

# launch starts the command ARGV of a component in the node's network and records process and command line.
launch() {
  local name=$1
  (
    close_files
    cd "$STATE"
    # env: a proxy or a kubeconfig of the caller is none of a component's business.
    exec setsid nsenter --net="/run/netns/$NETWORK" env -i PATH="$PATH" KUBECONFIG="$STATE/pki/$name.conf" "${ARGV[@]}"
  ) </dev/null >>"$STATE/logs/$name.log" 2>&1 &
  printf '%s\n%s\n' $! "${ARGV[*]}" >"$STATE/processes/$name"
  wait_until 5 begun "$name" || fail "$name" "did not start"
}

# begun holds when a component has replaced the shell that started it, or is gone already.
begun() {
  local record
  mapfile -t record <"$STATE/processes/$1"
  runs "$1" || [[ ! -d /proc/${record[0]} ]]
}

# close_files closes what the caller has open, standard input and outputs apart.
close_files() {
  local file
  for file in /proc/"$BASHPID"/fd/*; do
    file=${file##*/}
    ((file <= 2)) || eval "exec $file>&-" 2>/dev/null
  done
}

# find_process sets PROCESS to a component's process; it fails when that no longer runs what was started.
find_process() {
  local record words
  PROCESS=
  [[ -f $STATE/processes/$1 ]] || return 1
  mapfile -t record <"$STATE/processes/$1"
  [[ ${record[0]} =~ ^[0-9]+$ && ${record[1]} == *"$STATE/"* ]] || return 1
  { mapfile -d '' -t words <"/proc/${record[0]}/cmdline"; } 2>/dev/null || return 1
  [[ ${words[*]} == "${record[1]}" ]] || return 1
  PROCESS=${record[0]}
}

runs() { find_process "$1"; }

ended() { ! find_process "$1"; }

# frozen holds while a component is stopped by SIGSTOP.
frozen() {
  local line
  find_process "$1" || return 1
  { line=$(<"/proc/$PROCESS/stat"); } 2>/dev/null || return 1
  [[ ${line##*) } == T* ]]
}

signal() {
  find_process "$2" || return 1
  kill -s "$1" "$PROCESS" 2>/dev/null
}

# end_component asks a component to end, and makes it after half a minute. CONT: a frozen one would never hear it.
end_component() {
  local name=$1
  signal TERM "$name" || return 0
  signal CONT "$name" || true
  wait_until 30 ended "$name" && return
  signal KILL "$name" || true
  wait_until 5 ended "$name" || die "$name does not end, not even by SIGKILL."
}

# strays prints the processes in the node's network whose command line has the state folder in it: components without a
# record, and containerd's shims.
strays() {
  local process words
  for process in $(ip netns pids "$NETWORK" 2>/dev/null); do
    { mapfile -d '' -t words <"/proc/$process/cmdline"; } 2>/dev/null || continue
    [[ "${words[*]}" != *"$STATE/"* ]] || printf '%s\n' "$process"
  done
}

# pod_processes prints the processes in the control group that the cluster made for its pods.
pod_processes() {
  local group
  for group in "${CONTROL_GROUPS[@]}"; do
    [[ ! -d $group ]] || find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null
  done | sort -un
}

# kill_all ends what a listing function prints, again and again until it prints nothing.
kill_all() {
  local processes end
  milliseconds
  end=$((NOW + 20000))
  while mapfile -t processes < <("$1") && ((${#processes[@]})); do
    kill -KILL "${processes[@]}" 2>/dev/null || true
    milliseconds
    ((NOW < end)) || die "These processes do not end, not even by SIGKILL: ${processes[*]}."
    sleep 0.05
  done
}

# fail ends the script with what happened to a component and the last lines it wrote.
fail() {
  say "The last lines of $1:" >&2
  tail -n 20 "$STATE/logs/$1.log" >&2 || true
  die "$1 $2. \`cluster logs $1\` shows all it wrote; \`cluster down\` removes the cluster."
}
