# The next release's kernel, started by the one that runs: no firmware, no iPXE, and nothing believed that was not checked.
# Sourced by follow.sh after follow-trust.sh (ECP-0113).
#
#   FOLLOW_KEXEC      yes; empty: this node boots again through its firmware alone
#   FOLLOW_ARGUMENTS  a file of kernel arguments, a line each, that a boot server may give beside the signed ones
#   FOLLOW_MEMINFO    /proc/meminfo
#
# prepare_kexec RELEASE   fetch its kernel and initrd, checked; nothing has changed then
# start_kexec RELEASE     begin the boot, load them, and have systemd go down into them
# drop_kexec              forget what was prepared
#
# 0: done; 1: that is not possible here and now, as `reason` says.

# For all that is loaded at once: the file, the kernel's copy, and what it makes of it; and for everything else.
readonly COPIES=3 SPARE_KIB=131072
# What x86 takes (COMMAND_LINE_SIZE): what is longer is cut off by the kernel.
readonly MAX_COMMAND_LINE=2047
FOLLOW_KEXEC=${FOLLOW_KEXEC-} FOLLOW_MEMINFO=${FOLLOW_MEMINFO:-/proc/meminfo}

work='' work_sums='' work_files=''
next_files=() next_arguments=()

# ask_next RELEASE EXTRA: what the boot server gives for it: a kernel, then initrds ("SHA-256 bytes path"), and arguments.
ask_next() {
  local line kinds='' is_whole='' release=''
  local file='[0-9a-f]{64} [0-9]{1,11} /releases/sha256-[0-9a-f]{32}(/[A-Za-z0-9_][A-Za-z0-9._+-]*){1,2}'
  next_files=() next_arguments=()
  reason='the boot server does not say what to start'
  ask "/next?boot=$boot_token$2" || {
    reason+=" ($status)"
    return 1
  }
  while IFS= read -r line; do
    if [ -n "$is_whole" ]; then
      return 1
    elif [[ $line =~ ^release\ (sha256-[0-9a-f]{32})$ ]]; then
      release=${BASH_REMATCH[1]}
    elif [[ $line =~ ^(kernel|initrd)\ ($file)$ && ${BASH_REMATCH[2]} = *" /releases/$1/"* ]]; then
      kinds+=${BASH_REMATCH[1]:0:1}
      next_files+=("${BASH_REMATCH[2]}")
    elif [[ $line =~ ^argument\ ([!-~]+)$ ]]; then
      next_arguments+=("${BASH_REMATCH[1]}")
    elif [ "$line" = end ]; then
      is_whole=yes
    elif ! [[ $line =~ ^(system|boot)\ [A-Za-z0-9._+-]{1,255}$ ]]; then
      return 1
    fi
  done <<< "${answer%$'\n'}"
  [ -n "$is_whole" ] && [[ $kinds =~ ^ki+$ ]] || return 1
  reason="the boot server gives another release than $1"
  [ "$release" = "$1" ]
}

# Whether what the server gives is what was signed: by content, wherever it lies.
are_files_signed() {
  local number signed=("$trusted_kernel" "${trusted_initrds[@]}")
  [ -n "$FOLLOW_SIGNATURE" ] || return 0
  reason='the boot server gives other files than were signed'
  [ "${#next_files[@]}" -eq "${#signed[@]}" ] || return 1
  for number in "${!signed[@]}"; do
    [ "${next_files[number]% *}" = "${signed[number]}" ] || return 1
  done
}

has_memory() {
  local file total=0 name value rest available=''
  while read -r name value rest; do
    if [ "$name" = MemAvailable: ]; then available=$value; fi
  done < "$FOLLOW_MEMINFO"
  for file in "${next_files[@]}"; do
    read -r _ value _ <<< "$file"
    total=$((total + value / 1024 + 1))
  done
  reason="there is too little memory: $available KiB are free, and $((COPIES * total + SPARE_KIB)) are wanted"
  [[ $available =~ ^[0-9]+$ ]] && [ "$available" -ge $((COPIES * total + SPARE_KIB)) ]
}

make_work() {
  reason="$FOLLOW_DIRECTORY has no room"
  work=$(umask 077 && mktemp -d -- "$FOLLOW_DIRECTORY/kexec.XXXXXXXX")
}

drop_kexec() {
  if [ -n "$work" ]; then rm -rf -- "$work"; fi
  work='' work_sums='' work_files=''
}

# Whether what is to be started was fetched by an earlier turn, which something else has ended.
is_prepared() { [ -n "$work_sums" ] && [ "$work_files" = "${next_files[*]}" ] && [ "$(sum_work)" = "$work_sums" ]; }

sum_work() { (cd -- "$work" && sha256sum kernel initrd); }

