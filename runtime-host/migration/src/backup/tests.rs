use std::path::PathBuf;

use funnelweb_tenant_store::{Durability, Error as StoreError, TenantStores};

use super::*;

fn tenant(id: &str) -> Tenant {
    Tenant::new(id).unwrap()
}

async fn write(data_dir: &Path, id: &str, value: i64) {
    let file = TenantStores::new(data_dir).unwrap().open(&tenant(id)).await.unwrap();
    let sql = format!("CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES ({value})");
    file.write(Durability::Durable, move |write| write.execute_batch(&sql).map_err(StoreError::from)).await.unwrap();
}

async fn sum(data_dir: &Path, id: &str) -> i64 {
    let file = TenantStores::new(data_dir).unwrap().open(&tenant(id)).await.unwrap();
    let sum = "SELECT sum(x) FROM t";
    file.read(move |tx| Ok::<_, StoreError>(tx.query_row(sum, [], |row| row.get(0))?)).await.unwrap()
}

fn says<T: std::fmt::Debug>(result: Result<T>, part: &str) {
    let said = result.unwrap_err().to_string();
    assert!(said.contains(part), "{said} does not say {part}");
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        write(&place.at("data"), "a", 1).await;
        write(&place.at("data"), "b:x", 2).await;
        place.back_up(None).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn back_up(&self, only: Option<&Tenant>) -> Result<BackupReport> {
        backup(&self.at("data"), only, &self.at("backup"), 0, &mut |_| {})
    }

    fn restore(&self, to: &str) -> Result<BackupReport> {
        restore(&self.at("backup"), &self.at(to), &mut |_| {})
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_is_restored() {
    let place = Place::new().await;
    write(&place.at("data"), "a", 10).await;
    let report = place.restore("new").unwrap();
    assert_eq!(report.tenants, ["a", "b:x"]);
    assert_eq!((sum(&place.at("new"), "a").await, sum(&place.at("new"), "b:x").await), (1, 2));
    // Not over what is there, and one tenant alone when it is said.
    says(place.restore("new"), "has files already");
    says(place.restore("data"), "has files already");
    says(place.back_up(None), "must be empty");
    fs::remove_dir_all(place.at("backup")).unwrap();
    place.back_up(Some(&tenant("b:x"))).unwrap();
    assert_eq!(place.restore("newer").unwrap().tenants, ["b:x"]);
    says(backup(&place.at("data"), Some(&tenant("c")), &place.at("c"), 0, &mut |_| {}), "c.db");
    says(backup(&place.at("none"), None, &place.at("c"), 0, &mut |_| {}), "has no tenants");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_not_whole_is_refused_before_anything_is_written() {
    let place = Place::new().await;
    let file = tenant_file(&place.at("backup"), &tenant("b:x"));
    let whole = fs::read(&file).unwrap();
    let refused = |part: &str| {
        says(place.restore("new"), part);
        assert!(!place.at("new").exists());
    };
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&file, changed).unwrap();
        refused("b:x.db: was changed");
    }
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    refused("b:x.db: has ");
    fs::remove_file(&file).unwrap();
    refused("b:x.db");
    fs::write(&file, whole).unwrap();
    let manifest = place.at("backup").join(MANIFEST);
    let text = fs::read_to_string(&manifest).unwrap();
    for (old, new, said) in [
        ("\"version\": 1", "\"version\": 2", "funnelweb-backup 2"),
        ("\"b:x\"", "\"../x\"", "tenant `../x`"),
        ("\"b:x\"", "\"a\"", "names a tenant twice"),
        ("{", "", "manifest.json"),
    ] {
        fs::write(&manifest, text.replacen(old, new, 1)).unwrap();
        refused(said);
    }
    fs::remove_file(&manifest).unwrap();
    refused("one that was not finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_refused_and_a_cut_off_restore_can_be_repeated() {
    let place = Place::new().await;
    let lock = DataDirLock::take(&place.at("new")).unwrap();
    says(place.restore("new"), "is in use by another process");
    drop(lock);
    // As a crash leaves it: nothing of it is served.
    fs::create_dir(place.at("new").join(STAGING)).unwrap();
    fs::write(place.at("new").join(STAGING).join("half.db"), "half").unwrap();
    assert_eq!(tenants_in(&place.at("new")).unwrap(), []);
    TenantStores::new(&place.at("new")).unwrap();
    place.restore("new").unwrap();
    assert_eq!(tenants_in(&place.at("new")).unwrap(), [tenant("a"), tenant("b:x")]);
    assert!(!place.at("new").join(STAGING).exists());
}
