"""What the largest store paths of the systems are for, by name: docs/SIZES.md says it beside their sizes."""

PURPOSES = {
    "coreutils": "the programs that every script starts",
    "ec-publisher-netboot": "what the forge's guest boots: kernel and initrd",
    "extra-utils": "programs of the scripted stage 1",
    "grub2": "the boot menu of the stick under UEFI; nixpkgs's module for images puts it on the system too",
    "hwdb.bin": "udev's names and quirks of devices",
    "initrd-linux": "stage 1",
    "libs": "shared libraries. All of Debian's that the systems' programs need are one store path here, of "
    "which a system uses a part",
    "linux": "the kernel and all of its modules",
    "linux-modules-kept": "the kernel's modules without the hardware that a netboot runner leaves out "
    "(`services.every-channel.runner.hardware.exclude`)",
    "more-libs": "the same for programs that few systems have",
    "nix": "the store; `ectools verify-closure` builds with it",
    "openssh": "sshd, for whoever a flake lets in",
    "perl": "users and groups, and `/etc`, at each boot; where systemd is stage 1, nixpkgs's "
    "`profiles/perlless.nix` does without (RUNNER_IMAGES.md)",
    "python3": "`ectools`, and systemd-boot's installer. All of Debian's Python modules are one store path "
    "here, those for development with them",
    "qemu": "the forge's guest",
    "source": "the flake itself, from which `ectools verify-closure` builds the system again",
    "squashfs.img": "the store of what the forge's guest boots, which its initrd has as well",
    "systemd": "it starts and keeps all else",
    "util-linux": "mounts, login, and what stage 1 needs of disks",
}
