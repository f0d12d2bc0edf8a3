# Derivations that print what the NixOS test driver prints: what `ectools vmtest` is tried on where there is no KVM.
# settings.json beside this file says for which system they are, and where the pipes are that they wait for.
{
  outputs =
    { self }:
    let
      settings = builtins.fromJSON (builtins.readFile ./settings.json);
      inherit (settings) system pipes;

      make =
        name: attrs: script:
        derivation (
          {
            name = "vm-test-run-${name}";
            inherit system;
            builder = "/bin/sh";
            requiredSystemFeatures = [ "nixos-test" ];
            args = [
              "-c"
              script
            ];
          }
          // attrs
        )
        // {
          nodes.machine.virtualisation.memorySize = 600;
          meta.timeout = 300;
        };
      subtest = name: script: ''
        echo "subtest: ${name}"
        ${script}
        echo "(finished: subtest: ${name}, in 1.50 seconds)"
      '';
      # Each lets the other go on: both end only where both run at once.
      meet =
        name: mine: other:
        make name { } (
          subtest "meet" ''
            echo > ${pipes}/${mine} &
            read _ < ${pipes}/${other}
            wait
          ''
          + "echo > $out"
        );
    in
    {
      checks.${system} = {
        unit-tests = throw "no VM test, and not to be looked at";

        vm-passes = make "passes" { } ''
          echo "start all VMs"
          ${subtest "boots" ''
            printf '\033[1m\033[32mmachine: must succeed: true\033[0m\n'
            echo "machine # [    0.0] Linux version 6"
          ''}
          ${subtest "serves" (subtest "nested" "echo 'machine: waiting for unit x'")}
          echo > $out
        '';

        vm-fails = make "fails" { } ''
          ${subtest "boots" ""}
          echo "subtest: serves <all> \"of\" it"
          echo "machine # kernel panic"
          echo "Test \"serves <all> \"of\" it\" failed with error: \"Shell command failed\""
          exit 1
        '';

        vm-hangs = make "hangs" { } ''
          echo "subtest: waits"
          read _ < ${pipes}/never
        '';

        vm-needs-feature = make "needs-feature" {
          requiredSystemFeatures = [
            "nixos-test"
            "a-feature-of-no-machine"
          ];
        } "echo > $out";

        vm-needs-broken = make "needs-broken" {
          needed = make "needed" { } "echo 'no such luck'; exit 3";
        } "echo > $out";

        vm-placeholder = make "placeholder" { requiredSystemFeatures = [ ]; } "echo > $out";
        vm-throws = throw "not today";
        vm-aborts = abort "never";

        vm-large = make "large" { } "echo > $out" // {
          nodes.a.virtualisation.memorySize = 4000;
          nodes.b.virtualisation.memorySize = 4000;
        };

        vm-meets-left = meet "meets-left" "left" "right";
        vm-meets-right = meet "meets-right" "right" "left";
      };
    };
}
