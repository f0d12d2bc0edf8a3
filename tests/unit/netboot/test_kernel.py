"""What a kernel runs on, by its header, and what a name says of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.boot_binaries import ARM64, IA32, X86_64, build_uefi_application
from support.kernels import build_bzimage, build_image, build_zboot

from ectools.netboot.kernel import (
    KERNELS_BY_BUILD,
    KernelArchitecture,
    find_kernel_architecture,
    find_machine,
    find_named_architecture,
    replace_architecture,
)
from ectools.netboot.protocols import Binary, find_own_kernel, load_protocols

I686, AMD64, AARCH64 = KernelArchitecture.I686, KernelArchitecture.X86_64, KernelArchitecture.AARCH64


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (build_bzimage(), AMD64),
        (build_bzimage(uefi=X86_64), AMD64),
        (build_bzimage(is_64_bit=False), I686),
        # A 32-bit firmware starts a 64-bit kernel's stub (EFI mixed mode): the kernel's own word counts.
        (build_bzimage(uefi=IA32), AMD64),
        (build_bzimage(version=0x020C), AMD64),
        # Before that version the field is something else.
        (build_bzimage(version=0x020B), None),
        (build_bzimage(version=0x020B, uefi=X86_64), AMD64),
        (build_bzimage()[:0x237], None),
        (build_image(), AARCH64),
        (build_image(b"RSC\x05"), KernelArchitecture.RISCV64),
        (build_image(b"ARM\x65"), None),
        (build_zboot(), AARCH64),
        (build_zboot(X86_64), AMD64),
        (build_uefi_application(ARM64), AARCH64),
        (build_uefi_application(0x01C2), KernelArchitecture.ARMV7L),
        (build_uefi_application(0x6264), KernelArchitecture.LOONGARCH64),
        (build_uefi_application(0x0EBC), None),
        (build_uefi_application(ARM64, subsystem=11), None),
        (b"", None),
        (b"kernel one", None),
    ],
)
def test_headers(head: bytes, expected: KernelArchitecture | None) -> None:
    assert find_kernel_architecture(head) is expected


@given(st.binary(max_size=0x300))
def test_any_beginning_is_looked_at(head: bytes) -> None:
    found = find_kernel_architecture(head)
    assert found is None or found in KernelArchitecture
    assert find_machine(head) is None or head.startswith(b"MZ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ec-runner-x86_64-netboot", AMD64),
        ("ec-runner-aarch64-netboot-boot-v1.tar.gz", AARCH64),
        ("nixos.AMD64", AMD64),
        ("arm64", AARCH64),
        ("runner_i686_x", I686),
        ("ec-runner-netboot", None),
        ("x86_64-on-aarch64", None),
        ("charm64ing", None),
        ("x86_640", None),
        ("", None),
    ],
)
def test_names(name: str, expected: KernelArchitecture | None) -> None:
    assert find_named_architecture(name) is expected


def test_the_same_name_for_another_architecture() -> None:
    glob = "ec-runner-x86_64-netboot-*.tar.*"
    other = replace_architecture(glob, AARCH64)
    assert other == "ec-runner-aarch64-netboot-*.tar.*"
    assert replace_architecture(other, AARCH64) is None
    assert replace_architecture(other, AMD64) == glob
    assert replace_architecture("release-*.tar.gz", AARCH64) is None


@given(st.sampled_from(KernelArchitecture), st.sampled_from(KernelArchitecture))
def test_what_is_replaced_can_be_read(one: KernelArchitecture, other: KernelArchitecture) -> None:
    replaced = replace_architecture(f"a-{one}-b", other)
    assert replaced == (None if one is other else f"a-{other}-b")
    assert find_named_architecture(f"a-{one}-b") is one


def test_each_boot_binary_has_kernels_of_its_own() -> None:
    assert {binary: find_own_kernel(binary) for binary in Binary} == {
        Binary.BIOS: AMD64,
        Binary.IA32: I686,
        Binary.X86_64: AMD64,
        Binary.ARM64: AARCH64,
    }
    assert {kind.build for kind in load_protocols().binaries.values()} <= KERNELS_BY_BUILD.keys()
