//! What would run now for the stages that a config names, as a number.

use std::hash::Hasher as _;

use funnelweb_bindings::dispatch::{Named as Stage, Role};
use funnelweb_factor_components::Who;
use funnelweb_tenant_store::Tenant;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    runner::Runner,
    uploads::{Named, world},
};

/// A number that changes with what it was given.
pub(crate) struct Fingerprint(Xxh3);

impl Fingerprint {
    pub(crate) fn new(begin: u64) -> Self {
        let mut hash = Xxh3::new();
        hash.write_u64(begin);
        Self(hash)
    }

    /// One word more; where it ends counts too.
    pub(crate) fn add(&mut self, word: &str) {
        self.0.write_usize(word.len());
        self.0.write(word.as_bytes());
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

impl Runner {
    /// What would run of these stages for a request of `who`: which version, and what file
    /// that is. Of what is built in, all files together. What a store does not say counts as
    /// unknown.
    pub(crate) async fn fingerprint(&self, scenario_id: &str, who: Who<'_>, stages: &[Stage]) -> u64 {
        let mut fingerprint = Fingerprint::new(self.dispatcher.built_in());
        let Some(tenant) = &self.tenant else { return fingerprint.finish() };
        for stage in stages {
            let (version, digest) = match Named::parse(&stage.stage) {
                Some(named) => self.component(tenant, stage.role, named, who).await,
                None if stage.role == Role::Rank && self.dispatcher.rank(&stage.stage).is_none() => {
                    self.model(tenant, scenario_id, stage).await
                }
                None => continue,
            };
            fingerprint.add(&stage.stage);
            fingerprint.add(&version);
            fingerprint.add(&digest);
        }
        fingerprint.finish()
    }

    async fn component(&self, tenant: &Tenant, role: Role, named: Named<'_>, who: Who<'_>) -> (String, String) {
        if named.tenant != tenant.as_str() {
            return Default::default();
        }
        let components = self.dispatcher.components();
        match components.choice(tenant, world(role), named.name, named.version, who).await {
            Ok(version) => (version.version.clone(), version.sha256.clone()),
            // However it was said.
            Err(_) => Default::default(),
        }
    }

    async fn model(&self, tenant: &Tenant, scenario_id: &str, stage: &Stage) -> (String, String) {
        self.dispatcher.models().choice(tenant, scenario_id, &stage.stage, &stage.version).await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_and_its_end_counts() {
        let of = |begin: u64, words: &[&str]| {
            let mut fingerprint = Fingerprint::new(begin);
            words.iter().for_each(|word| fingerprint.add(word));
            fingerprint.finish()
        };
        let all = [of(1, &["ab", "c"]), of(1, &["a", "bc"]), of(1, &["ab"]), of(2, &["ab"]), of(1, &["c", "ab"])];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(at));
        }
        assert_eq!(of(1, &["ab", "c"]), of(1, &["ab", "c"]));
    }
}
