# In stage 1: fetches the image of the Nix store over HTTP into memory, or to a disk that keeps it, piece by piece.
#
# SUMS, of the initrd, begins with a line of the image's size and the size of a piece, both in bytes; then the SHA-256 of
# each piece, a line each. CMDLINE has every_channel.store=URL,URL…: the image lies beside what each names. BUSYBOX is one
# with dd, sha256sum, timeout and wget. The image is $DIRECTORY/image once it is whole, and every byte of it is as SUMS says.
# Where CACHE names a disk, store-cache.sh stands before this, and the image is $DIRECTORY/device.
#
# No piece is kept that is not the right one, so it does not matter who gave it: a source that breaks off is asked for the
# rest, one that gives something else is left alone. bash speaks HTTP by itself: what could be called for it (busybox's
# wget, which would begin the file anew where a server ignores Range) writes before anybody has looked.
set +e -u -o pipefail
# Who hangs up does not end this program.
trap "" PIPE

# For an answer, and for each piece.
STALL_SECONDS=${STALL_SECONDS:-60}
FIRST_PAUSE=${FIRST_PAUSE:-1}
# What the system needs besides, at the least.
SPARE_KIB=${SPARE_KIB:-65536}
# So long without a piece, and the machine boots anew: the boot server may have gone on to another release.
GIVE_UP_SECONDS=${GIVE_UP_SECONDS:-900}
# Between two words to the boot server on how far it is.
TELL_SECONDS=${TELL_SECONDS:-5}

# Where it is written to, and the number of the piece there that is its first.
image=$DIRECTORY/image first=0
sources=() why=() wrong=()
# Of a disk's: pieces that are there, and what others lack. Whether anything was written.
have=() gaps=() written='' unkept='' posted=-3600
stalled="it broke off, or stood still for $STALL_SECONDS s"

say() { echo "every.channel: the Nix store: $*"; }

mib() { echo "$((($1 + 1048575) / 1048576)) MiB"; }

# Where the image lies, beside what each of these names.
list_sources() {
  local each
  read_boot_arguments "$CMDLINE"
  for each in "${boot_stores[@]}"; do
    each=${each%%[?#]*}
    sources+=("${each%/*}/store.squashfs")
  done
}

# What cannot be mended here is said once to the boot server too, as a boot that has failed. Its answer is not waited for.
give_notice() {
  say "$1"
  [ -n "$boot_url" ] || return
  post 10 "stage=up&healthy=no&release=$boot_release&failed=every-channel-store.service&journal=${1// /+}"
}

# post SECONDS BODY: to the boot server.
post() {
  "$BUSYBOX" timeout "$1" "$BUSYBOX" wget -q -O /dev/null --post-data "$2" "$boot_url" 2>/dev/null
}

# connect URL OFFSET BYTES: file descriptor 3 stands at the first of these bytes. Else `reason` says why not.
connect() {
  local rest=${1#http://} authority host port=80 path line until left status='' range=''
  reason="stage 1 speaks plain HTTP alone"
  [ "$rest" != "$1" ] || return 1
  authority=${rest%%/*} path=/${rest#*/}
  host=$authority
  case $authority in
    \[*\]:*) host=${authority%:*} port=${authority##*:} ;;
    \[*\]) ;;
    *:*) host=${authority%:*} port=${authority##*:} ;;
  esac
  host=${host#\[} host=${host%\]}
  reason="nobody answers"
  { exec 3<> "/dev/tcp/$host/$port"; } 2>/dev/null || return 1
  # HTTP/1.0: the answer comes in one piece, and the connection ends with it.
  printf 'GET %s HTTP/1.0\r\nHost: %s\r\nRange: bytes=%s-%s\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n' \
    "$path" "$authority" "$2" $(($2 + $3 - 1)) >&3 2>/dev/null || return 1
  reason="no answer of HTTP"
  until=$((SECONDS + STALL_SECONDS))
  for ((fields = 0; fields < 100; fields++)); do
    # For all of its head: a line now and then is no answer.
    left=$((until - SECONDS))
    { [ "$left" -gt 0 ] && IFS= read -r -t "$left" -n 4096 line <&3; } || return 1
    line=${line%$'\r'}
    [ -n "$line" ] || break
    if [ "$fields" -eq 0 ]; then
      case $line in "HTTP/1."[01]" "[1-5][0-9][0-9]*) status=${line:9:3} ;; *) return 1 ;; esac
    fi
    case ${line,,} in content-range:*) range=${line#*:} ;; esac
  done
  case $status in
    206)
      reason="another part than was asked for"
      case $range in *bytes\ "$2"-*) return 0 ;; esac
      ;;
    # A server that knows no ranges. From the beginning, it is the whole of it.
    200)
      reason="no ranges, and what there is already would come again"
      [ "$2" -gt 0 ] || return 0
      ;;
    *) reason="HTTP $status" ;;
  esac
  return 1
}

