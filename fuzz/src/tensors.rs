//! Tensors in files: cases of the reference and checkpoints.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use burn::tensor::{DType, Device};
use lease::method::product::MixedProduct;
use lease::method::verify::Case;
use lease::network::{Init, Layout};
use lease::run::Identity;
use lease::run::checkpoint::{Checkpoint, hex};
use safetensors::SafeTensors;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Outcome, told};

/// A case of the reference; one in 64 of those that are read is computed, too.
pub fn case(bytes: &[u8]) -> Outcome {
    let case = Case::from_bytes(bytes, Path::new("case.safetensors")).map_err(told)?;
    if now_and_then(bytes, 64)
        && let Err(error) = case.compare(&Device::flex(), DType::F64, MixedProduct::Exact)
    {
        assert!(error.to_string().contains("case.safetensors"), "{error}");
    }
    Ok(())
}

/// The settings of a case, in a file without tensors: whatever they are, networks are built of them, and then the
/// tensors are missing.
pub fn case_settings(bytes: &[u8]) -> Outcome {
    let settings = std::str::from_utf8(bytes).map_err(told)?;
    let header = serde_json::json!({ "__metadata__": { "case": settings } }).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    let read = Case::from_bytes(&file, Path::new("case.safetensors"));
    match read.err() {
        None => panic!("a case without tensors is none"),
        // That far come settings that are right.
        Some(error) if error.to_string().contains("it has no in.") => Ok(()),
        Some(error) => Err(told(error)),
    }
}

/// A checkpoint, as it is and with the digest that fits its contents.
pub fn checkpoint(bytes: &[u8]) -> Outcome {
    let as_it_is = loaded(bytes);
    match signed(bytes) {
        Some(bytes) => loaded(&bytes),
        None => as_it_is,
    }
}

fn loaded(bytes: &[u8]) -> Outcome {
    static LAYOUT: OnceLock<Arc<Layout>> = OnceLock::new();
    let layout = LAYOUT.get_or_init(|| {
        let mut layout = Layout::default();
        layout.push("a", [2, 1], Init::Zeros);
        layout.push("b", [1], Init::Zeros);
        Arc::new(layout)
    });
    let path = Path::new("step-000000001.safetensors");
    let checkpoint =
        Checkpoint::from_bytes(bytes, path, "search", &Identity::default()).map_err(told)?;
    let state: Value = checkpoint.state().map_err(told)?;
    assert!(checkpoint.state::<Value>().is_ok_and(|s| s == state));
    checkpoint.scalars();
    checkpoint.tensors_under("v");
    let vector = checkpoint
        .vector("v", layout, &Device::flex())
        .map_err(told)?;
    assert_eq!(vector.to_f64().len(), 3);
    Ok(())
}

/// The file with the digest that its contents have; nothing if it is no safetensors file with a header of a
/// checkpoint.
fn signed(bytes: &[u8]) -> Option<Vec<u8>> {
    let file = SafeTensors::deserialize(bytes).ok()?;
    let length = u64::from_le_bytes(*bytes.first_chunk()?) as usize;
    let (header, tensors) = bytes.get(8..)?.split_at_checked(length)?;
    let mut header: Value = serde_json::from_slice(header).ok()?;
    let metadata = header.get_mut("__metadata__")?.as_object_mut()?;
    let mut hash = Sha256::new();
    hash.update(metadata.get("lease")?.as_str()?);
    let sorted: BTreeMap<&str, _> = file.iter().collect();
    for (name, tensor) in sorted {
        hash.update(format!("{name} {:?} ", tensor.shape()));
        hash.update(tensor.data());
    }
    metadata.insert("sha256".into(), hex(&hash.finalize()).into());
    let header = header.to_string();
    let mut signed = (header.len() as u64).to_le_bytes().to_vec();
    signed.extend(header.as_bytes());
    signed.extend(tensors);
    Some(signed)
}

/// Whether these bytes are of the one in so many for which more is done than reading. Short inputs always are.
pub fn now_and_then(bytes: &[u8], one_in: u32) -> bool {
    let sum = bytes.iter().fold(0u32, |sum, b| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*b))
    });
    sum.is_multiple_of(one_in)
}
