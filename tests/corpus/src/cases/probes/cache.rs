//! The processor's caches, which neighbours share: whoever can tell how long a load takes can
//! tell what others loaded.

use super::{Case, found, of, time};
use crate::Expected::Harmless;

/// Bytes of a line.
const LINE: u32 = 64;
/// Lines that a core's own caches have no room for: 4 MiB.
const FAR: u32 = 65_536;
/// Lines that they have.
const NEAR: u32 = 8;
/// Loads that are timed together.
const LOADS: u32 = 8192;
/// How often the clock is asked whether it has moved.
const ASKED: u32 = 2000;
/// Of both ways, of which the fastest counts: nobody was in its way.
const ROUNDS: u32 = 3;

/// Each load says where the next is, so that none begins before the last has ended; in an order
/// that no processor foresees.
///
/// What is timed begins as the clock moves. Where that is seldom, a counter tells the parts of a
/// tick: how often the clock can be asked in a whole one, and how often in what is left of one
/// after the loads. Where it never moves, every time is 0.
fn functions() -> String {
    format!(
        "(global $at (mut i32) (i32.const 0))
        (func $link (param $begin i32) (param $lines i32) (local $line i32)
            (loop $each
                (i32.store
                    (i32.add (local.get $begin) (i32.mul (local.get $line) (i32.const {LINE})))
                    (i32.add
                        (local.get $begin)
                        (i32.mul
                            (i32.and
                                (i32.add (i32.mul (local.get $line) (i32.const 1664525)) (i32.const 1013904223))
                                (i32.sub (local.get $lines) (i32.const 1)))
                            (i32.const {LINE}))))
                (local.set $line (i32.add (local.get $line) (i32.const 1)))
                (br_if $each (i32.lt_u (local.get $line) (local.get $lines)))))
        (func $load (param $at i32) (result i32) (local $left i32)
            (local.set $left (i32.const {LOADS}))
            (loop $each
                (local.set $at (i32.load (local.get $at)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $each (local.get $left)))
            (local.get $at))
        (func $ask (result i64) (local $time i64) (local $count i64)
            (local.set $time (call $now))
            (loop $each
                (local.set $count (i64.add (local.get $count) (i64.const 1)))
                (br_if $each
                    (i32.and
                        (i64.eq (call $now) (local.get $time))
                        (i64.lt_u (local.get $count) (i64.const {ASKED})))))
            (local.get $count))
        (func $time (param $from i32) (result i64)
            (local $begin i64) (local $end i64) (local $tick i64) (local $asked i64)
            (drop (call $ask))
            (local.set $begin (call $now))
            (local.set $asked (call $ask))
            (local.set $tick (i64.sub (call $now) (local.get $begin)))
            (local.set $begin (call $now))
            (global.set $at (call $load (local.get $from)))
            (local.set $end (call $now))
            (i64.add
                (i64.sub (local.get $end) (local.get $begin))
                (i64.div_s
                    (i64.mul (local.get $tick) (i64.sub (local.get $asked) (call $ask)))
                    (local.get $asked))))
        (func $less (param $one i64) (param $other i64) (result i64)
            (select (local.get $one) (local.get $other) (i64.lt_s (local.get $one) (local.get $other))))"
    )
}

pub(super) fn cases() -> Vec<Case> {
    let pages = FAR * LINE / 65_536 + 1;
    let mut guest = found("what is in the cache", "(i64.gt_s (local.get $m) (i64.shl (local.get $n) (i64.const 1)))")
        .import(time::NOW)
        .with(&functions());
    guest.before = format!(
        "(local.set $i (i32.shl (memory.grow (i32.const {pages})) (i32.const 16)))
        (local.set $j (i32.add (local.get $i) (i32.const {})))
        (call $link (local.get $i) (i32.const {FAR}))
        (call $link (local.get $j) (i32.const {NEAR}))
        (local.set $n (i64.const 0x7fffffffffffffff))
        (local.set $m (local.get $n))
        (loop $round
            (local.set $n (call $less (local.get $n) (call $time (local.get $j))))
            (local.set $m (call $less (local.get $m) (call $time (local.get $i))))
            (local.set $i (global.get $at))
            (local.set $k (i32.add (local.get $k) (i32.const 1)))
            (br_if $round (i32.lt_u (local.get $k) (i32.const {ROUNDS}))))
        {}",
        FAR * LINE,
        guest.before
    );
    vec![of("probe-cache", "Measures which of its memory is in the processor's cache", &guest, Harmless)]
}