# find_count: `count`, how many bytes the piece `next` has.
find_count() { count=$((next * piece + piece <= size ? piece : size - next * piece)); }

# take: the next piece, from file descriptor 3. 1: nothing more comes; 2: it is another than it should be; 3: it cannot be kept.
take() {
  local count sum
  find_count
  # One block of just that size: what follows it stays in the connection.
  # (In braces, or the shell would say that what the timer ends was terminated.)
  { "$BUSYBOX" timeout "$STALL_SECONDS" "$BUSYBOX" dd bs="$count" count=1 iflag=fullblock of="$DIRECTORY/piece" <&3; } 2>/dev/null
  sum=$("$BUSYBOX" sha256sum "$DIRECTORY/piece" 2>/dev/null)
  if [ "${sum%% *}" = "${sums[next]}" ]; then
    "$BUSYBOX" dd if="$DIRECTORY/piece" of="$image" bs="$piece" seek=$((first + next)) conv=notrunc 2>/dev/null \
      || { unkept=yes; return 3; }
    written=yes
    next=$((next + 1))
    return 0
  fi
  [ "$(wc_bytes "$DIRECTORY/piece")" -eq "$count" ] && return 2
  return 1
}

wc_bytes() {
  local found
  found=$("$BUSYBOX" stat -c %s "$1" 2>/dev/null)
  echo "${found:-0}"
}

# fetch_from INDEX: pieces from this source, for as long as they come. 0: all of them, or some.
fetch_from() {
  local before=$next last=$next
  if [ -n "${gaps[next]:-}" ]; then
    fill_from "$1"
    return
  fi
  while [ $((last + 1)) -lt "${#sums[@]}" ] && [ -z "${have[last + 1]:-}${gaps[last + 1]:-}" ]; do last=$((last + 1)); done
  if ! connect "${sources[$1]}" $((next * piece)) $((last + 1 < ${#sums[@]} ? (last + 1 - next) * piece : size - next * piece)); then
    why[$1]=$reason
    { exec 3>&-; } 2>/dev/null
    return 1
  fi
  why[$1]=$stalled
  while [ "$next" -le "$last" ]; do
    take
    case $? in
      0) tell_progress ;;
      2)
        why[$1]="other bytes than this release's"
        wrong[$1]=yes
        say "${sources[$1]} gives ${why[$1]}: it is left alone"
        break
        ;;
      *) break ;;
    esac
  done
  { exec 3>&-; } 2>/dev/null
  skip_had
  [ "$next" -gt "$before" ]
}

# fill_from INDEX: what the piece `next` lacks, from this source. 0: it is there, or comes as a whole from now on.
fill_from() {
  fill_gaps "${sources[$1]}"
  case $? in
    0)
      next=$((next + 1))
      tell_progress
      ;;
    # Whether the disk or the source has given something else is seen then.
    2) gaps[next]='' ;;
    *)
      why[$1]=$reason
      { exec 3>&-; } 2>/dev/null
      return 1
      ;;
  esac
  skip_had
}

skip_had() {
  while [ -n "${have[next]:-}" ]; do next=$((next + 1)); done
}

