//! From the ONNX nodes `TreeEnsembleRegressor` and `TreeEnsembleClassifier`
//! (`ai.onnx.ml`, versions 1 and 3) to an [`Ensemble`].

use std::collections::{HashMap, HashSet, hash_map::Entry};

use funnelweb_core::limits;
use tract_hir::internal::*;

use crate::proto::NodeProto;

use super::{Aggregate, Ensemble, Node, PostTransform};

/// Reads a regressor.
///
/// # Errors
/// With the attribute that does not fit.
pub fn regressor(proto: &NodeProto) -> TractResult<Ensemble> {
    let targets = proto.int("n_targets")?.unwrap_or(1);
    let targets = check_targets("n_targets", targets)?;
    let aggregate = match proto.text("aggregate_function")?.unwrap_or("SUM") {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        other => bail!("aggregate_function must be SUM or AVERAGE, got {other}"),
    };
    // As in onnxruntime, which transforms several targets and leaves one as it is.
    let post = if logistic(proto)? && targets > 1 { PostTransform::Logistic } else { PostTransform::None };
    let votes = votes(proto, "target", targets)?;
    build(proto, &votes, Scores { summed: targets, targets, aggregate, post })
}

/// Reads a classifier, of which the probabilities are the output.
///
/// # Errors
/// With the attribute that does not fit.
pub fn classifier(proto: &NodeProto) -> TractResult<Ensemble> {
    let numbers = proto.ints("classlabels_int64s")?.map_or(0, <[i64]>::len);
    let texts = proto.texts("classlabels_strings")?.map_or(0, |texts| texts.len());
    let classes = check_targets("classlabels", (numbers + texts) as i64)?;
    ensure!(classes > 1, "classlabels must name at least 2 classes");
    let votes = votes(proto, "class", classes)?;
    let logistic = logistic(proto)?;
    // As in onnxruntime: trees of two classes that speak of the first id alone mean
    // the second class, and probabilities already when no leaf is negative.
    let one = classes == 2 && votes.iter().all(|vote| vote.target == 0);
    let post = match (one, votes.iter().any(|vote| vote.weight < 0.0)) {
        (true, true) => PostTransform::Binary { logistic },
        (true, false) => PostTransform::BinaryRest,
        (false, _) if logistic => PostTransform::Logistic,
        (false, _) => PostTransform::None,
    };
    let summed = if one { 1 } else { classes };
    build(proto, &votes, Scores { summed, targets: classes, aggregate: Aggregate::Sum, post })
}

/// What becomes of the leaves.
struct Scores {
    summed: usize,
    targets: usize,
    aggregate: Aggregate,
    post: PostTransform,
}

/// What a leaf says of a target.
struct Vote {
    leaf: Place,
    target: usize,
    weight: f32,
}

/// A node as it is written.
struct Written {
    feature: u32,
    value: f64,
    mode: Mode,
    yes: Place,
    no: Place,
    missing_yes: bool,
}

/// A step of the walk through a tree that is laid out.
enum Step {
    Enter(Place),
    /// All below it was entered.
    Leave(Place),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
    Leaf,
}

fn build(proto: &NodeProto, votes: &[Vote], scores: Scores) -> TractResult<Ensemble> {
    let (written, roots) = nodes(proto)?;
    let base = numbers(proto, "base_values")?.unwrap_or_default();
    ensure!(
        base.is_empty() || base.len() == scores.summed,
        "base_values must have {} values, got {}",
        scores.summed,
        base.len()
    );
    let mut ensemble = Ensemble {
        nodes: Vec::with_capacity(written.len()),
        leaves: Vec::with_capacity(written.len()),
        weights: Vec::new(),
        roots: Vec::with_capacity(roots.len()),
        base: if base.is_empty() { vec![0.0; scores.summed] } else { base.iter().map(|value| *value as f32).collect() },
        summed: scores.summed,
        targets: scores.targets,
        aggregate: scores.aggregate,
        post: scores.post,
        last_feature: written.values().map(|node| node.feature as usize).max().unwrap_or(0),
    };
    let mut places = HashMap::with_capacity(written.len());
    for root in roots {
        ensemble.roots.push(ensemble.nodes.len() as u32);
        lay_out(root, &written, &mut ensemble, &mut places)?;
    }
    for vote in votes {
        let place =
            places.get(&vote.leaf).filter(|_| written.get(&vote.leaf).is_some_and(|node| node.mode == Mode::Leaf));
        let leaf = place.and_then(|at| ensemble.leaves.get(*at as usize)).map(|leaf| *leaf as usize);
        let weight = leaf.and_then(|leaf| ensemble.weights.get_mut(leaf * ensemble.summed + vote.target));
        let (tree, node) = vote.leaf;
        *weight.with_context(|| format!("node {node} of tree {tree} has a weight and is no leaf"))? += vote.weight;
    }
    Ok(ensemble)
}

