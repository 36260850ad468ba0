//! stub
#![allow(missing_docs)]
#[derive(Clone,Copy,Debug,PartialEq,Eq,serde::Serialize,serde::Deserialize)]
pub enum Operation { #[serde(rename="none")] None, #[serde(rename="max_pool_3x3")] MaxPool3x3, #[serde(rename="avg_pool_3x3")] AvgPool3x3, #[serde(rename="skip_connect")] SkipConnect, #[serde(rename="sep_conv_3x3")] SepConv3x3, #[serde(rename="sep_conv_5x5")] SepConv5x5, #[serde(rename="dil_conv_3x3")] DilConv3x3, #[serde(rename="dil_conv_5x5")] DilConv5x5 }
impl Operation { pub const ALL:[Operation;8]=[Self::None,Self::MaxPool3x3,Self::AvgPool3x3,Self::SkipConnect,Self::SepConv3x3,Self::SepConv5x5,Self::DilConv3x3,Self::DilConv5x5]; }
#[derive(Clone,Copy,Debug,PartialEq,Eq)]
pub enum CellKind { Normal, Reduction }
pub fn edge_count(n:usize)->usize{(0..n).map(|i|i+2).sum()}
pub fn edge_index(node:usize,from:usize)->usize{edge_count(node)+from}
pub fn reduction_positions(cells:usize)->[usize;2]{[cells/3,2*cells/3]}
