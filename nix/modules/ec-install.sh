# Installs this machine on one of its disks, as the boot server says that it was booted from (ECP-0109).
#
#   $1  a file with the kernel's command line
#
# The unit says INSTALL_DEFINITIONS, systemd-repart's, and systemd RUNTIME_DIRECTORY. Nothing that is printed has the token of
# the boot, and no argument of a program. It ends with 0 where the disk boots, with 2 where it does not go on whatever is tried;
# with anything else, systemd starts it again.
# Whoever tries this out says INSTALL_SYS, for /sys; INSTALL_DISKS, the disks that there are; and INSTALL_BY_ID.
set -euo pipefail
shopt -s nullglob
export LC_ALL=C SYSTEMD_COLORS=0
umask 077

readonly ESP_LABEL=EC-BOOT ROOT_LABEL=ec-root
# In the EFI system partition while the other one's file system is made.
readonly BEGUN=every-channel/begun
readonly STATE=var/lib/every-channel
# Where a runner's SSH host keys are: one that keeps all it writes has them in the first, one with an overlay in the second.
readonly KEY_PLACES=(etc/ssh "$STATE/ssh")
readonly TELL_SECONDS=5 COPY_TRIES=5
# What a root file system has beside the closure: its own tables, and a system that starts.
readonly SPARE_BYTES=$((256 << 20))
# So little is left of one that is full.
readonly FULL_BYTES=$((16 << 20))
# And so much an EFI system partition needs for what an installation notes there.
readonly ESP_SPARE_BYTES=$((1 << 20))
# Failures of one boot that nobody has thought of, until it does not go on.
readonly MAX_FAILURES=3

sys=${INSTALL_SYS:-/sys} by_id=${INSTALL_BY_ID:-/dev/disk/by-id}
runtime=$RUNTIME_DIRECTORY
root=$runtime/root esp=$runtime/esp

say() { echo "every-channel-install: $*"; }

