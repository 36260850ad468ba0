//! How large a supernet of the DARTS space is, and what is on its edges.

use super::progressive::Candidates;
use crate::network::{NetworkError, Stem, halved_twice};
use crate::space::Size;

/// The size of an explainer of the DARTS space.
#[derive(Clone, Debug, PartialEq)]
pub struct SupernetShape {
    /// Channels of the first cells' nodes (DARTS: 16); doubled by each reduction cell.
    pub channels: usize,
    /// Cells (DARTS: 8); those at 1/3 and 2/3 of the depth reduce.
    pub cells: usize,
    /// Intermediate nodes of a cell (DARTS: 4).
    pub nodes: usize,
    /// Classes.
    pub classes: usize,
    /// Channels of the images.
    pub image_channels: usize,
    /// One channel in so many passes the mixed operations, and edges have strengths β of their own (PC-DARTS,
    /// arXiv 1907.05737; there 4); 1 means plain DARTS.
    pub partial: usize,
    /// The candidates on every edge; none means all operations on each.
    pub candidates: Option<Candidates>,
    /// Skip-connects in a derived normal cell at most, and whether images can lose what skip-connects carry (P-DARTS,
    /// arXiv 1904.12760); none means plain DARTS.
    pub max_skip_connects: Option<usize>,
    /// How many of the last nodes a cell's output joins; none means all.
    pub joined: Option<usize>,
    /// Whether every edge has a skip-connect beside its mixture, with weights of its own where it halves the resolution
    /// (DARTS-Bench-Suite's all-skip).
    pub edge_skips: bool,
    /// What it begins with.
    pub stem: Stem,
}

impl Default for SupernetShape {
    /// DARTS's own, for CIFAR-10.
    fn default() -> Self {
        Self {
            channels: 16,
            cells: 8,
            nodes: 4,
            classes: 10,
            image_channels: 3,
            partial: 1,
            candidates: None,
            max_skip_connects: None,
            joined: None,
            edge_skips: false,
            stem: Stem::Cifar,
        }
    }
}

impl SupernetShape {
    /// A supernet of this size whose cells have so many nodes, with all operations on every edge.
    ///
    /// # Errors
    /// If what passes the operations by cannot be halved as they halve the images.
    pub(crate) fn of(size: &Size, nodes: usize) -> Result<Self, NetworkError> {
        if size.partial > 1 {
            halved_twice("networks with partial channels", size.image, size.stem)?;
        }
        Ok(Self {
            channels: size.channels,
            cells: size.cells,
            nodes,
            classes: size.classes,
            image_channels: size.image[0],
            partial: size.partial,
            stem: size.stem,
            ..Self::default()
        })
    }
}
