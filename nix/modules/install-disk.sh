# Of ec-install.sh: which disk the plan means, and whether it may be written to. Nothing is written here.
#
#   list_disks           the disks that there are, a line each
#   choose_disk LINES    disk, disk_bytes, disk_name, disk_is_known
#   inspect_disk         content and marker, of the disk
#   check_others LINES   gives up where another disk has a system of here too
#   check_disk           gives up where somebody else's is on it
#
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2153 # plan, by_id, root and the labels are ec-install.sh's, as `give_up` is
# shellcheck disable=SC2034 # what is found out is ec-install.sh's to use

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
    [ -n "$device" ] || continue
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

# is_blank DEVICE: nothing is in its first and its last MiB but zeros, all of which can be read, and nothing that is known.
is_blank() {
  local bytes at size=1048576 others
  holds_nothing_known "$1" || return 1
  bytes=$(blockdev --getsize64 "$1") || return 1
  for at in 0 $((bytes > size ? bytes - size : 0)); do
    others=$(dd if="$1" bs="$size" count=1 iflag=skip_bytes,fullblock skip="$at" status=none 2> /dev/null | tr -d '\0' | wc --bytes) \
      && [ "$others" -eq 0 ] || return 1
  done
}

holds_nothing_known() {
  local known
  # Of a partition blkid says where it is, whatever is in it.
  known=$(blkid --probe --output export "$1" 2> /dev/null) || true
  if [[ $known =~ (^|$'\n')(TYPE|PTTYPE)= ]]; then return 1; fi
  known=$(wipefs --no-act --noheadings "$1" 2> /dev/null) && [ -z "$known" ]
}

# content: `empty`, blank; `ours`, the partitions that are made here, with a system, or with a root partition that is blank or
# half made as yet; `foreign`, anything else, also what is not known or cannot be read. Of a whole system `marker` says whose it
# is. Nothing is written: a journal is not played back.
declare -A marker=()
inspect_disk() {
  local probed state=0 part name value
  content=foreign marker=()
  if is_blank "$disk"; then
    content=empty
    return
  fi
  probed=$(blkid --probe --output export "$disk" 2> /dev/null) || state=$?
  if ! [[ $state -eq 0 && $probed == *PTTYPE=gpt* && ! $probed =~ (^|$'\n')TYPE= ]]; then return; fi
  if ! part=$(find_partition "$ROOT_LABEL") || ! find_partition "$ESP_LABEL" > /dev/null; then return; fi
  partx --update "$disk" 2> /dev/null || true
  if mount -t ext4 -o ro,noload "$part" "$root" 2> /dev/null; then
    content=ours
    if [ -r "$root/$STATE/installed" ]; then
      while read -r name value; do
        case $name in node | order | system) marker[$name]=$value ;; esac
      done < "$root/$STATE/installed"
    fi
    umount "$root"
  elif is_blank "$part" || is_half_made "$part" "$(find_partition "$ESP_LABEL")"; then
    content=ours
  fi
}

# is_half_made ROOT ESP: the root partition's file system was being made when the power went.
is_half_made() {
  local is_begun=1
  if ! holds_nothing_known "$1" || ! mount -o ro "$2" "$esp" 2> /dev/null; then return 1; fi
  if [ -e "$esp/$BEGUN" ]; then is_begun=0; fi
  umount "$esp"
  return "$is_begun"
}

# Whether the disk has what this order is to bring. The fleet's own order is carried out by whatever system is there: it may
# be the fleet's memory that was lost.
is_installed() {
  [ "${marker[node]:-}" = "${plan[node]}" ] && [[ ${plan[order]} == first || ${plan[order]} == "${marker[order]:-}" ]]
}

# An installed system finds its partitions by their labels, and the machine would start from either of two that have them.
check_others() {
  local device _ names part label
  while read -r device _ _ names; do
    if [ -z "$device" ] || [ "$device" = "$disk" ]; then continue; fi
    partx --update "$device" 2> /dev/null || true
    while read -r part; do
      for label in "$ESP_LABEL" "$ROOT_LABEL"; do
        if has_label "$part" "$label"; then
          give_up "${names:+${names%% *}, }$device has a partition labelled $label too, by which the system on $disk_name is to find its own: erase or unplug it"
        fi
      done
    done < <(lsblk --noheadings --raw --paths --output NAME "$device")
  done <<< "$1"
}

# has_label PARTITION LABEL: its file system has it, or the table says so.
has_label() {
  local known
  known=$(blkid --probe --output export "$1" 2> /dev/null) || true
  [[ $known =~ (^|$'\n')(LABEL|PART_ENTRY_NAME)="$2"($|$'\n') ]]
}

# Whether a loop device has a part of the disk that is written to, as stage 1 leaves it where it keeps the store's image there
# (store-cache.sh): nothing that lsblk tells says so.
holds_store() {
  local part file parts
  parts=$(lsblk --noheadings --raw --paths --output NAME "$disk")
  # What is beside the two partitions stays.
  if [ "$content" = ours ]; then parts="$disk $(find_partition "$ROOT_LABEL") $(find_partition "$ESP_LABEL")"; fi
  while read -r file; do
    for part in $parts; do
      if [ "$(readlink --canonicalize "$file")" = "$part" ]; then return 0; fi
    done
  done < <(losetup --list --noheadings --output BACK-FILE)
  return 1
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
  if holds_store; then give_up "$disk_name is in use: this system's Nix store is on it (runner.storeCache)"; fi
}
