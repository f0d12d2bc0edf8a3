# The Python package: `ectools`, `every-channel-ipxe-qemu`, and the shim that they find Nix through.
{
  installShellFiles,
  lib,
  python3Packages,
  stdenv,
  # Run the unit tests. They are no part of the package that the units start, and neither is the README, which alone of the
  # documentation does not come from the code: a changed test or sentence must not restart a server.
  checked ? false,
}:
let
  project = (builtins.fromTOML (builtins.readFile ../pyproject.toml)).project;

  wanted = [
    "LICENSE"
    "docs/man"
    "ectools"
    "nix/lib"
    "pyproject.toml"
    "pynix_eval_shim"
    "schemas"
  ]
  ++ lib.optionals checked [
    ".forgejo"
    "CHANGELOG.md"
    "CONTRIBUTING.md"
    "README.md"
    "SECURITY.md"
    "bench"
    "docs"
    "evolution"
    "examples"
    "nix"
    "tests"
  ];

  # Not lib.fileset, which needs a newer Nix than this project supports.
  source = lib.cleanSourceWith {
    name = "ectools-source";
    src = ../.;
    filter =
      file: _type:
      let
        relative = lib.removePrefix "${toString ../.}/" (toString file);
      in
      lib.any (
        name: relative == name || lib.hasPrefix "${name}/" relative || lib.hasPrefix "${relative}/" name
      ) wanted
      && !lib.hasInfix "__pycache__" relative;
  };
in
python3Packages.buildPythonApplication {
  pname = project.name;
  inherit (project) version;
  pyproject = true;

  # An evaluation that must not write to the store (`nix flake check --no-build`) has no filtered copy to read from.
  src =
    if builtins.pathExists (builtins.unsafeDiscardStringContext "${source}") then source else ../.;

  build-system = [ python3Packages.hatchling ];
  dependencies =
    with python3Packages;
    [
      aiohttp
      click
      cryptography
      dpkt
      jsonschema
      markdown-it-py
      pyroute2
      pyyaml
      qemu-qmp
      urllib3
    ]
    ++ lib.optionals (pythonOlder "3.14") [ backports-zstd ]
    # Large fleets are checked faster with the first, read faster with a compiled tomli, shown on a page with
    # Jinja2, and shared between boot hosts with nats-py, whose nkeys signs.
    ++ lib.concatMap (name: lib.optional (python3Packages ? ${name}) python3Packages.${name}) [
      "fastjsonschema"
      "jinja2"
      "nats-py"
      "nkeys"
      "tomli"
    ];

  # The manual's pages come with the wheel. Programs can complete command lines once they are wrapped.
  nativeBuildInputs = [ installShellFiles ];
  postFixup = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    for program in ectools every-channel-ipxe-qemu; do
      installShellCompletion --cmd "$program" \
        --bash <("$out/bin/ectools" completion bash --program "$program") \
        --zsh <("$out/bin/ectools" completion zsh --program "$program") \
        --fish <("$out/bin/ectools" completion fish --program "$program")
    done
  '';

  doCheck = checked;
  nativeCheckInputs = with python3Packages; [
    botocore
    hypothesis
    pytest-timeout
    pytestCheckHook
    scapy
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
