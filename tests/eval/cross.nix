# A system that is built on another platform than its own, for tests: which derivations run what to build it.
#
# The programs of the building machine are there by name alone ("built-here-NAME").
#
#   nixpkgs  path of a nixpkgs tree with a flake.nix, as a string
{ nixpkgs }:
let
  flake = builtins.getFlake "path:${nixpkgs}";
  inherit (flake) lib;
  packages = flake.legacyPackages.x86_64-linux;

  marked =
    name:
    packages.runCommand "built-here-${name}" { meta.mainProgram = name; } "mkdir $out"
    // {
      pname = name;
    };
  # The script that is embedded, in the place of the iPXE around it.
  ipxe = packages.ipxe // {
    override = given: given.embedScript;
  };
  cross = packages // {
    inherit ipxe;
    stdenv = packages.stdenv // {
      buildPlatform = lib.systems.elaborate "aarch64-linux";
    };
    buildPackages =
      packages
      // lib.genAttrs [
        "gawk"
        "gnutar"
        "kmod"
        "systemd"
      ] marked
      // {
        callPackage = _file: _given: marked "ectools";
      };
  };

  system = import ./system.nix {
    inherit nixpkgs;
    config = "{}";
    modules = [
      {
        # Above a tree whose own packages are forced upon its systems.
        _module.args.pkgs = lib.mkOverride 40 cross;
        services.every-channel = {
          ipxe-qemu = {
            enable = true;
            boot.http.root = "/srv/root";
          };
          netboot = {
            enable = true;
            listenIP = "192.0.2.1";
            ipxe.strategy = "embedded";
            release.refresh = "daily";
          };
          runner = {
            enable = true;
            hardware.exclude = [ "audio" ];
          };
        };
      }
    ];
  };
  inherit (system) config options;
  inherit (config.services) every-channel;

  # The names of the derivations that one is built from.
  inputsOf =
    text:
    lib.concatMap (
      drv:
      lib.concatMap (found: lib.optionals (lib.isList found) found) (
        builtins.split "/[a-z0-9]{32}-([^\"/]*)[.]drv" (builtins.readFile drv)
      )
    ) (lib.attrNames (builtins.getContext "${text}"));
in
{
  netboot = inputsOf config.environment.etc."every-channel/netboot.json".source;
  guest = inputsOf config.environment.etc."every-channel/ipxe-qemu.json".source;
  netbootScript = inputsOf every-channel.netboot.ipxe.embeddedFile;
  guestScript = inputsOf every-channel.ipxe-qemu.boot.userNet.bootFile;
  modules = inputsOf (lib.head (lib.head options.system.modulesTree.definitions));

  # The units' own.
  tools = every-channel.toolsPackage.name;
  unit = inputsOf config.systemd.units."every-channel-netboot.service".unit;
}
