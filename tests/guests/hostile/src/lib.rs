//! A stage that does harm. One component stands for three: it exports recall,
//! rank and rerank, and its params say what it does:
//!
//! ```json
//! {"attack": "loop"}
//! {"attack": "none", "check": "loop"}
//! ```
//!
//! With `none` it behaves: as a recall channel it finds nothing, as a ranker it
//! keeps the scores, as a rule it keeps the list.
#![allow(clippy::panic, clippy::print_stdout, reason = "its purpose")]

mod attack;

use attack::{Attack, Params};
use funnelweb_guest::{
    rank::{self, RankRequest},
    recall::{self, RecallRequest, Recalled},
    rerank::{self, RerankRequest, Reranked},
    types::{ParamError, Requirements, StageError},
};

/// The component.
pub struct Stage;

impl recall::Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        attack::check(&params)
    }

    fn recall(request: RecallRequest) -> Result<Recalled, StageError> {
        let attack = Params::parse(&request.params).attack;
        attack.run()?;
        // It knows no item, so all that it offers is made up.
        let count = if attack == Attack::None { 0 } else { u64::from(request.limit) };
        let (mut handles, mut scores) = ((1..=count).collect(), vec![1.0; count as usize]);
        attack.spoil(&mut handles, &mut scores);
        Ok(Recalled { handles, scores })
    }
}

impl rank::Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        attack::check(&params)
    }

    fn rank(request: RankRequest) -> Result<Vec<f32>, StageError> {
        let attack = Params::parse(&request.params).attack;
        attack.run()?;
        let mut scores = request.candidates.scores;
        attack.spoil(&mut Vec::new(), &mut scores);
        Ok(scores)
    }
}

impl rerank::Guest for Stage {
    fn check(params: String) -> Result<Requirements, ParamError> {
        attack::check(&params)
    }

    fn rerank(request: RerankRequest) -> Result<Reranked, StageError> {
        let attack = Params::parse(&request.params).attack;
        attack.run()?;
        let (mut handles, mut scores) = (request.candidates.handles, request.candidates.scores);
        attack.spoil(&mut handles, &mut scores);
        // What it keeps it also removes.
        let removed = if attack == Attack::KeepRemoved { handles.clone() } else { Vec::new() };
        Ok(Reranked { handles, scores, removed })
    }
}

funnelweb_guest::export_recall!(Stage);
funnelweb_guest::export_rank!(Stage);
funnelweb_guest::export_rerank!(Stage);
