# The Python package: `ectools`, `every-channel-ipxe-qemu`, and the shim that they find Nix through.
{ lib, python3Packages }:
let
  project = (builtins.fromTOML (builtins.readFile ../pyproject.toml)).project;

  # Only what the programs are made of: a change elsewhere must not restart anybody's guest. (Not lib.fileset, which
  # needs a newer Nix than this project supports.)
  source = lib.cleanSourceWith {
    name = "ectools-source";
    src = ../.;
    filter =
      file: _type:
      let
        relative = lib.removePrefix "${toString ../.}/" (toString file);
      in
      relative == "tests"
      || relative == "nix"
      || !lib.hasInfix "__pycache__" relative
      && lib.any (wanted: relative == wanted || lib.hasPrefix "${wanted}/" relative) [
        "LICENSE"
        "README.md"
        "ectools"
        "nix/lib"
        "pyproject.toml"
        "pynix_eval_shim"
        "schemas"
        "tests/conftest.py"
        "tests/golden"
        "tests/support"
        "tests/unit"
      ];
  };
in
python3Packages.buildPythonApplication {
  pname = project.name;
  inherit (project) version;
  pyproject = true;

  # An evaluation that must not write to the store (`nix flake check --no-build`) has no filtered copy to read from.
  src = if builtins.pathExists (builtins.unsafeDiscardStringContext "${source}") then source else ../.;

  build-system = [ python3Packages.hatchling ];
  dependencies = with python3Packages; [
    aiohttp
    click
    jsonschema
    markdown-it-py
    pyroute2
    pyyaml
    qemu-qmp
  ];

  nativeCheckInputs = with python3Packages; [
    hypothesis
    pytest-timeout
    pytestCheckHook
  ];
  enabledTestPaths = [ "tests/unit" ];

  meta = {
    inherit (project) description;
    homepage = "https://every.channel";
    license = lib.licenses.mit;
    mainProgram = "ectools";
    platforms = lib.platforms.linux;
  };
}
