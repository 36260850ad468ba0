//! What is done with a trained network.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::*;

/// A network trained on a folder of two colours, and the folder.
fn trained(root: &Path) -> (String, String) {
    let images = root.join("photos");
    for (class, colour) in [("blue", [20u8, 30, 220]), ("red \"hot\"", [230, 20, 10])] {
        fs::create_dir_all(images.join(class)).unwrap();
        for i in 0..10u8 {
            let pixel = image::Rgb(colour.map(|c| c.saturating_add(2 * i)));
            let picture = image::RgbImage::from_pixel(12, 10 + u32::from(i), pixel);
            picture
                .save(images.join(class).join(format!("{i}.png")))
                .unwrap();
        }
    }
    let out = root.join("trained");
    let text = |path: &Path| path.to_str().unwrap().to_string();
    let mut train = lease(&["train", "random:nas-bench-201:3", "--out", &text(&out)]);
    let settings = "--dataset folder --image-size 8 --augment none --train-channels 4 --train-cells 1 \
        --train-epochs 12 --train-batch 4 --train-drop-path 0 --path";
    train.args(settings.split_whitespace()).arg(&images);
    done(train);
    (text(&out), text(&images))
}

#[test]
fn images_are_classified_and_unreadable_ones_passed_over_with_a_status_that_says_so() {
    let root = tempfile::tempdir().unwrap();
    let (network, photos) = trained(root.path());
    let blue = format!("{photos}/blue");
    let output = done(lease(&[
        "predict", &network, &photos, "--format", "jsonl", "--top", "1",
    ]));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines = stdout
        .lines()
        .map(|line| -> serde_json::Value { serde_json::from_str(line).unwrap() });
    let correct = lines.filter(|line| {
        let class = line["predictions"][0]["class"].as_str().unwrap();
        line["image"].as_str().unwrap().contains(class)
    });
    assert_eq!(
        (correct.count(), stdout.lines().count()),
        (20, 20),
        "{stdout}"
    );
    // One by one the answers are the same.
    let one = done(lease(&[
        "predict", &network, &photos, "--format", "jsonl", "--top", "1", "--batch", "1",
    ]));
    assert_eq!(String::from_utf8(one.stdout).unwrap(), stdout);

    fs::write(format!("{blue}/3.png"), b"no picture").unwrap();
    fs::write(format!("{blue}/notes.txt"), b"notes").unwrap();
    fs::create_dir(format!("{blue}/more")).unwrap();
    std::os::unix::fs::symlink(&blue, format!("{blue}/more/loop")).unwrap();
    let mut command = lease(&["predict", &network, &blue, "no-such.png", "--format", "csv"]);
    let output = command.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|b| String::from_utf8(b).unwrap());
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    for told in ["3.png", "there is no no-such.png", "2 of the images"] {
        assert!(stderr.contains(told), "{stderr}");
    }
    let nothing = refused(lease(&[
        "predict",
        &network,
        &format!("{blue}/3.png"),
        "no-such.png",
    ]));
    assert!(nothing.contains("no image could be read"), "{nothing}");
    let mut rows = stdout.lines();
    let header = "image,class_1,probability_1,class_2,probability_2";
    assert_eq!(rows.next(), Some(header));
    assert_eq!(rows.clone().count(), 9, "{stdout}");
    assert!(rows.all(|row| row.contains(",blue,") && row.contains("\"red \"\"hot\"\"\"")));
    let told = refused(lease(&["predict", &photos, &blue]));
    assert!(told.contains("has no training"), "{told}");
}

#[test]
fn another_test_set_is_tested_class_by_class_and_must_have_known_classes() {
    let root = tempfile::tempdir().unwrap();
    let (network, photos) = trained(root.path());
    let test = |path: &str| {
        lease(&[
            "test",
            &network,
            "--dataset",
            "folder",
            "--path",
            path,
            "--json",
        ])
    };
    let tested = |command: Command| -> (serde_json::Value, String) {
        let output = done(command);
        let told = String::from_utf8(output.stderr).unwrap();
        (serde_json::from_slice(&output.stdout).unwrap(), told)
    };
    // Of its own images it is tested on those that it was not trained on, unless all are asked for.
    for own in [test(&photos), lease(&["test", &network, "--json"])] {
        let (result, told) = tested(own);
        assert_eq!(result["images"], 4, "{told}");
    }
    let mut all = test(&photos);
    all.args(["--part", "all"]);
    let (result, told) = tested(all);
    assert_eq!(result["images"], 20);
    assert!(told.contains("16 of these images are those that"), "{told}");
    let others = root.path().join("others");
    fs::rename(&photos, &others).unwrap();
    let others = others.to_str().unwrap();
    let (result, _) = tested(test(others));
    assert_eq!(result["images"], 20, "all of a folder that is not divided");
    assert_eq!(result["confusion"], serde_json::json!([[10, 0], [0, 10]]));
    fs::rename(format!("{others}/blue"), format!("{others}/green")).unwrap();
    let told = refused(test(others));
    assert!(told.contains("does not know, `green`"), "{told}");
}

#[test]
fn exports_do_not_write_over_other_files() {
    let root = tempfile::tempdir().unwrap();
    let (network, _) = trained(root.path());
    let file = root.path().join("net.onnx");
    let out = file.to_str().unwrap();
    let export = || lease(&["export", &network, "--to", "onnx", "--out", out]);
    done(export());
    done(export());
    fs::write(&file, b"something else").unwrap();
    let told = refused(export());
    assert!(told.contains("--force"), "{told}");
    assert_eq!(fs::read(&file).unwrap(), b"something else");
    done(lease(&["export", &network, "--to", "pytorch"]));
    assert!(Path::new(&network).join("pytorch/network.py").is_file());
}
