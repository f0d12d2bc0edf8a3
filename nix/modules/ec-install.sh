# Installs this machine on one of its disks, as the boot server says that it was booted from (ECP-0109).
#
#   $1  a file with the kernel's command line
#
# The unit says INSTALL_DEFINITIONS, systemd-repart's, and systemd RUNTIME_DIRECTORY. Nothing that is printed has the token of
# the boot, and no argument of a program. It ends with 0 where the disk boots, with 2 where it does not go on whatever is tried.
# Whoever tries this out says INSTALL_SYS, for /sys; INSTALL_DISKS, the disks that there are; and INSTALL_BY_ID.
set -euo pipefail
shopt -s nullglob
export LC_ALL=C SYSTEMD_COLORS=0
umask 077

readonly ESP_LABEL=EC-BOOT ROOT_LABEL=ec-root
readonly STATE=var/lib/every-channel
# Where a runner's SSH host keys are: one that keeps all it writes has them in the first, one with an overlay in the second.
readonly KEY_PLACES=(etc/ssh "$STATE/ssh")
readonly TELL_SECONDS=5 COPY_TRIES=5
# What a root file system has beside the closure: its own tables, and a system that starts.
readonly SPARE_BYTES=$((768 << 20))

sys=${INSTALL_SYS:-/sys} by_id=${INSTALL_BY_ID:-/dev/disk/by-id}
runtime=$RUNTIME_DIRECTORY
root=$runtime/root esp=$runtime/esp

say() { echo "every-channel-install: $*"; }

# --- what the boot server has said ----------------------------------------------------------------------------------

url='' order='' release=unknown words_to_report=()

