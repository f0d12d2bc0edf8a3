# The flake's checks for one system.
{
  pkgs,
  ectools,
  self,
  nixpkgs,
  ...
}:
let
  inherit (pkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;
  ectoolsCheck =
    name: arguments:
    pkgs.runCommand "every-channel-check-${name}" { } ''
      cd ${self}
      ${lib.getExe ectools} ${arguments}
      touch $out
    '';

  # Evaluated here, so that the builder needs no Nix.
  optionsDump = builtins.toFile "options.json" (
    builtins.toJSON (self.lib.optionsDump { inherit pkgs; })
  );
in
{
  package = ectools;
  unit-tests = pkgs.callPackage ./package.nix { checked = true; };
  proposals = ectoolsCheck "proposals" "proposals lint";
  schemas = ectoolsCheck "schemas" "schema check --dump ${optionsDump}";
  docs = ectoolsCheck "docs" "docs --check docs/options";
  command-pages = ectoolsCheck "command-pages" "docs commands --check docs/man";
  metrics-page = ectoolsCheck "metrics-page" "docs metrics --check docs/METRICS.md";
}
# VM tests, which `ectools vmtest` finds by their prefix. What boots in them is x86-64 firmware or an x86-64 guest.
// lib.optionalAttrs (system == "x86_64-linux" && pkgs ? testers && pkgs.testers ? runNixOSTest) (
  import ./tests { inherit pkgs self; }
)
// import ./tests/eval-systems.nix { inherit pkgs self nixpkgs; }
// lib.optionalAttrs (pkgs ? nixfmt) {
  formatting = pkgs.runCommand "every-channel-check-formatting" {
    nativeBuildInputs = [ pkgs.nixfmt ];
  } "find ${self} -name '*.nix' -exec nixfmt --check {} + && touch $out";
}