/// Appends a tree, each node before its children. A node may be shared (a categorical
/// split is a row of equal comparisons that lead to the same two), but not lead back to
/// itself.
fn lay_out(
    root: Place,
    written: &HashMap<Place, Written>,
    ensemble: &mut Ensemble,
    places: &mut HashMap<Place, u32>,
) -> TractResult<()> {
    let (mut steps, mut above, mut met) = (vec![Step::Enter(root)], HashSet::new(), Vec::new());
    while let Some(step) = steps.pop() {
        let id = match step {
            Step::Enter(id) => id,
            Step::Leave(id) => {
                above.remove(&id);
                continue;
            }
        };
        let (tree, number) = id;
        ensure!(!above.contains(&id), "node {number} of tree {tree} leads back to itself");
        if places.contains_key(&id) {
            continue;
        }
        let node = written.get(&id).with_context(|| format!("tree {tree} has no node {number}"))?;
        let at = ensemble.nodes.len() as u32;
        places.insert(id, at);
        met.push(id);
        ensemble.nodes.push(Node::leaf(at));
        ensemble.leaves.push((ensemble.weights.len() / ensemble.summed) as u32);
        if node.mode == Mode::Leaf {
            ensemble.weights.resize(ensemble.weights.len() + ensemble.summed, 0.0);
            continue;
        }
        if matches!(node.mode, Mode::Equal | Mode::Unequal) {
            ensemble.nodes.push(Node::leaf(at + 1));
            ensemble.leaves.push(0);
        }
        above.insert(id);
        steps.extend([Step::Leave(id), Step::Enter(node.no), Step::Enter(node.yes)]);
    }
    for id in met {
        let (Some(node), Some(at)) = (written.get(&id), places.get(&id)) else { continue };
        let (Some(yes), Some(no)) = (places.get(&node.yes), places.get(&node.no)) else { continue };
        for (node, at) in branches(node, *at, *yes, *no).into_iter().zip(*at..) {
            if let Some(place) = ensemble.nodes.get_mut(at as usize) {
                *place = node;
            }
        }
    }
    Ok(())
}

/// A comparison as one of `value <= split`, or as two.
fn branches(node: &Written, at: u32, yes: u32, no: u32) -> TVec<Node> {
    let (feature, missing) = (node.feature, node.missing_yes);
    match node.mode {
        Mode::AtMost => tvec!(Node::branch(feature, highest_up_to(node.value), yes, no, missing)),
        Mode::Below => tvec!(Node::branch(feature, highest_below(node.value), yes, no, missing)),
        Mode::Above => tvec!(Node::branch(feature, highest_up_to(node.value), no, yes, !missing)),
        Mode::AtLeast => tvec!(Node::branch(feature, highest_below(node.value), no, yes, !missing)),
        Mode::Equal | Mode::Unequal => {
            let (same, other) = if node.mode == Mode::Equal { (yes, no) } else { (no, yes) };
            let missing_other = missing == (node.mode == Mode::Unequal);
            tvec!(
                Node::branch(feature, highest_below(node.value), other, at + 1, missing_other),
                Node::branch(feature, highest_up_to(node.value), same, other, !missing_other),
            )
        }
        Mode::Leaf => tvec!(),
    }
}

/// The largest `f32` not above a number; NaN, which nothing is at most, for NaN.
fn highest_up_to(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value { near.next_down() } else { near }
}

/// The largest `f32` below a number; NaN where there is none.
fn highest_below(value: f64) -> f32 {
    let near = value as f32;
    match f64::from(near) < value {
        true => near,
        false if near == f32::NEG_INFINITY => f32::NAN,
        false => near.next_down(),
    }
}

/// A tree and the number of a node in it.
type Place = (i64, i64);

