# The runner of an SD card, for the machine that builds it: there are no packages here for the architecture that it is for.
# What firmware and boot loader are made of is stand-ins, each with its own name in it.
{
  source,
  nixpkgs,
}:
let
  base = nixpkgs.legacyPackages.x86_64-linux;

  files =
    name: directory: files:
    base.runCommand name { } ''
      mkdir -p $out/${directory}
      ${base.lib.concatMapStrings (file: "echo ${name} ${file} > $out/${directory}/${file}\n") files}
    '';

  pkgs = base // {
    inherit pkgs;
    callPackage = base.lib.callPackageWith pkgs;

    # nixpkgs's list is for any board, and Debian's kernel has no driver for some.
    makeModulesClosure = arguments: base.makeModulesClosure (arguments // { allowMissing = true; });

    raspberrypifw = files "raspberrypifw" "share/raspberrypi/boot" [
      "bcm2711-rpi-4-b.dtb"
      "bcm2711-rpi-400.dtb"
      "bcm2711-rpi-cm4.dtb"
      "bcm2711-rpi-cm4s.dtb"
      "bootcode.bin"
      "fixup.dat"
      "fixup4.dat"
      "start.elf"
      "start4.elf"
    ];
    raspberrypi-armstubs = files "armstubs" "." [ "armstub8-gic.bin" ];
    ubootRaspberryPi3_64bit = files "u-boot-pi3" "." [ "u-boot.bin" ];
    ubootRaspberryPi4_64bit = files "u-boot-pi4" "." [ "u-boot.bin" ];

    # Root builds here, and the clock is not faked. nixpkgs's own builders have GNU's awk.
    fakeroot = base.symlinkJoin {
      name = "fakeroot";
      paths = [
        (base.writeShellScriptBin "fakeroot" ''exec "$@"'')
        (base.writeShellScriptBin "awk" ''exec ${base.gawk}/bin/gawk "$@"'')
      ];
    };
    libfaketime = base.writeShellScriptBin "faketime" ''
      if [ "$1" = -f ]; then shift; fi
      shift
      exec "$@"
    '';
  };
in
nixpkgs.lib.nixosSystem {
  modules = [
    source.nixosModules.default
    (source + "/nix/hosts/common.nix")
    (source + "/nix/hosts/runner.nix")
    (source + "/nix/hosts/sd-image.nix")
    {
      nixpkgs.hostPlatform = "x86_64-linux";
      # A tree that builds here may set it itself, and no overlay.
      _module.args.pkgs = nixpkgs.lib.mkOverride 40 pkgs;
      sdImage.compressImage = false;
    }
  ];
}
