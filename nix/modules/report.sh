# What a node says of its boot, to the boot server that it came from: that its kernel runs, and how it came up (ECP-0105).
#
#   $1  a file with the kernel's command line
#
# The unit says REPORT_HEALTH_UNITS (names, a blank between them), REPORT_HOLD_SECONDS, REPORT_JOURNAL_KIB and REPORT_REDACT
# (a script of sed), and systemd RUNTIME_DIRECTORY and STATE_DIRECTORY. In the latter there may be `first-boot`: arguments of the
# kernel that installed this system, whose boot this one ends (ec-install.sh); and on a machine that updates its disk
# REPORT_DISK_BOOT, what disk-boot.sh leaves. Nothing that is printed has the token of the boot, and no argument of a program.
set -euo pipefail
export LC_ALL=C SYSTEMD_COLORS=0

readonly GIVE_UP_SECONDS=86400
readonly TICK_SECONDS=2 SLOW_TICK_SECONDS=15
# The server takes 64 KiB. curl encodes a byte as three, unless it is unreserved (RFC 3986, section 2.3).
readonly BODY_BYTES=60000
readonly MAX_UNITS=32

runtime=$RUNTIME_DIRECTORY
first_boot=${STATE_DIRECTORY:-/nonexistent}/first-boot

NODE_SCRIPTS=${NODE_SCRIPTS:-${BASH_SOURCE[0]%/*}/node}
# shellcheck source=node/arguments.sh
source "$NODE_SCRIPTS/arguments.sh"
# shellcheck source=node/requests.sh
source "$NODE_SCRIPTS/requests.sh"
# shellcheck source=node/units.sh
source "$NODE_SCRIPTS/units.sh"

# Seconds since the kernel started, whatever is done to the clock meanwhile.
read_uptime() {
  local whole
  IFS=. read -r whole _ < /proc/uptime
  now=$whole
}

# --- how the boot stands --------------------------------------------------------------------------------------------

# verdict: `starting`, until all jobs of the boot are done; then `failed` where a unit has, `waiting` for a health unit,
# else `healthy`. wrong: the units that have failed, and the health units that are not up. runs: which runs of the health
# units these are.
verdict=starting wrong=() runs=''
look() {
  local finished
  verdict=starting wrong=() runs=''
  finished=$(systemctl show --property=FinishTimestampMonotonic --value) || return 0
  list_failed || return 0
  look_at_health_units || return 0
  if [ "${finished:-0}" = 0 ]; then verdict=starting; fi
}

list_failed() {
  local listed unit
  listed=$(systemctl list-units --state=failed --all --full --plain --no-legend --no-pager) || return 1
  while read -r unit _; do
    if [ -n "$unit" ]; then wrong+=("$unit"); fi
  done <<< "$listed"
}

look_at_health_units() {
  verdict=healthy
  if [ ${#wrong[@]} -gt 0 ]; then verdict=failed; fi
  each_unit judge_health_unit boot-complete.target "${health_units[@]}"
}

judge_health_unit() {
  runs+="${unit[InvocationID]:-} "
  # One that has failed is in the list already.
  if is_unit_up || [ "${unit[ActiveState]:-}" = failed ]; then return 0; fi
  # A systemd without it has nothing to wait for.
  if [ "${unit[Id]} ${unit[LoadState]}" = "boot-complete.target not-found" ]; then return 0; fi
  wrong+=("${unit[Id]}")
  if [ "$verdict" = healthy ]; then verdict=waiting; fi
}

# --- the report -----------------------------------------------------------------------------------------------------

# $1: microseconds.
add_seconds() {
  local fraction
  printf -v fraction '%06d' $(($2 % 1000000))
  add_fields "seconds.$1" "$(($2 / 1000000)).${fraction:0:3}"
}

# systemd's own figures, as systemd-analyze(1) counts them: those of firmware and boot loader go back from the kernel's start.
add_times() {
  local shown line
  local -A at=()
  shown=$(
    systemctl show \
      --property=FirmwareTimestampMonotonic,LoaderTimestampMonotonic,KernelTimestamp,InitRDTimestampMonotonic \
      --property=UserspaceTimestampMonotonic,FinishTimestampMonotonic
  ) || return 0
  while IFS= read -r line; do at[${line%%Timestamp*}]=${line#*=}; done <<< "$shown"
  local firmware=${at[Firmware]:-0} loader=${at[Loader]:-0} initrd=${at[InitRD]:-0}
  local userspace=${at[Userspace]:-0} finish=${at[Finish]:-0}
  if [ "$firmware" -gt "$loader" ]; then add_seconds firmware $((firmware - loader)); fi
  if [ "$loader" -gt 0 ]; then add_seconds loader "$loader"; fi
  # A container has no kernel of its own.
  if [ -n "${at[Kernel]:-}" ]; then
    if [ "$initrd" -gt 0 ]; then
      add_seconds kernel "$initrd"
      add_seconds initrd $((userspace - initrd))
    else
      add_seconds kernel "$userspace"
    fi
  fi
  if [ "$finish" -gt "$userspace" ]; then add_seconds userspace $((finish - userspace)); fi
}

# The end of the journal, then what each failed unit has said last, and what the boot still waits for: without secrets, one
# byte a character.
print_journal() {
  local unit
  journalctl --boot --quiet --no-pager --no-hostname --output=short-monotonic --lines=1500
  for unit in "${wrong[@]:0:4}"; do
    printf -- '-- %s\n' "$unit"
    journalctl --boot --quiet --no-pager --no-hostname --output=short-monotonic --lines=20 --unit="$unit"
  done
  if [ "$verdict" = starting ]; then
    printf -- '-- still to be done\n'
    systemctl list-jobs --full --plain --no-legend --no-pager
  fi
}

# $1: how many bytes it may have once it is encoded.
write_journal() {
  local keep=$((REPORT_JOURNAL_KIB * 1024)) size encoded
  printf 's/%s/***/g\n' "$boot_token" > "$runtime/token.sed"
  { print_journal || true; } \
    | sed -E -f "$REPORT_REDACT" -f "$runtime/token.sed" \
    | tr -c '\n\t -~' '?' \
    | sed -E 's/^(.{500}).+/\1.../' \
    > "$runtime/all"
  while true; do
    size=$(stat --format=%s "$runtime/all")
    if [ "$size" -gt "$keep" ]; then
      # Without the line that the cut has left half of.
      tail --bytes="$keep" "$runtime/all" | sed 1d > "$runtime/journal"
    else
      cp "$runtime/all" "$runtime/journal"
    fi
    size=$(stat --format=%s "$runtime/journal")
    encoded=$(tr -d 'A-Za-z0-9._~-' < "$runtime/journal" | wc --bytes)
    if [ $((size + 2 * encoded)) -le "$1" ]; then break; fi
    keep=$((keep * 3 / 4))
  done
  rm "$runtime/all"
}

# $1: yes or no. It stays the same until the server has it, or the verdict is another one.
compose_up() {
  local unit system
  fields=()
  add_fields stage up
  if [ -n "$boot_release" ]; then add_fields release "$boot_release"; fi
  if system=$(readlink --canonicalize-existing /run/booted-system); then add_fields system "$system"; fi
  add_fields healthy "$1"
  for unit in "${wrong[@]:0:MAX_UNITS}"; do add_fields failed "$unit"; done
  add_times
  add_fields clock "$(printf '%(%s)T' -1)"
  if [ "$1" = no ] && [ "$REPORT_JOURNAL_KIB" -gt 0 ]; then
    local text="${fields[*]}"
    write_journal $((BODY_BYTES - 3 * ${#text}))
    fields+=("data-urlencode = \"journal@$runtime/journal\"")
  fi
}

# --- to the server --------------------------------------------------------------------------------------------------

# status: what the server has answered to `fields`, 000 where nobody did. wait_for: how long it asks to be left alone.
status='' wait_for=0
post() {
  local answer
  answer=$(
    request "$boot_url" 20 'output = "/dev/null"' 'write-out = "%{http_code} %header{retry-after}"' "${fields[@]}"
  ) || true
  read -r status wait_for _ <<< "${answer:-000}"
  if ! [[ ${wait_for:-} =~ ^[0-9]{1,5}$ ]]; then wait_for=0; fi
  wait_for=$((10#$wait_for > 3600 ? 3600 : 10#$wait_for))
}

# When to try again: pauses grow up to $1 seconds, by chance, so that nodes that lost their server do not come back as one.
tries=0 next_try=0
plan_next() {
  local pause=$((tries < 9 ? 1 << tries : 512))
  tries=$((tries + 1))
  pause=$((pause > $1 ? $1 : pause))
  pause=$((pause / 2 + RANDOM % (pause + 1)))
  if [ "$wait_for" -gt 0 ]; then pause=$((wait_for + RANDOM % (wait_for / 4 + 2))); fi
  next_try=$((now + pause))
}

# Sends `fields`, for a stage that is to be printed; true once it need not be said again.
deliver() {
  post
  case $status in
    200)
      echo "every-channel-report: $1: the boot server knows"
      tries=0 next_try=0
      ;;
    403)
      echo "every-channel-report: the boot server has no use for a report on this boot"
      rm -f "$first_boot"
      exit 0
      ;;
    4[0-9][0-9])
      case $status in
        408 | 429)
          plan_next 60
          return 1
          ;;
        413)
          # Without the journal it is small.
          if [[ ${fields[-1]} == *journal@* ]]; then
            unset 'fields[-1]'
            return 1
          fi
          ;;
      esac
      echo "<4>every-channel-report: $1: the boot server refuses it ($status)"
      tries=0 next_try=0
      ;;
    *)
      plan_next $((now < within ? 8 : 300))
      return 1
      ;;
  esac
}

