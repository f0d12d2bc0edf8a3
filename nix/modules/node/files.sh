# Files that a power cut leaves as they were, or as they are to be. Sourced.
#
# shellcheck shell=bash

# replace_file FILE TEXT: root's alone, with a newline at its end.
replace_file() {
  (umask 077 && printf '%s\n' "$2" > "$1.new") && sync "$1.new" && mv "$1.new" "$1" && sync --file-system "${1%/*}"
}