NODE_SCRIPTS=${NODE_SCRIPTS:-${BASH_SOURCE[0]%/*}/node}
# shellcheck source=node/arguments.sh
source "$NODE_SCRIPTS/arguments.sh"
# shellcheck source=node/requests.sh
source "$NODE_SCRIPTS/requests.sh"
# shellcheck source=node/files.sh
source "$NODE_SCRIPTS/files.sh"

# --- what the boot server has said ----------------------------------------------------------------------------------

# One run of this program, however often it is started on this boot.
read_run() {
  if [ ! -s "$runtime/run" ]; then tr -d '\n' < /proc/sys/kernel/random/uuid > "$runtime/run"; fi
  run=$(< "$runtime/run")
}

# The plan: what the server answers who begins, lines of a word and its value.
declare -A plan=()
read_plan() {
  local name value
  plan=()
  while read -r name value; do
    case $name in
      '') continue ;;
      node | order) [[ $value =~ ^[A-Za-z0-9._-]{1,64}$ ]] || return 1 ;;
      system) [[ $value =~ ^/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,211}$ ]] || return 1 ;;
      cache) [[ $value =~ ^http://[^[:space:]\"\'\\?]+$ ]] || return 1 ;;
      disk-id | disk-serial) [[ $value =~ ^[A-Za-z0-9][A-Za-z0-9._:+=@-]{0,126}$ ]] || return 1 ;;
      disk-min-bytes) [[ $value =~ ^[0-9]{1,18}$ ]] || return 1 ;;
      erase) [[ $value =~ ^(yes|no)$ ]] || return 1 ;;
      host-keys) [[ $value =~ ^(keep|make)$ ]] || return 1 ;;
    esac
    plan[$name]=$value
  done < "$1"
  for name in node order system cache erase host-keys; do [ -n "${plan[$name]:-}" ] || return 1; done
}

# --- to the server --------------------------------------------------------------------------------------------------

# status: what the server has answered to `fields`, 000 where nobody did. Its answer is $runtime/answer.
status=''
post() {
  local answer
  answer=$(request "$boot_url" 20 "output = \"$runtime/answer\"" 'write-out = "%{http_code}"' "${fields[@]}") || true
  status=${answer:-000}
}

# $1: the step; then names and values.
compose() {
  fields=()
  if [ "$1" = "done" ]; then
    add_fields stage installed
  else
    add_fields stage installing step "$1"
  fi
  add_fields run "$run" "${@:2}"
}

# Says it until the server has it: what has not been heard is not done.
tell() {
  local pause=1
  compose "$@"
  while true; do
    post
    case $status in
      200) return 0 ;;
      408 | 429) ;;
      4[0-9][0-9])
        say "the boot server does not have this machine installed ($1: $status)"
        exit 2
        ;;
    esac
    sleep "$((pause + RANDOM % 2))"
    pause=$((pause < 16 ? pause * 2 : 16))
  done
}

# Does not go on; the reason is the server's to show.
step=begin
give_up() {
  say "<3>not installed ($step): $1"
  tell "$step" error "$1" disk "${disk_name:-}"
  exit 2
}

# What may go well the next time: systemd starts this again.
try_again() {
  say "$step: $1; trying again"
  exit 75
}

# What ends the program without a word of its own, such as a file system that is full, or a disk that fails: it is tried again, and
# then given up. Of the command the log and the server have what stands here, which is no secret.
failed='' is_stopped=''
end() {
  local count
  trap - ERR EXIT
  if [ -n "$is_stopped" ] || [ "$1" -eq 143 ]; then return; fi
  if [ -z "$failed" ] && [[ $1 =~ ^(0|2|75)$ ]]; then return; fi
  failed=${failed//[[:space:]]/ } failed=${failed:-"the program itself"}
  count=$(echo "$failed" >> "$runtime/failures" && wc --lines < "$runtime/failures") || count=$MAX_FAILURES
  failed="\`${failed:0:120}\` has failed ($1)"
  if [ "$count" -ge "$MAX_FAILURES" ]; then
    give_up "$failed, the last of $count failures; why, the machine's console and \`journalctl -u every-channel-install\` say"
  fi
  say "<4>$step: $failed; trying again"
  # Not one of the program's own, whatever the command's was.
  exit 1
}
set -o errtrace
trap 'failed=${failed:-$BASH_COMMAND}' ERR
trap 'is_stopped=yes; exit 143' TERM
trap 'end $?' EXIT

# --- the disk, and what is written to it ----------------------------------------------------------------------------

# shellcheck source=install-disk.sh
source "${INSTALL_OF_DISKS:-${BASH_SOURCE[0]%/*}/install-disk.sh}"
# shellcheck source=install-write.sh
source "${INSTALL_OF_WRITING:-${BASH_SOURCE[0]%/*}/install-write.sh}"

# --- all of it ------------------------------------------------------------------------------------------------------

begin() {
  list_identity "$sys"
  tell begin "${identity[@]}"
  step=disk
  read_plan "$runtime/answer" || give_up "the boot server's plan cannot be read"
}

install() {
  step=partition
  measure_closure
  say "installs ${plan[system]} on $disk_name ($disk)"
  tell partition disk "$disk_name"
  partition_disk
  make_file_systems
  step=copy
  tell copy
  copy_system
  step=loader
  tell loader
  install_loader
  step=keys
  tell keys
  finish_keys
  leave_report
  leave_marker
}

# It was installed, and was killed before it said so, or the boot server has forgotten it.
say_it_again() {
  say "$disk_name has ${marker[system]:-a system} already"
  tell partition disk "$disk_name"
  root_part=$(find_partition "$ROOT_LABEL")
  mount -t ext4 "$root_part" "$root"
  leave_report
  sync --file-system "$root"
  umount "$root"
  # The last that was to be done: keys are on the root file system, and nowhere else.
  esp_part=$(find_partition "$ESP_LABEL")
  mount "$esp_part" "$esp"
  rm -rf "$esp/every-channel"
  umount "$esp"
}

read_boot_arguments "$1"
if [ -z "$boot_url" ] || [ -z "$boot_order" ]; then
  say "<4>the kernel's arguments have no order of a boot server with its token: nothing is installed"
  exit 2
fi
read_run
mkdir -p "$root" "$esp"
begin
tell disk
if [ ! -d "$sys/firmware/efi" ]; then give_up "the machine has started by BIOS; what is installed starts by UEFI"; fi
disks=$(list_disks)
choose_disk "$disks"
check_others "$disks"
inspect_disk
if is_installed; then
  say_it_again
else
  check_disk
  install
fi
tell "done"
say "installed; the disk boots"
