# The Python package: `ectools`, `every-channel-ipxe-qemu`, and the shim that they find Nix through.
{ lib, python3Packages }:
let
  project = (builtins.fromTOML (builtins.readFile ../pyproject.toml)).project;
in
python3Packages.buildPythonApplication {
  pname = project.name;
  inherit (project) version;
  pyproject = true;

  # Not lib.fileset, which needs a newer Nix than this project supports.
  src = lib.cleanSourceWith {
    name = "ectools-source";
    src = ../.;
    filter =
      file: _type:
      let
        relative = lib.removePrefix "${toString ../.}/" (toString file);
      in
      lib.any (wanted: relative == wanted || lib.hasPrefix "${wanted}/" relative) [
        "LICENSE"
        "README.md"
        "ectools"
        "pyproject.toml"
        "pynix_eval_shim"
        "schemas"
        "tests/conftest.py"
        "tests/unit"
      ]
      && !lib.hasInfix "__pycache__" relative
      || relative == "tests";
  };

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
