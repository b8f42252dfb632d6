//! WASI for code that nobody vouches for: it is all there, and nothing is behind it. No
//! files, no sockets, no names, no environment; the clock stands still at the request's
//! time, and what is random follows from the request's seed. So a call is a function of
//! its arguments, nothing can be measured, and a run can be repeated exactly.

use std::time::Duration;

use funnelweb_core::limits;
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use wasmtime::component::{Accessor, HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiView, async_trait,
    p2::{self, DynPollable, Pollable, bindings::clocks::monotonic_clock as monotonic_p2, subscribe},
    p3::{self, bindings::clocks::monotonic_clock as monotonic_p3},
};

use crate::Log;

/// What such code is given for a request; what it prints goes to `log`.
#[must_use]
pub fn context(log: &Log, now_ms: u64, seed: u64) -> WasiCtx {
    let mut wasi = WasiCtx::builder();
    let random = Xoshiro256PlusPlus::seed_from_u64(seed);
    wasi.stdout(log.clone())
        .stderr(log.clone())
        .wall_clock(Still(Duration::from_millis(now_ms)))
        .monotonic_clock(Still(Duration::ZERO))
        .secure_random(random.clone())
        .insecure_random(random)
        .insecure_random_seed(u128::from(seed))
        .max_random_size(limits::RANDOM_BYTES)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    wasi.build()
}

/// Offers WASI 0.2 and 0.3 to components.
///
/// # Errors
/// When an interface of theirs is in the linker already.
pub fn add_to_linker<T: WasiView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    p2::add_to_linker_async(linker)?;
    p3::add_to_linker(linker)?;
    // Wasmtime's own clocks stand still as they are told to; whoever waits for a time to
    // pass would wait for it to pass here, and could tell how long something took.
    linker.allow_shadowing(true);
    monotonic_p2::add_to_linker::<T, HasStandStill>(linker, |state| StandStill(state.ctx().table))?;
    monotonic_p3::add_to_linker::<T, HasStandStill>(linker, |state| StandStill(state.ctx().table))?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A clock that stands still at this time.
struct Still(Duration);

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        RESOLUTION_NS
    }

    fn now(&self) -> u64 {
        0
    }
}

const RESOLUTION_NS: u64 = 1_000_000;

/// What clocks that stand still need: where pollables are.
struct StandStill<'a>(&'a mut ResourceTable);

struct HasStandStill;

impl HasData for HasStandStill {
    type Data<'a> = StandStill<'a>;
}

/// What is waited for is there at once, whenever it is.
struct AtOnce;

#[async_trait]
impl Pollable for AtOnce {
    async fn ready(&mut self) {}
}

impl monotonic_p2::Host for StandStill<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(RESOLUTION_NS)
    }

    fn subscribe_instant(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = self.0.push(AtOnce)?;
        subscribe(self.0, now)
    }

    fn subscribe_duration(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_instant(0)
    }
}

impl monotonic_p3::Host for StandStill<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn get_resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(RESOLUTION_NS)
    }
}

impl<U> monotonic_p3::HostWithStore<U> for HasStandStill {
    async fn wait_until(_: &Accessor<U, Self>, _: u64) -> wasmtime::Result<()> {
        Ok(())
    }

    async fn wait_for(_: &Accessor<U, Self>, _: u64) -> wasmtime::Result<()> {
        Ok(())
    }
}