# --- the boot, as it goes -------------------------------------------------------------------------------------------

read_boot_arguments "$1"
for left in "${REPORT_DISK_BOOT:-}" "$first_boot"; do
  if [ -z "$boot_url" ] && [ -r "$left" ]; then read_boot_arguments "$left"; fi
done
if [ -z "$boot_url" ]; then
  echo "<4>every-channel-report: the kernel argument every_channel.report is no address of a boot server: nothing is reported"
  exit 0
fi
within=${boot_within:-600}
read -r -a health_units <<< "$REPORT_HEALTH_UNITS"
health_units+=("${boot_units[@]}")
# With time for the loading, which went before the kernel's.
late=$((within - 120 > within * 3 / 4 ? within - 120 : within * 3 / 4))

# Stage 1 may have said it.
running=$([ -e /run/every-channel/running ] && echo told || echo due)
unhealthy='' composed='' healthy_runs='' healthy_since=0 tick=$TICK_SECONDS
while read_uptime; [ "$now" -lt $((within + GIVE_UP_SECONDS)) ]; do
  look
  if [ "$verdict" = healthy ]; then
    if [ "$runs" != "$healthy_runs" ]; then healthy_runs=$runs healthy_since=$now; fi
  else
    healthy_runs='' healthy_since=$now
  fi

  due=''
  if [ "$verdict" = healthy ]; then
    if [ $((now - healthy_since)) -ge "$REPORT_HOLD_SECONDS" ]; then
      due=yes
    elif [ "$unhealthy" != told ] && [ "$now" -ge $((late + REPORT_HOLD_SECONDS)) ]; then
      # They are up each time that one looks, and never for long.
      due=no wrong=("${health_units[@]}")
    fi
  elif [ "$unhealthy" != told ] && { [ "$verdict" = failed ] || [ "$now" -ge "$late" ]; }; then
    due=no
  fi

  if [ -n "$due" ]; then
    if [ "$composed" != "$due" ]; then
      compose_up "$due"
      composed=$due
      # What the server has asked for holds; a pause for a network that was not there yet does not.
      if [ "$wait_for" -eq 0 ]; then tries=0 next_try=0; fi
    fi
    if [ "$now" -ge "$next_try" ] && deliver "up, healthy: $due"; then
      if [ "$due" = yes ]; then
        rm -f "$first_boot"
        exit 0
      fi
      unhealthy=told running=told
    fi
  else
    composed=''
    if [ "$running" = due ] && [ "$now" -ge "$next_try" ]; then
      fields=()
      add_fields stage running
      if deliver running; then running=told; fi
    fi
  fi
  # Whoever recovers after that does so in minutes.
  if [ "$unhealthy" = told ] && [ "$now" -gt "$within" ]; then tick=$SLOW_TICK_SECONDS; fi
  sleep "$tick"
done
echo "<4>every-channel-report: given up: for a day nobody took the report on this boot"
