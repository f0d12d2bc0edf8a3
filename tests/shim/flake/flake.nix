# What the tests of pynix_eval_shim evaluate and build. It needs no input and no program but /bin/sh.
{
  outputs =
    { self }:
    let
      each =
        names: f:
        builtins.listToAttrs (
          map (name: {
            inherit name;
            value = f name;
          }) names
        );
      systems = [
        "aarch64-linux"
        "x86_64-linux"
      ];
      make =
        system: name: attrs:
        derivation (
          {
            inherit name system;
            builder = "/bin/sh";
          }
          // attrs
        );
    in
    {
      lib = {
        value = {
          number = 1.5;
          path = ./flake.nix;
          text = "text";
        };
        greet = { name }: "hello ${name}";
        thrown = throw "thrown by the flake";
      };

      packages = each systems (
        system:
        let
          shell =
            name: script:
            make system name {
              args = [
                "-c"
                script
              ];
            };
        in
        rec {
          default = shell "fine" "echo fine > $out";
          two-outputs =
            make system "two-outputs" {
              outputs = [
                "out"
                "doc"
              ];
              args = [
                "-c"
                "echo out > $out; echo doc > $doc"
              ];
            }
            // {
              # Which of them are built where none is named.
              meta.outputsToInstall = [
                "out"
                "doc"
              ];
            };
          fails = shell "fails" "echo first line; echo last line >&2; exit 3";
          needs-fails = shell "needs-fails" "echo ${fails} > $out";
          no-output = shell "no-output" ":";
          wrong-hash = make system "wrong-hash" {
            args = [
              "-c"
              "echo content > $out"
            ];
            outputHashMode = "flat";
            outputHashAlgo = "sha256";
            outputHash = "0000000000000000000000000000000000000000000000000000";
          };
          needs-feature = make system "needs-feature" {
            requiredSystemFeatures = [
              "kvm"
              "a-feature-of-no-machine"
            ];
          };
          needs-needs-feature = shell "needs-needs-feature" "echo ${needs-feature} > $out";
          other-system = make "riscv64-linux" "other-system" { };
        }
      );
    };
}
