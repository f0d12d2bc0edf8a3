# A flake whose one check cannot be evaluated.
{
  outputs =
    { self }:
    {
      checks.x86_64-linux.bad = throw "this check throws";
      checks.aarch64-linux.bad = throw "this check throws";
    };
}
