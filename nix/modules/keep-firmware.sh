# A package's firmware without some files: $1 has lib/firmware or is empty, $2 is made, and the rest are patterns of
# files below lib/firmware, as a shell's `case` has them; a `*` matches a slash too.
set -euo pipefail
package=$1
result=$2
shift 2

mkdir -p "$result/lib/firmware"
if ! [ -d "$package/lib/firmware" ]; then exit; fi
cp -R --no-preserve=mode "$package/lib/firmware/." "$result/lib/firmware/"
cd "$result/lib/firmware"
find . \( -type f -o -type l \) -print | while IFS= read -r file; do
  file=${file#./}
  name=${file%.zst}
  name=${name%.xz}
  for pattern; do
    # shellcheck disable=SC2254 # A pattern is what it is.
    case $name in $pattern) rm "$file"; break ;; esac
  done
done
# A link to what is left out, and a directory that held nothing else.
find . -xtype l -delete
find . -mindepth 1 -type d -empty -delete
