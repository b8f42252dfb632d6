//! `spin:redis`, without a component.

use std::time::{Duration, Instant};

use funnelweb_core::limits;
use funnelweb_store_redis::outbound::{Error, Outbound, Parameter, Reply};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::harness::{Fault, Kind, Proxy, Server, free_port, url};

fn binary(text: &str) -> Parameter {
    Parameter::Binary(text.as_bytes().to_vec())
}

#[tokio::test]
async fn does_what_the_interface_says() {
    for kind in [Kind::Redis, Kind::Valkey] {
        let server = Server::start(kind);
        let connection = Outbound::new().open(&server.url()).await.unwrap();
        assert_eq!(connection.get("k").await, Ok(None));
        connection.set("k", vec![0, 255, 13, 10]).await.unwrap();
        assert_eq!(connection.get("k").await, Ok(Some(vec![0, 255, 13, 10])));
        assert_eq!(connection.incr("n").await, Ok(1));
        assert_eq!(connection.incr("n").await, Ok(2));
        assert_eq!(connection.incr("k").await, Err(Error::TypeError));
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert_eq!(connection.sadd("s", words(&["a", "b"])).await, Ok(2));
        assert_eq!(connection.sadd("s", words(&["b", "c"])).await, Ok(1));
        assert_eq!(connection.srem("s", words(&["a", "x"])).await, Ok(1));
        let mut members = connection.smembers("s").await.unwrap();
        members.sort_unstable();
        assert_eq!(members, ["b", "c"]);
        assert_eq!(connection.get("s").await, Err(Error::TypeError));
        assert_eq!(connection.smembers("k").await, Err(Error::TypeError));
        assert_eq!(connection.del(words(&["k", "n", "nothing"])).await, Ok(2));
        assert_eq!(connection.del(vec![]).await, Ok(0));
        connection.publish("channel", b"hello".to_vec()).await.unwrap();
        let execute = async |command: &str, arguments| connection.execute(command, arguments).await;
        assert_eq!(execute("PING", vec![]).await, Ok(vec![Reply::Status("PONG".to_owned())]));
        let set = vec![binary("k"), Parameter::Int64(-7)];
        assert_eq!(execute("set", set).await, Ok(vec![Reply::Status("OK".to_owned())]));
        assert_eq!(execute("GET", vec![binary("k")]).await, Ok(vec![Reply::Binary(b"-7".to_vec())]));
        let both = execute("MGET", vec![binary("k"), binary("no")]).await;
        assert_eq!(both, Ok(vec![Reply::Binary(b"-7".to_vec()), Reply::Nil]));
        assert_eq!(execute("STRLEN", vec![binary("k")]).await, Ok(vec![Reply::Int64(2)]));
        assert!(matches!(execute("NONSENSE", vec![]).await, Err(Error::Other(_))));
        assert!(matches!(execute("", vec![]).await, Err(Error::Other(_))));
        // What one does to its connection, others do not see.
        execute("SELECT", vec![Parameter::Int64(1)]).await.unwrap();
        assert_eq!(connection.get("k").await, Ok(None));
        let other = Outbound::new().open(&server.url()).await.unwrap();
        assert_eq!(other.get("k").await, Ok(Some(b"-7".to_vec())));
    }
}

#[tokio::test]
async fn limits_hold() {
    let server = Server::start(Kind::Redis);
    let outbound = Outbound::new();
    let connection = outbound.open(&server.url()).await.unwrap();
    let value = vec![7; limits::REDIS_REQUEST_BYTES - 100];
    connection.set("k", value.clone()).await.unwrap();
    assert_eq!(connection.get("k").await.unwrap().map(|value| value.len()), Some(value.len()));
    let refused = connection.set("k", vec![7; limits::REDIS_REQUEST_BYTES]).await;
    assert!(matches!(&refused, Err(Error::Other(message)) if message.starts_with("command:")), "{refused:?}");
    // Another program may have put more there.
    connection.execute("APPEND", vec![binary("k"), Parameter::Binary(vec![7; 1000])]).await.unwrap();
    let refused = connection.get("k").await;
    assert!(matches!(&refused, Err(Error::Other(message)) if message.contains("longer than")), "{refused:?}");
    // That was the end of the connection.
    assert!(connection.get("other").await.is_err());

    let mut open = Vec::new();
    for _ in 0..limits::REDIS_CONNECTIONS - 1 {
        open.push(outbound.open(&server.url()).await.unwrap());
    }
    assert_eq!(outbound.open(&server.url()).await.err(), Some(Error::TooManyConnections));
    drop(open.pop());
    assert!(outbound.open(&server.url()).await.is_ok());
}

#[tokio::test]
async fn a_server_that_never_ends_its_reply_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let endless = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // To what a client says first, and then a text that is too long to believe.
        let _ = stream.write_all(b"+OK\r\n+OK\r\n$100000000000\r\n").await;
        let chunk = vec![b'x'; 1024 * 1024];
        let mut sent = 0_u64;
        while stream.write_all(&chunk).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let connection = Outbound::new().open(&url).await.unwrap();
    let refused = connection.get("k").await;
    assert!(matches!(refused, Err(Error::Other(_))), "{refused:?}");
    drop(connection);
    // What was read, and what buffers on the way hold.
    let most = limits::REDIS_REPLY_BYTES as u64 / (1024 * 1024) + 22;
    assert!(endless.await.unwrap() < most);
}

#[tokio::test]
async fn a_server_that_is_down_or_silent_is_an_error_in_time() {
    let outbound = Outbound::with_timeout(limits::REDIS_TIMEOUT / 10);
    let nobody = outbound.open(&format!("redis://127.0.0.1:{}", free_port())).await;
    assert!(matches!(nobody.err(), Some(Error::Other(_))));
    let server = Server::start(Kind::Redis);
    let proxy = Proxy::before(server.port);
    let connection = outbound.open(&url(&proxy)).await.unwrap();
    connection.set("n", b"1".to_vec()).await.unwrap();
    proxy.set(Fault::Stall);
    let start = Instant::now();
    assert!(matches!(connection.incr("n").await, Err(Error::Other(_))));
    assert!((250..600).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert!(matches!(outbound.open(&url(&proxy)).await.err(), Some(Error::Other(_))));
    proxy.set(Fault::None);
    // It came late, and it was not sent again.
    assert_eq!(connection.get("n").await, Ok(Some(b"2".to_vec())));
    proxy.set(Fault::Cut);
    tokio::time::sleep(Duration::from_millis(20)).await;
    proxy.set(Fault::None);
    assert!(connection.get("n").await.is_err());
    assert!(outbound.open(&url(&proxy)).await.is_ok());
}

#[tokio::test]
async fn a_server_that_answers_nothing_any_more_is_left() {
    let outbound = Outbound::with_timeout(limits::REDIS_TIMEOUT / 10);
    let server = Server::start(Kind::Redis);
    let proxy = Proxy::before(server.port);
    let connection = outbound.open(&url(&proxy)).await.unwrap();
    let mut late = 0;
    proxy.set(Fault::Stall);
    loop {
        let start = Instant::now();
        assert!(matches!(connection.set("k", vec![7; 1000]).await, Err(Error::Other(_))));
        if start.elapsed() < Duration::from_millis(200) {
            break;
        }
        late += 1;
    }
    assert_eq!(late, 4);
    proxy.set(Fault::None);
    assert!(connection.get("k").await.is_err());
    assert!(outbound.open(&url(&proxy)).await.is_ok());
}
