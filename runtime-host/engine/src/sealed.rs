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

#[cfg(test)]
mod tests {
    use std::{env, thread};

    use wasmtime::{Config, Engine, Store};
    use wasmtime_wasi::{
        TrappableError, WasiCtxView,
        cli::WasiCliView as _,
        clocks::WasiClocksView as _,
        filesystem::WasiFilesystemView as _,
        p2::{StreamError, bindings as wasi_p2},
        p3::bindings as wasi_p3,
        random::WasiRandomView as _,
        sockets::{WasiSockets, WasiSocketsView as _},
    };

    use super::*;

    const NOW_MS: u64 = 1_700_000_000_123;
    const SEED: u64 = 7;
    /// In which a clock that goes on would.
    const A_WHILE: Duration = Duration::from_millis(5);

    struct Guest {
        wasi: WasiCtx,
        table: ResourceTable,
    }

    impl WasiView for Guest {
        fn ctx(&mut self) -> WasiCtxView<'_> {
            WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
        }
    }

    fn of_request(now_ms: u64, seed: u64) -> Guest {
        Guest { wasi: context(&Log::default(), now_ms, seed), table: ResourceTable::new() }
    }

    fn guest() -> Guest {
        of_request(NOW_MS, SEED)
    }

    /// Functions that are asynchronous need a store to be called in.
    async fn in_store<R>(work: impl AsyncFnOnce(&Accessor<Guest>) -> R) -> R {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        let mut store = Store::new(&Engine::new(&config).unwrap(), guest());
        tokio::time::timeout(Duration::from_secs(10), store.run_concurrent(work)).await.unwrap().unwrap()
    }

    /// What the clocks of 0.2 and 0.3 show, in nanoseconds since 1970.
    fn wall(guest: &mut Guest) -> [u128; 2] {
        let second = wasi_p2::clocks::wall_clock::Host::now(&mut guest.clocks()).unwrap();
        let third = wasi_p3::clocks::system_clock::Host::now(&mut guest.clocks()).unwrap();
        let seconds = u64::try_from(third.seconds).unwrap();
        [Duration::new(second.seconds, second.nanoseconds), Duration::new(seconds, third.nanoseconds)]
            .map(|since| since.as_nanos())
    }

    #[test]
    fn the_wall_clock_stands_at_the_requests_time() {
        for now_ms in [0, NOW_MS, 253_402_300_799_999] {
            let mut guest = of_request(now_ms, SEED);
            let expected = [u128::from(now_ms) * 1_000_000; 2];
            assert_eq!(wall(&mut guest), expected);
            thread::sleep(A_WHILE);
            assert_eq!(wall(&mut guest), expected, "it goes on");
        }
    }

    /// What the monotonic clocks show: the context's, and those that stand before them in the
    /// linker.
    fn monotonic(guest: &mut Guest) -> [u64; 4] {
        [
            monotonic_p2::Host::now(&mut guest.clocks()).unwrap(),
            monotonic_p3::Host::now(&mut guest.clocks()).unwrap(),
            monotonic_p2::Host::now(&mut StandStill(&mut guest.table)).unwrap(),
            monotonic_p3::Host::now(&mut StandStill(&mut guest.table)).unwrap(),
        ]
    }

    #[test]
    fn the_monotonic_clock_stands() {
        let mut guest = guest();
        assert_eq!(monotonic(&mut guest), [0; 4]);
        thread::sleep(A_WHILE);
        assert_eq!(monotonic(&mut guest), [0; 4], "it goes on");
        // Whenever it is that the request is made.
        assert_eq!(monotonic(&mut of_request(NOW_MS + 1, SEED)), [0; 4]);
    }

    #[tokio::test]
    async fn what_is_waited_for_is_there_at_once() {
        let mut table = ResourceTable::new();
        let mut clock = StandStill(&mut table);
        let timers = [
            monotonic_p2::Host::subscribe_duration(&mut clock, u64::MAX).unwrap(),
            monotonic_p2::Host::subscribe_instant(&mut clock, u64::MAX).unwrap(),
        ];
        for timer in timers {
            assert!(wasi_p2::io::poll::HostPollable::ready(&mut table, timer).await.unwrap());
        }
        in_store(async |accessor| {
            let clock = accessor.with_getter::<HasStandStill>(|guest| StandStill(&mut guest.table));
            <HasStandStill as monotonic_p3::HostWithStore<Guest>>::wait_for(&clock, u64::MAX).await.unwrap();
            <HasStandStill as monotonic_p3::HostWithStore<Guest>>::wait_until(&clock, u64::MAX).await.unwrap();
        })
        .await;
    }

    /// Something of every kind of chance there is, in one order.
    fn drawn(mut guest: Guest) -> Vec<(&'static str, Vec<u8>)> {
        use wasi_p2::random as p2;
        use wasi_p3::random as p3;

        let random = guest.random();
        let number = |number: u64| number.to_le_bytes().to_vec();
        let pair = |(low, high): (u64, u64)| [low.to_le_bytes(), high.to_le_bytes()].concat();
        vec![
            ("bytes of 0.2", p2::random::Host::get_random_bytes(random, 32).unwrap()),
            ("a number of 0.2", number(p2::random::Host::get_random_u64(random).unwrap())),
            ("insecure bytes of 0.2", p2::insecure::Host::get_insecure_random_bytes(random, 32).unwrap()),
            ("an insecure number of 0.2", number(p2::insecure::Host::get_insecure_random_u64(random).unwrap())),
            ("the seed of 0.2", pair(p2::insecure_seed::Host::insecure_seed(random).unwrap())),
            ("bytes of 0.3", p3::random::Host::get_random_bytes(random, 32).unwrap()),
            ("a number of 0.3", number(p3::random::Host::get_random_u64(random).unwrap())),
            ("insecure bytes of 0.3", p3::insecure::Host::get_insecure_random_bytes(random, 32).unwrap()),
            ("an insecure number of 0.3", number(p3::insecure::Host::get_insecure_random_u64(random).unwrap())),
            ("the seed of 0.3", pair(p3::insecure_seed::Host::get_insecure_seed(random).unwrap())),
        ]
    }

    #[test]
    fn chance_follows_from_the_seed() {
        let first = drawn(guest());
        assert_eq!(drawn(guest()), first);
        assert_eq!(drawn(of_request(0, SEED)), first, "of nothing else");
        for ((what, one), (_, other)) in first.iter().zip(drawn(of_request(NOW_MS, SEED + 1))) {
            assert_ne!(*one, other, "{what} of another seed");
        }
    }

    #[test]
    fn chance_has_a_limit() {
        use wasi_p2::random as p2;
        use wasi_p3::random as p3;

        let most = limits::RANDOM_BYTES;
        let mut guest = guest();
        let random = guest.random();
        assert_eq!(p2::random::Host::get_random_bytes(random, most).unwrap().len() as u64, most);
        assert!(p2::random::Host::get_random_bytes(random, most + 1).is_err());
        assert!(p2::insecure::Host::get_insecure_random_bytes(random, most + 1).is_err());
        // It may give less than was asked for.
        assert_eq!(p3::random::Host::get_random_bytes(random, u64::MAX).unwrap().len() as u64, most);
        assert_eq!(p3::insecure::Host::get_insecure_random_bytes(random, u64::MAX).unwrap().len() as u64, most);
    }

    #[test]
    fn there_is_no_environment() {
        use wasi_p2::cli as p2;
        use wasi_p3::cli as p3;

        assert!(env::vars().next().is_some() && env::args().next().is_some(), "this process has one");
        let mut guest = guest();
        assert!(p2::environment::Host::get_environment(&mut guest.cli()).unwrap().is_empty());
        assert!(p3::environment::Host::get_environment(&mut guest.cli()).unwrap().is_empty());
        assert!(p2::environment::Host::get_arguments(&mut guest.cli()).unwrap().is_empty());
        assert!(p3::environment::Host::get_arguments(&mut guest.cli()).unwrap().is_empty());
        assert!(p2::environment::Host::initial_cwd(&mut guest.cli()).unwrap().is_none());
        assert!(p3::environment::Host::get_initial_cwd(&mut guest.cli()).unwrap().is_none());
    }

    #[test]
    fn there_are_no_folders() {
        let mut guest = guest();
        assert!(wasi_p2::filesystem::preopens::Host::get_directories(&mut guest.filesystem()).unwrap().is_empty());
        assert!(wasi_p3::filesystem::preopens::Host::get_directories(&mut guest.filesystem()).unwrap().is_empty());
    }

    /// Why it was not opened.
    fn refusal<T, E: std::error::Error + Send + Sync + 'static>(opened: Result<T, TrappableError<E>>) -> E {
        opened.err().unwrap().downcast().unwrap()
    }

    #[tokio::test]
    async fn there_are_no_sockets() {
        use wasi_p2::sockets::{network, tcp_create_socket, udp_create_socket};
        use wasi_p3::sockets::types;

        let mut guest = guest();
        for family in [network::IpAddressFamily::Ipv4, network::IpAddressFamily::Ipv6] {
            let tcp = tcp_create_socket::Host::create_tcp_socket(&mut guest.sockets(), family);
            assert!(matches!(refusal(tcp), network::ErrorCode::AccessDenied));
            let udp = udp_create_socket::Host::create_udp_socket(&mut guest.sockets(), family).await;
            assert!(matches!(refusal(udp), network::ErrorCode::AccessDenied));
        }
        for family in [types::IpAddressFamily::Ipv4, types::IpAddressFamily::Ipv6] {
            let tcp = types::HostTcpSocket::create(&mut guest.sockets(), family);
            assert!(matches!(refusal(tcp), types::ErrorCode::AccessDenied));
            let udp = types::HostUdpSocket::create(&mut guest.sockets(), family).await;
            assert!(matches!(refusal(udp), types::ErrorCode::AccessDenied));
        }
    }

    /// Not even of an address, which needs no looking up.
    #[tokio::test]
    async fn there_are_no_names() {
        use wasi_p2::sockets::{instance_network, ip_name_lookup as p2, network};
        use wasi_p3::sockets::ip_name_lookup as p3;

        let name = || "127.0.0.1".to_owned();
        let mut guest = guest();
        let network = instance_network::Host::instance_network(&mut guest.sockets()).unwrap();
        let found = p2::Host::resolve_addresses(&mut guest.sockets(), network, name());
        assert!(matches!(refusal(found), network::ErrorCode::PermanentResolverFailure));
        let found = in_store(async |accessor| {
            let sockets = accessor.with_getter::<WasiSockets>(|guest| guest.sockets());
            <WasiSockets as p3::HostWithStore<Guest>>::resolve_addresses(&sockets, name()).await.unwrap()
        });
        assert!(matches!(found.await, Err(p3::ErrorCode::PermanentResolverFailure)));
    }

    #[test]
    fn there_is_no_input_and_the_output_is_the_log() {
        use wasi_p2::{
            cli,
            io::streams::{HostInputStream, HostOutputStream},
        };

        let log = Log::default();
        let mut guest = Guest { wasi: context(&log, NOW_MS, SEED), table: ResourceTable::new() };
        let input = cli::stdin::Host::get_stdin(&mut guest.cli()).unwrap();
        let read = HostInputStream::read(&mut guest.table, input, 100);
        assert!(matches!(read, Err(StreamError::Closed)), "{read:?}");
        let output = cli::stdout::Host::get_stdout(&mut guest.cli()).unwrap();
        HostOutputStream::write(&mut guest.table, output, b"out ".to_vec()).unwrap();
        let errors = cli::stderr::Host::get_stderr(&mut guest.cli()).unwrap();
        HostOutputStream::write(&mut guest.table, errors, b"and err".to_vec()).unwrap();
        assert_eq!(log.printed(), "out and err");
        assert!(cli::terminal_stdin::Host::get_terminal_stdin(&mut guest.cli()).unwrap().is_none());
        assert!(cli::terminal_stdout::Host::get_terminal_stdout(&mut guest.cli()).unwrap().is_none());
        assert!(cli::terminal_stderr::Host::get_terminal_stderr(&mut guest.cli()).unwrap().is_none());
    }
}
