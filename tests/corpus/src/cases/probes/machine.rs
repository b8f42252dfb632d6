//! What a machine has: files, a network, an environment. Each is asked for by WASI 0.2 and by
//! WASI 0.3, which are linked apart.

use super::{Case, found, of};
use crate::{
    Expected::Harmless,
    guest::{Guest, SCRATCH},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = surroundings();
    cases.extend(network());
    cases
}

fn scratch() -> String {
    format!("(i32.const {SCRATCH})")
}

/// Whether a result that was returned is none of an error.
fn is_ok() -> String {
    format!("(i32.eqz (i32.load8_u {}))", scratch())
}

/// The guest, which makes a call first.
fn after(call: &str, guest: Guest) -> Guest {
    Guest { before: format!("{call} {}", guest.before), ..guest }
}

fn surroundings() -> Vec<Case> {
    let scratch = scratch();
    // The length of a list that was returned.
    let listed = format!("(i32.load offset=4 {scratch})");
    let some = format!("(i32.load8_u {scratch})");
    let ask = |what: &str, function: &str, module: &str, found_when: &str| {
        after(&format!("(call $ask {scratch})"), found(what, found_when))
            .import(&format!(r#"(import "{module}" "{function}" (func $ask (param i32)))"#))
    };
    let stdin = after(
        &format!("(call $read (call $stdin) (i64.const 100) {scratch})"),
        // Bytes, not an error nor nothing.
        found("an input", &format!("(i32.and {} (i32.ne (i32.load offset=8 {scratch}) (i32.const 0)))", is_ok())),
    )
    .import(r#"(import "wasi:cli/stdin@0.2.6" "get-stdin" (func $stdin (result i32)))"#)
    .import(
        r#"(import "wasi:io/streams@0.2.6" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))"#,
    );
    let (p2, p3) = ("wasi:cli/environment@0.2.6", "wasi:cli/environment@0.3.0");
    let arguments = |module: &str| ask("arguments", "get-arguments", module, &listed);
    let environment = |module: &str| ask("an environment", "get-environment", module, &listed);
    let folders = |module: &str| ask("a folder", "get-directories", module, &listed);
    let terminal = |module: &str| ask("a terminal", "get-terminal-stdout", module, &some);
    vec![
        of("probe-arguments", "Asks for arguments", &arguments(p2), Harmless),
        of("probe-arguments-p3", "Asks for arguments, by WASI 0.3", &arguments(p3), Harmless),
        of(
            "probe-directory",
            "Asks for the working directory",
            &ask("a directory", "initial-cwd", p2, &some),
            Harmless,
        ),
        of(
            "probe-directory-p3",
            "Asks for the working directory, by WASI 0.3",
            &ask("a directory", "get-initial-cwd", p3, &some),
            Harmless,
        ),
        of("probe-environment", "Asks for environment variables", &environment(p2), Harmless),
        of("probe-environment-p3", "Asks for environment variables, by WASI 0.3", &environment(p3), Harmless),
        of("probe-files", "Asks for folders", &folders("wasi:filesystem/preopens@0.2.6"), Harmless),
        of("probe-files-p3", "Asks for folders, by WASI 0.3", &folders("wasi:filesystem/preopens@0.3.0"), Harmless),
        of("probe-stdin", "Reads its input", &stdin, Harmless),
        of("probe-terminal", "Asks for a terminal", &terminal("wasi:cli/terminal-stdout@0.2.6"), Harmless),
        of(
            "probe-terminal-p3",
            "Asks for a terminal, by WASI 0.3",
            &terminal("wasi:cli/terminal-stdout@0.3.0"),
            Harmless,
        ),
    ]
}

fn network() -> Vec<Case> {
    let scratch = scratch();
    let socket = |module: &str, function: &str| {
        after(&format!("(call $socket (i32.const 0) {scratch})"), found("a socket", &is_ok()))
            .import(&format!(r#"(import "{module}" "{function}" (func $socket (param i32 i32)))"#))
    };
    let names = {
        let mut guest = found("an address", &is_ok());
        let name = guest.text(b"localhost");
        after(&format!("(call $resolve (call $network) {name} {scratch})"), guest)
            .import(r#"(import "wasi:sockets/instance-network@0.2.6" "instance-network" (func $network (result i32)))"#)
            .import(
                r#"(import "wasi:sockets/ip-name-lookup@0.2.6" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))"#,
            )
    };
    // It may not wait. Where names are looked up, this one needs no looking up, and the answer
    // is there at once; and what is not, is being looked up.
    let names_p3 = {
        let mut guest = found("an address", &format!("(i32.or (i32.ne (local.get $i) (i32.const 2)) {})", is_ok()));
        let name = guest.text(b"127.0.0.1");
        after(&format!("(local.set $i (call $resolve {name} {scratch}))"), guest).import(
            r#"(import "wasi:sockets/ip-name-lookup@0.3.0" "[async-lower]resolve-addresses"
                (func $resolve (param i32 i32 i32) (result i32)))"#,
        )
    };
    let p3 = "wasi:sockets/types@0.3.0";
    vec![
        of("probe-names", "Asks for the address of a name", &names, Harmless),
        of("probe-names-p3", "Asks for the address of a name, by WASI 0.3", &names_p3, Harmless),
        of(
            "probe-tcp",
            "Opens a TCP socket",
            &socket("wasi:sockets/tcp-create-socket@0.2.6", "create-tcp-socket"),
            Harmless,
        ),
        of("probe-tcp-p3", "Opens a TCP socket, by WASI 0.3", &socket(p3, "[static]tcp-socket.create"), Harmless),
        of(
            "probe-udp",
            "Opens a UDP socket",
            &socket("wasi:sockets/udp-create-socket@0.2.6", "create-udp-socket"),
            Harmless,
        ),
        of("probe-udp-p3", "Opens a UDP socket, by WASI 0.3", &socket(p3, "[static]udp-socket.create"), Harmless),
    ]
}
