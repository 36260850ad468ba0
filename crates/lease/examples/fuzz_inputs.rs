//! Makes the valid inputs of `fuzz/corpus-kept` that no editor makes. To be run where a format has changed:
//! `cargo run --release -p lease --example fuzz_inputs`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use lease::network::{Audience, ResNetShape, Stem};
use lease::run::Identity;
use lease::run::checkpoint::Checkpoint;
use lease::space::Explainer;
use lease::space::darts::{Operation, Supernet, SupernetShape};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus-kept")
}

fn main() {
    let write = |name: &str, bytes: &[u8]| {
        let path = kept().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let mut picture = RgbImage::from_pixel(5, 4, Rgb([250, 20, 20]));
    picture.put_pixel(2, 1, Rgb([0, 200, 255]));
    let picture = DynamicImage::from(picture);
    let mut folder = Vec::new();
    for (kind, format) in [
        ("png", ImageFormat::Png),
        ("jpg", ImageFormat::Jpeg),
        ("bmp", ImageFormat::Bmp),
        ("gif", ImageFormat::Gif),
        ("webp", ImageFormat::WebP),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        let bytes = bytes.into_inner();
        write(&format!("image/valid-{kind}"), &bytes);
        for class in ["cat", "dog"] {
            folder.extend(format!("{class}/1.{kind}\n").bytes());
            folder.extend((bytes.len() as u16).to_le_bytes());
            folder.extend(&bytes);
        }
    }
    write("image_folder/valid-classes", &folder);
    write("case/valid-smallest", &smallest_case());
    let state = json!({ "step": 1, "metrics": { "bytes": 0, "digest": "" } });
    let mut checkpoint = Checkpoint::new("search", &Identity::default(), state);
    checkpoint.insert("v.a", TensorData::new(vec![1.0f32, 2.0], [2, 1]));
    checkpoint.insert("v.b", TensorData::new(vec![3.0f32], [1]));
    checkpoint.insert("o.momentum", TensorData::new(vec![0.5f32; 3], [3]));
    checkpoint.insert_scalar("o.time", burn_pack::Scalar::UInt(1));
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoint.save(folder.path(), 1).unwrap();
    write("checkpoint/valid-small", &fs::read(path).unwrap());
}

/// A case with the smallest networks that there are, without results.
fn smallest_case() -> Vec<u8> {
    let settings = json!({
        "channels": 1, "cells": 1, "nodes": 1, "classes": 2, "in_channels": 1, "size": 2, "batch": 1,
        "widths": [1], "blocks": [1], "lr_explainer": 0.1, "lr_delta": 1.0, "lr_audience": 0.1,
        "wd_explainer": 0.0, "wd_audience": 0.0, "gamma": 1.0, "epsilon": 0.1, "reweight": "signed",
        "ops": Operation::ALL,
    });
    let explainer = Supernet::new(&SupernetShape {
        channels: 1,
        cells: 1,
        nodes: 1,
        classes: 2,
        image_channels: 1,
        ..SupernetShape::default()
    });
    let audience = Audience::new(&ResNetShape {
        widths: vec![1],
        blocks: vec![1],
        classes: 2,
        image_channels: 1,
        stem: Stem::Cifar,
    });
    let (explainer, audience) = (explainer.unwrap(), audience.unwrap());
    let mut tensors = BTreeMap::new();
    for (prefix, layout) in [
        ("explainer.", explainer.weights()),
        ("audience.", audience.weights()),
        ("", explainer.architecture()),
    ] {
        for entry in layout.entries() {
            let name = format!("in.{prefix}{}", entry.name);
            let values: Vec<u8> = entry
                .range
                .clone()
                .flat_map(|i| (0.1 + (i % 7) as f64 / 10.0).to_le_bytes())
                .collect();
            tensors.insert(name, (Dtype::F64, entry.shape.clone(), values));
        }
    }
    let image: Vec<u8> = (0..4).flat_map(|i| f64::from(i).to_le_bytes()).collect();
    for set in [
        "explainer_train",
        "audience_train",
        "explainer_val",
        "audience_val",
    ] {
        let images = (Dtype::F64, vec![1, 1, 2, 2], image.clone());
        tensors.insert(format!("in.{set}.images"), images);
        let labels = (Dtype::I64, vec![1], 1i64.to_le_bytes().to_vec());
        tensors.insert(format!("in.{set}.labels"), labels);
    }
    tensors.insert("in.delta0".into(), (Dtype::F64, vec![1, 1, 2, 2], image));
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name, view)
    });
    let metadata = HashMap::from([("case".to_string(), settings.to_string())]);
    safetensors::serialize(views, Some(metadata)).unwrap()
}
