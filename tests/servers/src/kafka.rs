//! Apache Kafka, broker and controller in one process: its jars, fetched once by Maven
//! into the user's cache folder, and run by the machine's Java.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::cache::{cache_folder, copy_folder, run};

/// What Maven fetches.
const POM: &str = include_str!("../kafka/pom.xml");
/// A small heap, and code that is compiled soon rather than well.
const JAVA_OPTIONS: [&str; 5] =
    ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];

/// One node, that answers soon and keeps its own topics small.
const PROPERTIES: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,\
  SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
log.dirs={folder}/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
log.cleaner.enable=false
num.io.threads=2
num.network.threads=2
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
";

/// A user whom brokers know by SCRAM; they are told when their storage is formatted.
pub const SCRAM_USER: &str = "cid";
/// The password of [`SCRAM_USER`].
pub const SCRAM_PASSWORD: &str = "s3cret";

/// What a broker is started from.
#[derive(Debug)]
pub struct Kafka {
    jars: PathBuf,
    /// An empty storage, to be copied.
    formatted: PathBuf,
}

impl Kafka {
    /// The one in the cache folder, which is fetched when it is not there. That takes
    /// Java 17 or newer, Maven, 50 megabytes, and a minute.
    ///
    /// # Errors
    /// What failed.
    pub fn fetched() -> Result<Self, String> {
        Self::fetch()
            .map_err(|error| format!("cannot set up Kafka: {error}\n`cargo xtask kafka` makes sure of Java and Maven"))
    }

    fn fetch() -> Result<Self, String> {
        let folder = cache_folder()?.join("kafka");
        let fails = |error: io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(fails)?;
        // Test binaries run side by side: one fetches, the others wait.
        let lock = File::create(folder.join("lock")).map_err(fails)?;
        lock.lock().map_err(fails)?;
        let this = Self { jars: folder.join("jars"), formatted: folder.join("formatted") };
        // Made again when what it is made of changes.
        let (whole, made_of) = (folder.join("whole"), [POM, PROPERTIES, SCRAM_USER, SCRAM_PASSWORD].concat());
        if fs::read_to_string(&whole).is_ok_and(|text| text == made_of) {
            return Ok(this);
        }
        println!("fetching Kafka, once");
        for old in [&this.jars, &this.formatted] {
            if old.exists() {
                fs::remove_dir_all(old).map_err(fails)?;
            }
        }
        let pom = folder.join("pom.xml");
        fs::write(&pom, POM).map_err(fails)?;
        let mut maven = Command::new("mvn");
        maven.args(["--batch-mode", "--quiet", "dependency:copy-dependencies", "--file"]).arg(&pom);
        run(maven.arg(format!("-DoutputDirectory={}", this.jars.display())))?;
        let properties = folder.join("format.properties");
        let text = PROPERTIES.replace("{folder}/data", &this.formatted.display().to_string());
        fs::write(&properties, text.replace("{controller}", "9093").replace("{port}", "9092")).map_err(fails)?;
        // Every broker is a cluster of its own; nobody compares their ids.
        let mut format = Command::new("java");
        format.args(this.java("kafka.tools.StorageTool")).args(["format", "--cluster-id", "funnelweb-test-servers"]);
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let user = format!("{mechanism}=[name=\"{SCRAM_USER}\",password=\"{SCRAM_PASSWORD}\"]");
            format.args(["--add-scram", &user]);
        }
        run(format.arg("--config").arg(&properties))?;
        fs::write(whole, made_of).map_err(fails)?;
        Ok(this)
    }

    /// The arguments of `java` to run one of its programs.
    fn java(&self, class: &str) -> Vec<String> {
        let path = format!("{}/*", self.jars.display());
        JAVA_OPTIONS.iter().copied().chain(["-cp", &path, class]).map(str::to_owned).collect()
    }

    /// Lays a storage and a configuration with `more` lines into a server's folder; the
    /// arguments of `java`.
    pub(crate) fn prepare(&self, folder: &Path, ports: [u16; 2], more: &[&str]) -> io::Result<Vec<String>> {
        copy_folder(&self.formatted, &folder.join("data"))?;
        let lines = [PROPERTIES].iter().chain(more).copied().collect::<Vec<_>>().join("\n");
        let [port, controller] = ports.map(|port| port.to_string());
        let folder_name = folder.display().to_string();
        let lines = lines.replace("{port}", &port).replace("{controller}", &controller);
        let properties = folder.join("server.properties");
        fs::write(&properties, lines.replace("{folder}", &folder_name))?;
        let log = format!("-Dorg.slf4j.simpleLogger.logFile={folder_name}/log");
        let level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned();
        let program = self.java("kafka.Kafka");
        Ok([log, level].into_iter().chain(program).chain([properties.display().to_string()]).collect())
    }
}
