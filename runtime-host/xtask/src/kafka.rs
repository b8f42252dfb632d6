//! The Kafka broker that tests run on, and what it takes: Java, and Maven to fetch it.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use funnelweb_test_servers::kafka::Kafka;

use crate::{
    setup::install,
    shell::{capture, exists},
};

/// The oldest version of Java that Kafka's brokers run on.
const JAVA: u32 = 17;

/// Makes sure of all three; says nothing when they are there.
pub fn setup(_: &Path) -> Result<()> {
    if !exists("java") {
        install("Java", &["default-jre-headless"])?;
    }
    let version = java_version()?;
    ensure!(version >= JAVA, "Kafka needs Java {JAVA} or newer, `java` is {version}");
    if !exists("mvn") {
        install("Maven", &["maven"])?;
    }
    Kafka::fetched().map_err(anyhow::Error::msg)?;
    Ok(())
}

fn java_version() -> Result<u32> {
    let text = capture(Command::new("java").arg("--version"))?;
    // `openjdk 17.0.15 2025-04-15`
    let version =
        text.split_whitespace().nth(1).and_then(|version| version.split(['.', '-', '+']).next()?.parse().ok());
    version.with_context(|| format!("java calls itself {text:?}"))
}
