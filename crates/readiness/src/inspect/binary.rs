//! What the beginning of a file says of how it is started.

use crate::subject::{Binary, Start};
use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

/// How a file that begins with `bytes` is started. Never fails: what is not understood is unknown.
pub fn start_of(bytes: &[u8]) -> Start {
    if bytes.starts_with(&elf::ELFMAG) {
        let binary = match bytes.get(4) {
            Some(2) => binary::<elf::FileHeader64<Endianness>>(bytes),
            Some(1) => binary::<elf::FileHeader32<Endianness>>(bytes),
            _ => None,
        };
        return binary.map_or(Start::Unknown, Start::Binary);
    }
    let line = bytes.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let line = line.map(|line| String::from_utf8_lossy(&line[..line.len().min(255)]).into_owned());
    match line.as_deref().and_then(|line| line.split_whitespace().next()) {
        Some(interpreter) if interpreter.starts_with('/') => Start::Script(interpreter.to_owned()),
        _ => Start::Unknown,
    }
}

fn binary<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Binary> {
    let header = H::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return None;
    }
    let architecture = match (header.e_machine(endian), header.is_type_64()) {
        (elf::EM_X86_64, _) => "amd64".into(),
        (elf::EM_AARCH64, _) => "arm64".into(),
        (elf::EM_386, _) => "386".into(),
        (elf::EM_ARM, _) => "arm".into(),
        (elf::EM_RISCV, true) => "riscv64".into(),
        (elf::EM_PPC64, _) => "ppc64le".into(),
        (elf::EM_S390, _) => "s390x".into(),
        (other, _) => format!("machine {other:?}"),
    };
    let loader = header.program_headers(endian, bytes).ok().and_then(|all| {
        let text = all.iter().find_map(|one| one.interpreter(endian, bytes).ok().flatten())?;
        Some(String::from_utf8_lossy(text).into_owned())
    });
    Some(Binary { architecture, loader })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_understood() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let Start::Binary(binary) = start_of(&own[..own.len().min(64 << 10)]) else { panic!("it is a program") };
        assert_eq!(binary.architecture, deployctl_oci::Platform::here().architecture);
        assert!(binary.loader.is_some_and(|loader| loader.starts_with("/lib")));
        assert_eq!(start_of(b"#!/usr/bin/env python3\nx"), Start::Script("/usr/bin/env".into()));
        for bytes in [&b""[..], b"#!", b"#! \n", b"#!python\n", b"\x7fELF", b"\x7fELF\x02\x01\x01", b"text"] {
            assert_eq!(start_of(bytes), Start::Unknown);
        }
    }

    #[test]
    fn no_cut_beginning_is_a_trouble() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        for end in (0..2_000).chain([4_000, 9_000]) {
            let _ = start_of(&own[..end]);
        }
    }
}