# On the console, and now and then to the boot server, whose answer is not waited for.
tell_progress() {
  local tenth=$((next * 10 / ${#sums[@]}))
  if [ "$tenth" -gt "$told" ]; then
    told=$tenth
    say "$((tenth * 10)) % of $(mib "$size")"
  fi
  [ -n "$boot_url" ] || return
  [ $((SECONDS - posted)) -ge "$TELL_SECONDS" ] || [ "$next" -eq "${#sums[@]}" ] || return
  posted=$SECONDS
  post 5 "stage=store&percent=$((next * 100 / ${#sums[@]}))" > /dev/null 2>&1 3>&- &
}

# read_sums: `size`, `piece`, `sums`.
# shellcheck disable=SC2153
read_sums() {
  { read -r size piece && mapfile -t sums; } < "$SUMS"
  [ "${#sums[@]}" -eq $(((size + piece - 1) / piece)) ]
}

# Whether there are that many bytes of memory, and the system can run beside them.
check_memory() {
  local key value _ needed=$(($1 / 1024 + SPARE_KIB))
  while read -r key value _; do
    if [ "$key" = MemAvailable: ] && [ "$value" -lt "$needed" ]; then
      give_notice "this machine has too little memory: $(mib $((value * 1024))) are free, and $(mib $((needed * 1024))) are needed"
      return 1
    fi
  done < "$MEMINFO"
}

# The whole of it has to lie in memory, and a piece of it twice.
use_memory() {
  check_memory $((size + piece)) || return 1
  image=$DIRECTORY/image first=0 have=() gaps=()
  mount -o "remount,size=$((size + 2 * piece))" "$DIRECTORY" && : > "$image"
}

# fetch: until the image is whole. 1: it cannot be kept where it is written to; 2: nothing comes.
fetch() {
  local pause=$FIRST_PAUSE limit index since=$SECONDS before
  next=0 told=0 unkept=''
  skip_had
  while [ "$next" -lt "${#sums[@]}" ]; do
    before=$next
    for index in "${!sources[@]}"; do
      while [ "$next" -lt "${#sums[@]}" ] && [ -z "${wrong[index]:-}" ] && fetch_from "$index"; do :; done
      [ -z "$unkept" ] || return 1
    done
    [ "$next" -lt "${#sums[@]}" ] || break
    if [ "$next" -gt "$before" ]; then
      pause=$FIRST_PAUSE since=$SECONDS
    elif [ $((SECONDS - since)) -ge "$GIVE_UP_SECONDS" ]; then
      give_notice "nothing of it came for $GIVE_UP_SECONDS s: this machine boots anew"
      return 2
    fi
    # Nobody at all is how it is until this machine's own network is there.
    limit=4
    for index in "${!sources[@]}"; do
      say "${sources[index]}: ${why[index]:-}"
      [ "${why[index]:-}" = "nobody answers" ] || limit=32
    done
    say "asking again in $pause s"
    # Each machine a little longer than another: those of a hall failed at the same moment.
    "$BUSYBOX" sleep "$pause.$((RANDOM % 10))$((RANDOM % 10))"
    # Who gave something else is asked again when nobody else has anything: a disk may have been repaired.
    wrong=()
    pause=$((pause * 2 < limit ? pause * 2 : limit * (pause > 0)))
  done
}

main() {
  local status
  read_sums || { say "$SUMS is not what it should be"; return 1; }
  list_sources
  if [ "${#sources[@]}" -eq 0 ]; then
    say "the kernel's command line does not say where it is: every_channel.store= is missing"
    return 1
  fi
  mkdir -p "$DIRECTORY"
  mount -t tmpfs -o "mode=0700,size=$((index_bytes + 2 * piece))" every-channel-store "$DIRECTORY" || return 1
  if [ -z "$CACHE" ] || ! open_cache; then
    use_memory || return 1
  fi
  say "$(mib "$size") from ${sources[*]}"
  fetch
  status=$?
  if [ "$image" = "$CACHE" ] && [ "$status" -ne 2 ]; then
    if [ "$status" -ne 0 ] || ! close_cache; then
      say "$CACHE does not keep what is written to it: it goes into memory"
      use_memory || return 1
      fetch
      status=$?
    fi
  fi
  [ "$status" -eq 0 ] || return "$status"
  "$BUSYBOX" rm -f "$DIRECTORY/piece" "$DIRECTORY/index"
  [ -z "$CACHE" ] || attach || { say "there is no loop device for it"; return 1; }
  say "whole, and as it was released"
}

# A host that is switched off says nothing; the kernel would ask it for two minutes.
{ read -r retries < "$SYN_RETRIES" && echo 2 > "$SYN_RETRIES"; } 2>/dev/null
main
status=$?
{ echo "${retries:-6}" > "$SYN_RETRIES"; } 2>/dev/null
[ "$status" -ne 2 ] || systemctl --no-block reboot
exit "$status"