/// The nodes by their places, and the root of each tree: the first that is named.
fn nodes(proto: &NodeProto) -> TractResult<(HashMap<Place, Written>, Vec<Place>)> {
    let trees = proto.ints("nodes_treeids")?.context("nodes_treeids is missing")?;
    let ids = list(proto, "nodes_nodeids", trees.len())?;
    let features = list(proto, "nodes_featureids", trees.len())?;
    let yes = list(proto, "nodes_truenodeids", trees.len())?;
    let no = list(proto, "nodes_falsenodeids", trees.len())?;
    let modes = proto.texts("nodes_modes")?.context("nodes_modes is missing")?;
    let values = numbers(proto, "nodes_values")?.context("nodes_values is missing")?;
    let missing = proto.ints("nodes_missing_value_tracks_true")?.unwrap_or_default();
    same_length("nodes_modes", modes.len(), trees.len())?;
    same_length("nodes_values", values.len(), trees.len())?;
    if !missing.is_empty() {
        same_length("nodes_missing_value_tracks_true", missing.len(), trees.len())?;
    }
    ensure!(!trees.is_empty(), "there must be at least one tree");
    let (mut written, mut roots) = (HashMap::with_capacity(trees.len()), Vec::new());
    let mut known = HashSet::new();
    let lists = trees.iter().zip(ids).zip(features).zip(yes.iter().zip(no)).zip(modes.iter().zip(&values));
    for (at, ((((tree, id), feature), (yes, no)), (mode, value))) in lists.enumerate() {
        let node = Written {
            feature: u32::try_from(*feature)
                .ok()
                .filter(|feature| *feature < 1 << 20)
                .with_context(|| format!("nodes_featureids must be 0 to {}, got {feature}", (1 << 20) - 1))?,
            value: *value,
            mode: self::mode(mode)?,
            yes: (*tree, *yes),
            no: (*tree, *no),
            missing_yes: missing.get(at).is_some_and(|flag| *flag != 0),
        };
        let feature = if node.mode == Mode::Leaf { 0 } else { node.feature };
        match written.entry((*tree, *id)) {
            Entry::Vacant(place) => place.insert(Written { feature, ..node }),
            Entry::Occupied(_) => bail!("tree {tree} has node {id} twice"),
        };
        if known.insert(*tree) {
            roots.push((*tree, *id));
        }
    }
    Ok((written, roots))
}

fn mode(text: &str) -> TractResult<Mode> {
    Ok(match text {
        "BRANCH_LEQ" => Mode::AtMost,
        "BRANCH_LT" => Mode::Below,
        "BRANCH_GTE" => Mode::AtLeast,
        "BRANCH_GT" => Mode::Above,
        "BRANCH_EQ" => Mode::Equal,
        "BRANCH_NEQ" => Mode::Unequal,
        "LEAF" => Mode::Leaf,
        other => bail!("nodes_modes may not be {other}"),
    })
}

fn votes(proto: &NodeProto, of: &str, targets: usize) -> TractResult<Vec<Vote>> {
    let trees = proto.ints(&format!("{of}_treeids"))?.with_context(|| format!("{of}_treeids is missing"))?;
    let nodes = list(proto, &format!("{of}_nodeids"), trees.len())?;
    let ids = list(proto, &format!("{of}_ids"), trees.len())?;
    let name = format!("{of}_weights");
    let weights = numbers(proto, &name)?.with_context(|| format!("{name} is missing"))?;
    same_length(&name, weights.len(), trees.len())?;
    let lists = trees.iter().zip(nodes).zip(ids.iter().zip(weights));
    lists
        .map(|((tree, node), (target, weight))| {
            let target = usize::try_from(*target).ok().filter(|target| *target < targets);
            let target = target.with_context(|| format!("{of}_ids must be 0 to {}", targets - 1))?;
            Ok(Vote { leaf: (*tree, *node), target, weight: weight as f32 })
        })
        .collect()
}

fn logistic(proto: &NodeProto) -> TractResult<bool> {
    match proto.text("post_transform")?.unwrap_or("NONE") {
        "NONE" => Ok(false),
        "LOGISTIC" => Ok(true),
        other => bail!("post_transform must be NONE or LOGISTIC, got {other}"),
    }
}

fn check_targets(name: &str, targets: i64) -> TractResult<usize> {
    let count = usize::try_from(targets).ok().filter(|count| (1..=limits::MODEL_TREE_TARGETS).contains(count));
    count.with_context(|| format!("{name} must be 1 to {}, got {targets}", limits::MODEL_TREE_TARGETS))
}

fn list<'a>(proto: &'a NodeProto, name: &str, length: usize) -> TractResult<&'a [i64]> {
    let values = proto.ints(name)?.with_context(|| format!("{name} is missing"))?;
    same_length(name, values.len(), length)?;
    Ok(values)
}

fn same_length(name: &str, got: usize, length: usize) -> TractResult<()> {
    ensure!(got == length, "{name} must have {length} values, got {got}");
    Ok(())
}

/// A list of numbers: an attribute of floats, or (since version 3) a tensor of either
/// width.
fn numbers(proto: &NodeProto, name: &str) -> TractResult<Option<Vec<f64>>> {
    if let Some(tensor) = proto.tensor(&format!("{name}_as_tensor"))? {
        let wide = tensor.cast_to::<f64>()?;
        return Ok(Some(wide.try_as_plain_ram()?.as_slice::<f64>()?.to_vec()));
    }
    let floats = proto.floats(name)?;
    Ok(floats.map(|floats| floats.iter().map(|value| f64::from(*value)).collect()))
}
