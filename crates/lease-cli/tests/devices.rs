//! What devices are told, and what those of this build compute.

mod common;

use common::*;

fn listing() -> serde_json::Value {
    let output = done(lease(&["devices", "--json"]));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn devices_are_listed_with_what_is_missing_for_the_others() {
    let all = listing();
    let names: Vec<&str> = all["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["name"].as_str().unwrap())
        .collect();
    assert_eq!(names[0], "cpu");
    let absent = all["absent"].as_array().unwrap();
    for kind in ["gpu", "vulkan", "cuda"] {
        let reason = absent.iter().find(|a| a["kind"] == kind);
        let listed = names.iter().any(|n| n.starts_with(kind));
        assert!(listed != reason.is_some(), "{kind}: {all}");
        if let Some(reason) = reason {
            assert!(!reason["reason"].as_str().unwrap().is_empty(), "{kind}");
        }
    }
}

#[cfg(not(feature = "gpu"))]
#[test]
fn a_device_of_another_build_is_refused_with_that_build() {
    let told = refused(lease(&["search", "--device", "gpu:1"]));
    assert!(
        told.contains("this build has no device `gpu:1`; one made with `--features gpu` has"),
        "{told}"
    );
}

/// These need a GPU, or Mesa's software (Debian and Ubuntu: apt install mesa-vulkan-drivers).
#[cfg(feature = "gpu")]
mod on_a_gpu {
    use super::*;

    use std::fs;
    use std::path::Path;

    #[test]
    fn every_quantity_of_an_iteration_is_right() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lease/tests/data/cases");
        let mut command = lease(&["verify", "--device", "gpu"]);
        for case in cases.read_dir().unwrap() {
            command.arg(case.unwrap().path());
        }
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}{stderr}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(
            stderr.contains("in f32, since gpu does not compute in f64"),
            "{stderr}"
        );
    }

    #[test]
    fn a_search_a_training_a_prediction_and_an_explanation_come_to_their_ends() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("search");
        let tiny = ["--device", "gpu", "--cells", "3", "--epochs", "1"];
        done(search(&out, &tiny));
        assert!(out.join("genotype.json").is_file());
        let last = checkpoints(&out).pop().unwrap();
        fs::remove_file(last).unwrap();
        fs::remove_file(out.join("genotype.json")).unwrap();
        done(resume(&out));
        assert!(out.join("genotype.json").is_file());

        let trained = folder.path().join("trained");
        let mut command = lease(&[
            "train",
            "random:5",
            "--device",
            "gpu",
            "--out",
            trained.to_str().unwrap(),
        ]);
        command.args(TINY_TRAINING);
        done(command);
        assert!(trained.join("result.json").is_file());

        let trained = trained.to_str().unwrap();
        let image = folder.path().join("image.png");
        image::RgbImage::new(20, 20).save(&image).unwrap();
        let image = image.to_str().unwrap();
        let told = done(lease(&["predict", trained, image, "--device", "gpu"]));
        assert!(String::from_utf8_lossy(&told.stdout).contains("image.png"));
        let explained = folder.path().join("explained");
        done(lease(&[
            "explain",
            trained,
            "--device",
            "gpu",
            "--count",
            "4",
            "--out",
            explained.to_str().unwrap(),
        ]));
        assert!(explained.join("explanations.json").is_file());
    }

    #[test]
    fn what_is_not_there_is_told() {
        let told = refused(lease(&["search", "--device", "gpu:99"]));
        assert!(told.contains("no device `gpu:99`: there"), "{told}");
        let case = "../lease/tests/data/cases/cells1_nodes3_4px.safetensors";
        let told = refused(lease(&[
            "verify",
            "--device",
            "gpu",
            "--precision",
            "f64",
            case,
        ]));
        assert!(told.contains("does not compute in f64"), "{told}");
        // No driver of Vulkan's, none of OpenGL's.
        let mut command = lease(&["search", "--device", "gpu"]);
        for variable in [
            "VK_DRIVER_FILES",
            "VK_ICD_FILENAMES",
            "__EGL_VENDOR_LIBRARY_FILENAMES",
        ] {
            command.env(variable, "/nowhere.json");
        }
        let told = refused_by(&mut command);
        assert!(
            told.contains("no device `gpu`: the Vulkan loader"),
            "{told}"
        );
    }
}
