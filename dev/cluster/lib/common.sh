# What the scripts of this folder share: how to speak, how to take the time, how to wait. Sourced, never run.
# shellcheck shell=bash

# HERE is this folder, whatever the working folder is.
# shellcheck disable=SC2034  # read by the scripts that source this file
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Some of the programs lie where only root's PATH leads.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }

die() {
  printf '%s\n' "$*" >&2
  exit 1
}

# milliseconds sets NOW from a clock that never goes back. No subshell: it is read in loops.
milliseconds() {
  read -r NOW _ </proc/uptime
  NOW=${NOW/./}0
}

# since prints the seconds from an earlier NOW until now.
since() {
  local passed
  milliseconds
  passed=$((NOW - $1))
  printf '%d.%02d s' $((passed / 1000)) $((passed % 1000 / 10))
}

# wait_until repeats a command until it succeeds; it fails after SECONDS.
wait_until() {
  local end hundredths=1
  milliseconds
  end=$((NOW + $1 * 1000))
  shift
  until "$@" >/dev/null 2>&1; do
    milliseconds
    ((NOW < end)) || return 1
    sleep ".0$hundredths"
    ((hundredths >= 8)) || hundredths=$((hundredths * 2))
  done
}
