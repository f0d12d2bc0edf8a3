# A node that follows its group: it asks the boot server that it came from what it is to boot next, takes a slot where the
# group has slots, takes its place in the rollout, starts the units that go before, and boots again (ECP-0108): by kexec
# where it is told so (follow-kexec.sh), and to nothing that its own system has no key for, where it has one (follow-trust.sh).
#
#   $1  a file with the kernel's command line
#
# The unit says FOLLOW_SECONDS between two questions, and FOLLOW_UNITS (names, a blank between them); FOLLOW_REBOOT is empty
# where no firmware may be trusted with it. FOLLOW_TRUST and FOLLOW_BY_KEXEC are two other files; on a machine that may have
# booted from its disk FOLLOW_DISK_BOOT is what disk-boot.sh leaves, and FOLLOW_INSTALLED the third one. Nothing that is
# printed has the token of the boot, and no argument of a program but kexec's.
set -euo pipefail
export LC_ALL=C SYSTEMD_COLORS=0

readonly DOWN_SECONDS=600
# For an answer; a kernel or an initrd has its own time.
readonly ANSWER_SECONDS=${FOLLOW_ANSWER_SECONDS:-20}

FOLLOW_REBOOT=${FOLLOW_REBOOT-yes}
read -r -a units <<< "$FOLLOW_UNITS"

