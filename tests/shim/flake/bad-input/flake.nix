# A flake whose input cannot be had.
{
  inputs.lost.url = "git+file:///no/such/repository";

  outputs = { self, lost }: { inherit (lost) checks; };
}
