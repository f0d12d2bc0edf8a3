# Files that a full disk or a power cut leaves as they were, or as they are to be. Sourced.
#
#   write_new FILE TEXT     as FILE.new, with a newline at its end, and root's alone
#   put_new FILE            FILE.new, which somebody has written, becomes FILE once all of it is on the disk
#   replace_file FILE TEXT  both
#   add_line FILE MOST LINE a line more, of so many before it at the most, each there once
#
# 1: it could not be written, which the log says; nothing is left beside what was there. Each status is looked at: where whoever
# calls a function looks at its status (`if`, `||`, `!`), bash does not end it at a command that has failed.
#
# shellcheck shell=bash

write_new() {
  if (rm -f -- "$1.new" && umask 077 && printf '%s\n' "$2" > "$1.new" && sync "$1.new"); then return 0; fi
  drop_new "$1"
}

put_new() {
  if sync "$1.new" && mv -T -- "$1.new" "$1" && sync --file-system "${1%/*}"; then return 0; fi
  drop_new "$1"
}

drop_new() {
  rm -f -- "$1.new" || true
  echo "<3>every-channel: $1 could not be written" >&2
  return 1
}

replace_file() { write_new "$1" "$2" && put_new "$1"; }

add_line() {
  local lines=''
  # 1: there is no other line.
  if [ -e "$1" ]; then
    lines=$(grep --text --invert-match --line-regexp --fixed-strings -- "$3" "$1") || [ $? -eq 1 ] || return 1
  fi
  lines=$(tail --lines="$2" <<< "$lines")
  replace_file "$1" "${lines:+$lines$'\n'}$3"
}
