//! The walk through the trees. All comparisons are brought to one, `value <= split`,
//! when the model is read; a node is 16 bytes; eight rows go down a tree together,
//! so that their loads overlap and nothing is branched on but the end.

use funnelweb_core::limits;

/// Rows that walk together.
const ABREAST: usize = 8;
/// The bit of [`Node::feature`] that says where a missing value goes.
const MISSING_LEFT: u32 = 1 << 31;

/// A node, or a leaf: one whose children are itself.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Values up to it go left.
    split: f32,
    /// And the side of missing values.
    feature: u32,
    left: u32,
    right: u32,
}

impl Node {
    /// A node: `value <= split` goes left.
    #[must_use]
    pub fn branch(feature: u32, split: f32, left: u32, right: u32, missing_left: bool) -> Self {
        Self { split, feature: feature | if missing_left { MISSING_LEFT } else { 0 }, left, right }
    }

    /// The leaf at this place.
    #[must_use]
    pub fn leaf(at: u32) -> Self {
        Self { split: 0.0, feature: 0, left: at, right: at }
    }
}

/// What is made of the leaves of all trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// Their sum by the number of trees.
    Average,
}

/// What is made of the aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostTransform {
    /// Nothing.
    None,
    /// `1 / (1 + e^-x)`.
    Logistic,
    /// A classifier of two classes whose trees speak of one: the probabilities of
    /// both.
    Binary {
        /// Whether the aggregate goes through the logistic function; else the other
        /// class has its negative.
        logistic: bool,
    },
    /// The same, whose leaves are probabilities already: the other class has the rest.
    BinaryRest,
}

/// All trees of a model.
#[derive(Debug)]
pub struct Ensemble {
    /// Of all trees.
    pub nodes: Vec<Node>,
    /// By node: the place of a leaf in `weights`.
    pub leaves: Vec<u32>,
    /// Of leaves, `summed` each.
    pub weights: Vec<f32>,
    /// The root of each tree.
    pub roots: Vec<u32>,
    /// Targets that leaves speak of.
    pub summed: usize,
    /// Scores of a row.
    pub targets: usize,
    /// Added to the aggregate; `summed` long.
    pub base: Vec<f32>,
    /// Over the trees.
    pub aggregate: Aggregate,
    /// Of the aggregate.
    pub post: PostTransform,
    /// The highest feature that a node reads.
    pub last_feature: usize,
}

impl Ensemble {
    /// Scores rows of `width` features into `targets` scores each. Sums go from the
    /// first tree to the last in `f32`, as in onnxruntime.
    pub fn score(&self, cells: &[f32], width: usize, scores: &mut [f32]) {
        let mut sums = [0.0; ABREAST * limits::MODEL_TREE_TARGETS];
        let groups = cells.chunks(ABREAST * width).zip(scores.chunks_mut(ABREAST * self.targets));
        for (cells, scores) in groups {
            let sums = sums.get_mut(..ABREAST * self.summed).unwrap_or_default();
            sums.fill(0.0);
            self.sum(cells, width, sums);
            for (sums, scores) in sums.chunks_exact_mut(self.summed).zip(scores.chunks_exact_mut(self.targets)) {
                self.finish(sums, scores);
            }
        }
    }

    /// Adds the leaves of up to [`ABREAST`] rows.
    fn sum(&self, cells: &[f32], width: usize, sums: &mut [f32]) {
        // Rows that are not there walk with the first one.
        let mut starts = [0; ABREAST];
        for (start, at) in starts.iter_mut().zip((0..cells.len()).step_by(width)) {
            *start = at;
        }
        for root in &self.roots {
            let leaves = self.walk(*root, cells, &starts);
            for (sums, leaf) in sums.chunks_exact_mut(self.summed).zip(leaves) {
                let from = self.leaves.get(leaf as usize).map_or(0, |leaf| *leaf as usize * self.summed);
                let weights = self.weights.get(from..from + self.summed).unwrap_or_default();
                sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
            }
        }
    }

    /// The leaves where rows that start at these cells end.
    fn walk(&self, root: u32, cells: &[f32], starts: &[usize; ABREAST]) -> [u32; ABREAST] {
        let mut at = [root; ABREAST];
        loop {
            let mut moved = 0;
            for (at, start) in at.iter_mut().zip(starts) {
                let Some(node) = self.nodes.get(*at as usize) else { continue };
                let value = cells.get(start + (node.feature & !MISSING_LEFT) as usize).copied().unwrap_or(f32::NAN);
                let missing = value.is_nan() & (node.feature & MISSING_LEFT != 0);
                let next = if (value <= node.split) | missing { node.left } else { node.right };
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                return at;
            }
        }
    }

    fn finish(&self, sums: &mut [f32], scores: &mut [f32]) {
        for (sum, base) in sums.iter_mut().zip(&self.base) {
            *sum = match self.aggregate {
                Aggregate::Sum => *sum + base,
                Aggregate::Average => *sum / self.roots.len() as f32 + base,
            };
        }
        match (self.post, scores, sums) {
            (PostTransform::None, scores, sums) => scores.copy_from_slice(sums),
            (PostTransform::Logistic, scores, sums) => {
                scores.iter_mut().zip(sums).for_each(|(score, sum)| *score = logistic(*sum));
            }
            (PostTransform::Binary { logistic: true }, [other, one], [sum]) => {
                (*other, *one) = (logistic(-*sum), logistic(*sum));
            }
            (PostTransform::Binary { logistic: false }, [other, one], [sum]) => (*other, *one) = (-*sum, *sum),
            (PostTransform::BinaryRest, [other, one], [sum]) => (*other, *one) = (1.0 - *sum, *sum),
            (PostTransform::Binary { .. } | PostTransform::BinaryRest, ..) => {}
        }
    }
}

/// Of the magnitude first: `e^x` of a large `x` would overflow.
fn logistic(x: f32) -> f32 {
    let positive = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - positive } else { positive }
}
