# A file in an initrd may have 4 GiB less one byte: its size is 8 hexadecimal digits there. One that is larger is left
# out without a word (https://github.com/NixOS/nixpkgs/issues/399607), and the machine that boots finds no store.
limit=4294967295
size=$(stat --dereference --format %s "$1")
if [ "$size" -gt "$limit" ]; then
  {
    echo "$1 has $size bytes, and an initrd holds no file of more than $limit."
    echo "Make the system smaller, or have it find its store elsewhere than in the initrd."
  } >&2
  exit 1
fi