NODE_SCRIPTS=${NODE_SCRIPTS:-${BASH_SOURCE[0]%/*}/node}
# shellcheck source=node/arguments.sh
source "$NODE_SCRIPTS/arguments.sh"
# shellcheck source=node/requests.sh
source "$NODE_SCRIPTS/requests.sh"
# shellcheck source=node/files.sh
source "$NODE_SCRIPTS/files.sh"
# shellcheck source=follow-trust.sh
source "${FOLLOW_TRUST:-${BASH_SOURCE[0]%/*}/follow-trust.sh}"
# shellcheck source=follow-kexec.sh
source "${FOLLOW_BY_KEXEC:-${BASH_SOURCE[0]%/*}/follow-kexec.sh}"

# Why something is not done.
reason=''

# fetch PATH FILE BYTES SECONDS: a file of the boot server's, whole, and of so many bytes at most.
fetch() {
  local code=$2.code
  request "$boot_server$1" "${4:-$ANSWER_SECONDS}" 'speed-limit = 1024' 'speed-time = 60' "max-filesize = $3" \
    'write-out = "%{stderr}%{http_code}"' 2> "$code" | head -c "$(($3 + 1))" > "$2" || return 1
  [ "$(< "$code")" = 200 ] && [ "$(stat -c %s -- "$2")" -le "$3" ]
}

# status: what the server has answered, 000 where nobody did; answer: its text. Further lines are curl's (curl(1), --config).
status='' answer=''
ask() {
  local text
  text=$(
    request "$boot_server$1" "$ANSWER_SECONDS" 'max-filesize = 65536' 'write-out = "\n%{http_code}"' "${@:2}" \
      | head -c 65600 | tr -d '\0'
  ) || true
  status=${text##*$'\n'} answer=${text%$'\n'*}
  [ "$status" = 200 ]
}

# What the server says of this node: is_wanted where that is to boot again.
node='' group='' slots='' state='' boot='' system='' runs='' release=''
ask_assignment() {
  local line
  ask "/assignment?boot=$boot_token$1" || return 1
  node='' group='' slots='' state='' boot='' system='' runs='' release=''
  while IFS= read -r line; do
    if [[ $line =~ ^(node|group|slots|state|boot|system|runs|release)=([A-Za-z0-9._+-]{0,255})$ ]]; then
      printf -v "${BASH_REMATCH[1]}" %s "${BASH_REMATCH[2]}"
    fi
  done <<< "$answer"
}
is_wanted() { [ "$boot" = network ] && [ -n "$release" ] && [ -n "$runs" ] && [ "$release" != "$runs" ]; }
is_up() { [ "$state" = healthy ]; }
is_trusted() { check_release "$release" "$system"; }
# What goes before a slot is taken.
make_ready() { :; }

# By FleetLock. A group without slots needs none; but one is given back that was taken while it had some, or in another
# group. A boot server that knows of none says 404.
lock() {
  # What the server has said of this node is read again afterwards.
  local answer
  if [ -z "$slots" ] && { [ "$1" != steady-state ] || [ -z "$group" ]; }; then return 0; fi
  ask "/v1/$1" 'header = "fleet-lock-protocol: true"' \
    "data = \"{\\\"client_params\\\": {\\\"id\\\": \\\"$node\\\", \\\"group\\\": \\\"$group\\\"}}\"" \
    || { [ -z "$slots" ] && [ "$status" = 404 ]; }
}

start_units() {
  local unit
  for unit in "${units[@]}"; do
    systemctl start -- "$unit" || {
      say "<4>$unit has failed: this node does not boot again now"
      return 1
    }
  done
}

# Once, until there is something else to be said.
said=''
say() {
  if [ "$1" != "$said" ]; then echo "${1%%[!<0-9>]*}every-channel-follow: ${1#<[0-9]>}"; fi
  said=$1
}

# How this node is to boot again, once it has its slot: kexec, or reboot where that may be.
way=''
prepare() {
  way=reboot
  if [ -n "$FOLLOW_KEXEC" ]; then
    if prepare_kexec "$release"; then
      way=kexec
    elif [ -n "$FOLLOW_REBOOT" ]; then
      say "<4>boots through its firmware: $reason"
    else
      say "<4>does not boot $release: $reason"
      return 1
    fi
  fi
}

# The boot itself; false where the machine stays as it is.
boot_again() {
  say "boots again: $runs is followed by $release"
  if [ "$way" = kexec ]; then
    if start_kexec "$release"; then return 0; fi
    if [ -z "$FOLLOW_REBOOT" ]; then
      say "<4>does not boot $release: $reason"
      return 1
    fi
    say "<4>boots through its firmware: $reason"
  fi
  systemctl reboot
}

read_boot_arguments "$1"
# The kernel that runs was told it by the system that started it, and not by a boot server.
started_counter=$boot_counter started_least=$boot_release_counter
if [ -z "$boot_url" ] && [ -r "${FOLLOW_DISK_BOOT:-}" ]; then
  read_boot_arguments "$FOLLOW_DISK_BOOT"
  # shellcheck source=follow-installed.sh
  source "$FOLLOW_INSTALLED"
fi
begin_trust "$started_counter" "$started_least"
if [ -z "$boot_url" ]; then
  echo "<4>every-channel-follow: the kernel argument every_channel.report is no address of a boot server: nobody is followed"
  exit 0
fi
is_back='' own_said=''
while true; do
  sleep "$FOLLOW_SECONDS"
  if ! ask_assignment ''; then
    say "the boot server does not say what is next ($status)"
    continue
  fi
  # At once, while the boot server has it still.
  if ! learn_own "$runs" "$system" && [ "$reason" != "$own_said" ]; then
    own_said=$reason
    echo "<4>every-channel-follow: what runs here, $runs, $reason: this node goes to no other release"
  fi
  if [ -z "$is_back" ] && is_up && lock steady-state; then is_back=yes; fi
  if ! is_wanted; then
    drop_kexec
    said=''
    continue
  fi
  if ! is_trusted; then
    say "<4>does not follow to $release: $reason"
    continue
  fi
  if ! make_ready; then continue; fi
  if ! lock pre-reboot; then
    say "waits for a slot to boot $release ($status)"
    continue
  fi
  is_back=''
  checked=$release
  # Somebody else may have had the wave's last place.
  if ! prepare || ! ask_assignment '&take=yes' || ! is_wanted || [ "$release" != "$checked" ] || ! start_units \
    || ! boot_again; then
    lock steady-state || true
    continue
  fi
  sleep "$DOWN_SECONDS"
done
