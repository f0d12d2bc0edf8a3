# What the names of systems and of their archives say, as ectools/netboot/kernel.py reads them.
let
  says = words: name: builtins.match "(.*[^A-Za-z0-9])?(${words})([^A-Za-z0-9].*)?" name != null;
  arm64 = "aarch64|arm64";
  others = "i[36]86|x86[_-]64|amd64|armv7l|riscv64|loongarch64";
in
{
  isArm64 = says arm64;
  # A name that says no architecture may be for any.
  mayBeArm64 = name: says arm64 name || !says others name;
}
