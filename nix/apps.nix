# The flake's apps for one system.
{
  pkgs,
  ectools,
  nixpkgs,
  ...
}:
let
  inherit (pkgs) lib;

  # The guest is an x86-64 machine, whatever the host is.
  x86_64 = nixpkgs.legacyPackages.x86_64-linux;
  payload = x86_64.callPackage ./demo-payload.nix { };
  demo = pkgs.writeShellApplication {
    name = "every-channel-demo";
    # qemu_kvm emulates its own platform only.
    runtimeInputs = [
      (if pkgs.stdenv.hostPlatform.isx86_64 then pkgs.qemu_kvm else pkgs.qemu)
      pkgs.dnsmasq
      pkgs.iproute2
      pkgs.util-linux
    ];
    text = ''
      demo=(demo)
      if [ "''${1:-}" = netboot ]; then
        shift
        demo=(demo netboot --ipxe ${x86_64.ipxe}/ipxe.efi --ovmf ${x86_64.OVMF.fd}/FV)
      fi
      exec ${lib.getExe ectools} "''${demo[@]}" --payload ${payload} "$@"
    '';
  };

  # MODULE first, then what else `ectools docs` takes.
  docs = pkgs.writeShellApplication {
    name = "every-channel-docs";
    text = ''
      case "''${1:-}" in
        "" | -*) exec ${lib.getExe ectools} docs "$@" ;;
      esac
      module=$1
      shift
      exec ${lib.getExe ectools} docs --format html --allow-undocumented --module "$module" "$@"
    '';
  };

  app = description: program: {
    type = "app";
    program = lib.getExe program;
    meta = { inherit description; };
  };
in
{
  ectools = app "The ectools command" ectools;
  default = app "The ectools command" ectools;
  docs = app "The option reference of any module, as a site: docs -- FLAKE#nixosModules.NAME -o DIR" docs;
  demo = app "Boot a guest over iPXE from an embedded host description" demo;
}