# The arguments of the kernel are text of the network's: what is not as it should be is not used.
read_arguments() {
  local words word
  read -r -d '' -a words < "$1" || true
  for word in "${words[@]}"; do
    case $word in
      every_channel.install=*)
        if [[ ${word#*=} =~ ^[A-Za-z0-9-]{1,64}$ ]]; then order=${word#*=}; fi
        ;;
      every_channel.report=*)
        if [[ ${word#*=} =~ ^http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*\?boot=[A-Za-z0-9_-]{16,128}$ ]]; then
          url=${word#*=}
          words_to_report+=("$word")
        fi
        ;;
      every_channel.*)
        words_to_report+=("$word")
        if [[ $word =~ ^every_channel\.release=([A-Za-z0-9._+-]{1,255})$ ]]; then release=${BASH_REMATCH[1]}; fi
        ;;
    esac
  done
}

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

fields=()
add_field() {
  local value=${2//\\/\\\\}
  value=${value//$'\n'/ }
  fields+=("data-urlencode = \"$1=${value//\"/\\\"}\"")
}

# status: what the server has answered to `fields`, 000 where nobody did. Its answer is $runtime/answer.
status=''
post() {
  local answer
  answer=$(
    {
      printf '%s\n' "url = \"$url\"" silent 'proto = "=http"' 'noproxy = "*"' 'connect-timeout = 5' 'max-time = 20' \
        'header = "Expect:"' "output = \"$runtime/answer\"" 'write-out = "%{http_code}"' "${fields[@]}"
    } | curl --disable --config -
  ) || true
  status=${answer:-000}
}

# $1: the step; then names and values.
compose() {
  fields=()
  if [ "$1" = "done" ]; then
    add_field stage installed
  else
    add_field stage installing
    add_field step "$1"
  fi
  add_field run "$run"
  shift
  while [ $# -gt 0 ]; do
    add_field "$1" "$2"
    shift 2
  done
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

# --- the disk -------------------------------------------------------------------------------------------------------

# A line for each disk: device, bytes, serial number or -, and its names below /dev/disk/by-id.
list_disks() {
  local line given=() link names pattern
  # shellcheck disable=SC2206
  given=(${INSTALL_DISKS:-})
  pattern='^NAME="([^"]+)" SIZE="([0-9]+)" TYPE="([^"]*)" RO="([01])" SERIAL="([^"]*)"$'
  lsblk --nodeps --bytes --noheadings --paths --pairs --output NAME,SIZE,TYPE,RO,SERIAL "${given[@]}" \
    | while IFS= read -r line; do
      [[ $line =~ $pattern ]] || continue
      set -- "${BASH_REMATCH[@]:1}"
      if [ "$4" = 1 ] || [ "$2" -eq 0 ]; then continue; fi
      if [ ${#given[@]} -eq 0 ]; then
        [ "$3" = disk ] || continue
        case $1 in /dev/zram* | /dev/ram* | /dev/fd* | /dev/nbd*) continue ;; esac
      fi
      names=''
      for link in "$by_id"/*; do
        if [ "$(readlink --canonicalize "$link")" = "$1" ]; then names+=" ${link##*/}"; fi
      done
      set -- "$1" "$2" "${5//[[:space:]]/}"
      printf '%s %s %s%s\n' "$1" "$2" "${3:--}" "$names"
    done
}

# Of the lines of $1 the disk that the plan means: disk, disk_bytes, and disk_name, by which it is known again where
# disk_is_known: what the kernel calls it may be another disk at the next boot.
choose_disk() {
  local device bytes serial names found=() all=() wanted
  while read -r device bytes serial names; do
    all+=("$device ($((bytes >> 30)) GiB${names:+, ${names%% *}})")
    if [ -n "${plan[disk-id]:-}" ]; then
      wanted="is ${plan[disk-id]}"
      [[ " $names " == *" ${plan[disk-id]} "* ]] || continue
    elif [ -n "${plan[disk-serial]:-}" ]; then
      wanted="has the serial number ${plan[disk-serial]}"
      [ "$serial" = "${plan[disk-serial]}" ] || continue
    elif [ -n "${plan[disk-min-bytes]:-}" ]; then
      wanted="has $((plan[disk-min-bytes] >> 30)) GiB"
      [ "$bytes" -ge "${plan[disk-min-bytes]}" ] || continue
    else
      wanted="is the only one"
    fi
    found+=("$device")
    disk=$device disk_bytes=$bytes disk_is_known=yes
    if [ -n "$names" ]; then
      disk_name=${names%% *}
    elif [ "$serial" != - ]; then
      disk_name=serial-$serial
    else
      disk_name=${device##*/} disk_is_known=''
    fi
  done <<< "$1"
  if [ ${#found[@]} -eq 1 ]; then return; fi
  disk='' disk_name='' disk_is_known=''
  local there="there is none"
  if [ ${#all[@]} -gt 0 ]; then printf -v there '%s, ' "${all[@]}" && there="there are ${there%, }"; fi
  if [ ${#found[@]} -eq 0 ]; then give_up "no disk ${wanted:-that could be it}: $there"; fi
  give_up "${#found[@]} disks, and not one, ${wanted/#has /have }: $there"
}

# $1: a partition's label. Prints its device, where the disk has one of it, and one alone.
find_partition() {
  local line found=()
  while IFS= read -r line; do
    if [[ $line == *", name=\"$1\""* ]]; then found+=("${line%% *}"); fi
  done < <(sfdisk --dump "$disk" 2> /dev/null || true)
  [ ${#found[@]} -eq 1 ] && echo "${found[0]}"
}

# content: `empty`; `ours`, the partitions that are made here, with a system, or with nothing in the root's as yet; `foreign`,
# anything else, also what cannot be read. Of a whole system `marker` says whose it is. Nothing is written: a journal is not
# played back.
declare -A marker=()
inspect_disk() {
  local probed state=0 part name value
  content=foreign marker=()
  probed=$(blkid --probe --output export "$disk" 2> /dev/null) || state=$?
  if [ "$state" -eq 2 ] && [ -z "$probed" ]; then
    content=empty
    return
  fi
  if ! [[ $state -eq 0 && $probed == *PTTYPE=gpt* && ! $probed =~ (^|$'\n')TYPE= ]]; then return; fi
  if ! part=$(find_partition "$ROOT_LABEL") || ! find_partition "$ESP_LABEL" > /dev/null; then return; fi
  content=ours
  partx --update "$disk" 2> /dev/null || true
  if mount -t ext4 -o ro,noload "$part" "$root" 2> /dev/null; then
    if [ -r "$root/$STATE/installed" ]; then
      while read -r name value; do
        case $name in node | order | system) marker[$name]=$value ;; esac
      done < "$root/$STATE/installed"
    fi
    umount "$root"
  elif [ -n "$(blkid --probe --output value --match-tag TYPE "$part" 2> /dev/null)" ]; then
    content=foreign
  fi
}

# Whether the disk has what this order is to bring. The fleet's own order is carried out by whatever system is there: it may
# be the fleet's memory that was lost.
is_installed() {
  [ "${marker[node]:-}" = "${plan[node]}" ] && [[ ${plan[order]} == first || ${plan[order]} == "${marker[order]:-}" ]]
}

check_disk() {
  local what='' holder
  case $content in
    foreign) what="holds something else" ;;
    ours) if [ -n "${marker[node]:-}" ] && [ "${marker[node]}" != "${plan[node]}" ]; then what="is ${marker[node]}'s"; fi ;;
  esac
  # What this order has begun to write to is whatever a power cut has left of it.
  if [ -n "$what" ] && [ "${plan[erase]}" = no ] && ! { [ -n "$disk_is_known" ] && [ "${plan[begun]:-}" = "$disk_name" ]; }; then
    give_up "$disk_name $what; install.erase = true would erase it"
  fi
  if [ -n "$what" ]; then content=foreign; fi
  holder=$(lsblk --noheadings --raw --output MOUNTPOINTS "$disk" | tr -d '[:space:]')
  if [ -n "$holder" ]; then give_up "$disk_name is in use: $holder"; fi
}

# --- what is written ------------------------------------------------------------------------------------------------

partition_disk() {
  local how=refuse
  case $content in
    empty) how=allow ;;
    foreign)
      wipefs --all --force --quiet "$disk"
      how=force
      ;;
  esac
  systemd-repart --dry-run=no --empty=$how --discard=no --no-pager --definitions="$INSTALL_DEFINITIONS" "$disk" \
    || give_up "$disk_name cannot be partitioned"
  partx --update "$disk" 2> /dev/null || true
  udevadm settle 2> /dev/null || true
  if ! root_part=$(find_partition "$ROOT_LABEL") || ! esp_part=$(find_partition "$ESP_LABEL"); then
    give_up "$disk_name has not the partitions that systemd-repart was to make"
  fi
}

# Brings the SSH host keys of the system that was here before to where they outlive the making of its file system anew.
save_host_keys() {
  local kept=$esp/every-channel/host-keys place keys=()
  # Half of them, by a power cut: those that they are of are there still.
  rm -rf "$kept.new"
  if [ "${plan[host-keys]}" = make ]; then
    rm -rf "$kept"
  elif mount -t ext4 -o ro "$root_part" "$root" 2> /dev/null; then
    for place in "${KEY_PLACES[@]}"; do keys+=("$root/$place"/ssh_host_*_key "$root/$place"/ssh_host_*_key.pub); done
    if [ ${#keys[@]} -gt 0 ]; then
      mkdir -p "$kept.new"
      (cd "$root" && cp --parents "${keys[@]#"$root/"}" "$kept.new/")
      sync --file-system "$kept.new"
      rm -rf "$kept"
      mv "$kept.new" "$kept"
    fi
    umount "$root"
  fi
  sync --file-system "$esp"
}

make_file_systems() {
  # A table that was there before has file systems in which a power cut may have left anything.
  fsck.vfat -a "$esp_part" > /dev/null 2>&1 || true
  if ! mount "$esp_part" "$esp" 2> /dev/null; then
    mkfs.vfat -n "$ESP_LABEL" "$esp_part" > /dev/null
    mount "$esp_part" "$esp"
  fi
  save_host_keys
  umount "$esp"
  mkfs.ext4 -q -F -L "$ROOT_LABEL" "$root_part"
  mount -t ext4 "$root_part" "$root"
  mkdir -m 0755 "$root/boot"
  mount -o umask=0077 "$esp_part" "$root/boot" 2> /dev/null || mount "$esp_part" "$root/boot"
}

nix_command() { nix --extra-experimental-features nix-command "$@"; }

# The closure, in bytes, by what the cache says of it.
measure_closure() {
  local line
  line=$(nix_command path-info --store "${plan[cache]}" --closure-size "${plan[system]}") \
    || try_again "the boot server's cache does not answer"
  [[ $line =~ ([0-9]+)[[:space:]]*$ ]] || give_up "the cache does not say how large ${plan[system]} is"
  closure_bytes=${BASH_REMATCH[1]}
  if [ "$disk_bytes" -lt $((closure_bytes + closure_bytes / 8 + SPARE_BYTES)) ]; then
    give_up "$disk_name is too small for $((closure_bytes >> 20)) MiB of ${plan[system]}"
  fi
}

# Once; what of it is there already is not copied again.
copy_once() {
  local line state=1 next=$((SECONDS + TELL_SECONDS)) used copying
  exec {copying}< <(
    if nix_command copy --from "${plan[cache]}" --to "local?root=$root" "${plan[system]}" 2>&1 < /dev/null; then
      echo "every-channel-install copied"
    fi
  )
  while true; do
    if IFS= read -r -t "$TELL_SECONDS" -u "$copying" line; then
      case $line in
        "every-channel-install copied") state=0 ;;
        *) printf '%s\n' "$line" ;;
      esac
    elif [ $? -le 128 ]; then
      break
    fi
    if [ "$SECONDS" -ge "$next" ]; then
      used=$(df --output=used --block-size=1 "$root" | tail --lines=1)
      compose copy percent "$((used * 99 / closure_bytes > 99 ? 99 : used * 99 / closure_bytes))"
      post
      next=$((SECONDS + TELL_SECONDS))
    fi
  done
  exec {copying}<&-
  return "$state"
}

copy_system() {
  local try
  for ((try = 1; try <= COPY_TRIES; try++)); do
    if copy_once; then return; fi
    say "the closure was not copied (try $try of $COPY_TRIES)"
    sleep "$((try > 1 ? 5 : 0))"
  done
  give_up "${plan[system]} cannot be copied from the boot server, or is not signed by a key that this system trusts"
}

install_loader() {
  local profiles=$root/nix/var/nix/profiles
  # By others too: the system's services are to read it.
  umask 022
  mkdir -p "$root/etc" "$profiles"
  touch "$root/etc/NIXOS"
  nix-env --store "$root" --profile "$profiles/system" --set "${plan[system]}"
  NIXOS_INSTALL_BOOTLOADER=1 nixos-enter --root "$root" --silent --command \
    "/nix/var/nix/profiles/system/bin/switch-to-configuration boot" \
    || give_up "the boot loader of ${plan[system]} cannot be installed"
  umask 077
}

finish_keys() {
  local kept=$root/boot/every-channel/host-keys place file keyword path
  for place in "${KEY_PLACES[@]}"; do
    for file in "$kept/$place"/ssh_host_*; do
      (umask 022 && mkdir -p "$root/$place")
      cp "$file" "$root/$place/"
      chmod "$([[ $file == *.pub ]] && echo 0644 || echo 0600)" "$root/$place/${file##*/}"
    done
  done
  # What its sshd asks for, and was not kept. A system without one asks for none.
  while read -r keyword path _; do
    if [ "$keyword" = HostKey ] && [[ $path =~ ^/[A-Za-z0-9/_.-]+/ssh_host_(rsa|ecdsa|ed25519)_key$ ]] && [ ! -e "$root$path" ]; then
      # The key itself is root's alone whatever this says.
      (umask 022 && mkdir -p "$root${path%/*}" && ssh-keygen -q -t "${BASH_REMATCH[1]}" -N '' -C '' -f "$root$path" < /dev/null)
    fi
  done < <(chroot "$root" "${plan[system]}/sw/bin/cat" "${plan[system]}/etc/ssh/sshd_config" 2> /dev/null || true)
}

# The system reports by this boot's token, once it is up. The service that does makes these files its own.
leave_report() {
  (umask 022 && mkdir -p "$root/$STATE")
  mkdir -p "$root/$STATE/report"
  printf '%s\n' "${words_to_report[*]}" > "$root/$STATE/report/first-boot"
  # What the system on the disk shows the boot server, and which release it came with (disk-boot.sh).
  mkdir -p "$root/$STATE/node"
  local base=${url%/report\?boot=*}
  printf '%s %s\n' node "${plan[node]}" url "$base" token "${url##*\?boot=}" > "$root/$STATE/node/credential"
  if [ ! -e "$root/$STATE/node/systems" ]; then
    printf '%s %s\n' "${plan[system]}" "$release" > "$root/$STATE/node/systems"
  fi
}

# The disk is whole from here on: whatever was before is on it.
leave_marker() {
  sync --file-system "$root"
  if mountpoint --quiet "$root/boot"; then sync --file-system "$root/boot"; fi
  printf '%s %s\n' node "${plan[node]}" order "${plan[order]}" system "${plan[system]}" > "$root/$STATE/installed.new"
  sync "$root/$STATE/installed.new"
  mv "$root/$STATE/installed.new" "$root/$STATE/installed"
  sync --file-system "$root"
  rm -rf "$root/boot/every-channel"
  umount --recursive "$root"
}

# --- all of it ------------------------------------------------------------------------------------------------------

begin() {
  local card name known=()
  for card in "$sys"/class/net/*; do
    if [ -e "$card/device" ] && [ -r "$card/address" ]; then known+=(mac "$(< "$card/address")"); fi
  done
  for name in uuid:product_uuid serial:product_serial asset:chassis_asset_tag; do
    if [ -r "$sys/class/dmi/id/${name#*:}" ]; then known+=("${name%%:*}" "$(< "$sys/class/dmi/id/${name#*:}")"); fi
  done
  tell begin "${known[@]}"
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

read_arguments "$1"
if [ -z "$url" ] || [ -z "$order" ]; then
  say "<4>the kernel's arguments have no order of a boot server with its token: nothing is installed"
  exit 2
fi
read_run
mkdir -p "$root" "$esp"
begin
tell disk
if [ ! -d "$sys/firmware/efi" ]; then give_up "the machine has started by BIOS; what is installed starts by UEFI"; fi
choose_disk "$(list_disks)"
inspect_disk
if is_installed; then
  say_it_again
else
  check_disk
  install
fi
tell "done"
say "installed; the disk boots"
