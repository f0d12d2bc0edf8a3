# A kernel's modules without those in some directories: $1 has lib/modules, $2 is made, and the rest are directories
# below lib/modules/VERSION/kernel. A module there stays where one elsewhere needs it. What stays is copied, so that the
# store path of the whole kernel is not kept by a link.
set -euo pipefail
trees=$1
result=$2
shift 2

mkdir -p "$result/lib/modules"
for tree in "$trees"/lib/modules/*; do
  version=${tree##*/}
  made=$result/lib/modules/$version
  mkdir "$made"
  # depmod(8) reads these; all other lists are its own.
  for list in modules.order modules.builtin modules.builtin.modinfo; do
    if [ -e "$tree/$list" ]; then cp -L "$tree/$list" "$made/"; fi
  done
  # modules.dep has a line for each module, with all that it needs, at any distance (modules.dep(5)).
  awk -v left_out="$*" '
    BEGIN { count = split(left_out, directories, " ") }
    {
      module = $1
      sub(/:$/, "", module)
      for (i = 1; i <= count; i++)
        if (index(module, "kernel/" directories[i] "/") == 1) next
      kept[module]
      for (i = 2; i <= NF; i++) kept[$i]
    }
    END { for (module in kept) print module }
  ' "$tree/modules.dep" | LC_ALL=C sort > kept
  (cd "$tree" && tar --create --dereference --files-from=-) < kept | tar --extract --directory="$made"
  depmod -b "$result" "$version"
done