prepare_kexec() {
  local file sum size path number=0 command_line
  ask_next "$1" '' && are_files_signed && build_command_line "$1" || return 1
  if is_prepared; then return 0; fi
  drop_kexec
  has_memory && make_work || return 1
  for file in "${next_files[@]}"; do
    read -r sum size path <<< "$file"
    reason="$path could not be fetched"
    if ! fetch "$path" "$work/part" "$size" 1800; then
      drop_kexec
      return 1
    fi
    reason="$path is not what it should be: WRONG SHA-256"
    if [ "$(sha256sum < "$work/part")" != "$sum  -" ]; then
      drop_kexec
      return 1
    fi
    reason='there is too little room for it'
    if ! add_part "$number"; then
      drop_kexec
      return 1
    fi
    number=$((number + 1))
  done
  if ! work_sums=$(sum_work); then
    drop_kexec
    return 1
  fi
  work_files=${next_files[*]}
}

# Of the files that are fetched, the one of this number.
add_part() {
  if [ "$1" = 0 ]; then
    mv -- "$work/part" "$work/kernel"
  else
    # One behind the other, each from a multiple of four bytes on (initramfs buffer format, kernel documentation).
    cat -- "$work/part" >> "$work/initrd" && truncate -s %4 -- "$work/initrd" && rm -- "$work/part"
  fi
}

# What a boot server has to say of one boot alone, and can do no harm by (ectools/netboot/boot_files/scripts/reporting.py).
is_of_this_boot() {
  local path='(/[A-Za-z0-9._~%+-]+)*'
  case $1 in
    every_channel.report=*) [[ $1 =~ ^[a-z_.]+=http://$BOOT_HOST$path/report\?boot=$BOOT_TOKEN$ ]] ;;
    every_channel.release=*) [ "$1" = "every_channel.release=$2" ] ;;
    every_channel.healthy_within=*) [[ $1 =~ ^[a-z_.]+=[0-9]{1,7}$ ]] ;;
    every_channel.health_units=*) [[ $1 =~ ^[a-z_.]+=[A-Za-z0-9:_.@,-]+$ ]] ;;
    every_channel.store=*) [[ $1 =~ ^[a-z_.]+=http://$BOOT_HOST$path(,http://$BOOT_HOST$path)*$ ]] ;;
    *) false ;;
  esac
}

# is_allowed ARGUMENT: as this system says.
is_allowed() {
  local allowed=()
  if [ -n "${FOLLOW_ARGUMENTS-}" ]; then mapfile -t allowed < "$FOLLOW_ARGUMENTS"; fi
  is_in "$1" "${allowed[@]}"
}

# build_command_line RELEASE: signed arguments first, as they were signed; of the server's others what may be.
build_command_line() {
  local each names=' '
  command_line=${next_arguments[*]}
  if [ -n "$FOLLOW_SIGNATURE" ]; then
    command_line=${trusted_arguments[*]}
    for each in "${next_arguments[@]}"; do
      if is_in "$each" "${trusted_arguments[@]}"; then continue; fi
      # Its value may be a token.
      reason="the boot server gives a kernel argument that is neither signed nor allowed: ${each%%=*}"
      if is_of_this_boot "$each" "$1"; then
        [[ $names != *" ${each%%=*} "* ]] || return 1
        names+="${each%%=*} "
      else
        is_allowed "$each" || return 1
      fi
      command_line+=" $each"
    done
    if [ "$seen_counter" -gt 0 ]; then command_line+=" every_channel.channel_counter=$seen_counter"; fi
    # What comes up is known by its store path, which may be that of an older release too.
    command_line+=" every_channel.release_counter=${trusted_name%% *}"
  fi
  reason="the kernel's command line is too long"
  [ "${#command_line}" -le "$MAX_COMMAND_LINE" ]
}

start_kexec() {
  local command_line files="${next_files[*]}" new
  ask_next "$1" '&take=yes' || return 1
  reason='the boot server gives other files than a moment ago'
  [ "$files" = "${next_files[*]}" ] && build_command_line "$1" || return 1
  reason='what was fetched has changed since'
  [ -n "$work" ] && [ "$(sum_work)" = "$work_sums" ] || return 1
  reason='the kernel does not take another one (kexec)'
  # Its arguments, with the token of the boot that begins: kexec has no other way to be told.
  kexec --load --kexec-syscall-auto --initrd="$work/initrd" --command-line="$command_line" "$work/kernel" || return 1
  if [[ $command_line =~ every_channel\.report=[^\ ]*\?boot=([A-Za-z0-9_-]+) ]]; then
    new=${BASH_REMATCH[1]}
    ask "/report?boot=$new&stage=loaded" || true
  fi
  reason='systemd does not start it'
  systemctl kexec || {
    kexec --unload || true
    return 1
  }
}
