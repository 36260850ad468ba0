//! What is refused before anything is done, what is not, and what is told.

mod common;

use std::fs;
use std::path::Path;

use common::*;

/// A CIFAR-10 of 20 images a file, each with its class in every pixel; the two of a class differ.
fn cifar(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let records: Vec<u8> = (0..20u8)
        .flat_map(|i| {
            let class = i % 10;
            std::iter::once(class)
                .chain((0..3072).map(move |p| 20 * class + (p % 7) as u8 + i / 10))
        })
        .collect();
    let train = (1..=5).map(|i| format!("data_batch_{i}.bin"));
    for name in train.chain(["test_batch.bin".to_string()]) {
        fs::write(folder.join(name), &records).unwrap();
    }
}

const CELL: &str = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|";

#[test]
fn bad_arguments_get_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (arguments, expected) in [
        (
            vec!["search", "--batch", "0"],
            "search.batch = 0 (flag --batch) cannot be used",
        ),
        (
            vec!["search", "--dataset", "digits", "--batch", "5000"],
            "fewer than one batch of 5000",
        ),
        (
            vec!["search", "--device", "tpu"],
            "`tpu` is no device; this build has cpu",
        ),
        (
            vec!["search", "--dataset", "cifar10"],
            "this data set needs to know where it lies",
        ),
        (
            vec!["search", "--dataset", "cifar10", "--path", "/nowhere"],
            "data_batch_1.bin",
        ),
        (
            vec!["search", "--config", "/nowhere.toml"],
            "cannot read the configuration",
        ),
        (
            vec!["train", "/nowhere"],
            "there is no folder and no file `/nowhere`",
        ),
        (vec!["train", "Genotype(normal=[])"], "has no reduce cell"),
        (
            vec![
                "train",
                "random:1",
                "--dataset",
                "digits",
                "--train-auxiliary",
                "0.4",
            ],
            "train without it",
        ),
    ] {
        let mut command = lease(&arguments);
        command.args(["--out", out.to_str().unwrap()]);
        let told = refused(command);
        assert!(
            told.contains(expected) && told.starts_with("error: "),
            "{arguments:?}: {told}"
        );
        assert!(
            !out.join("config.toml").exists(),
            "{arguments:?} left a run behind"
        );
    }
    for (arguments, expected) in [
        (
            vec!["search", "--resume", "/nowhere"],
            "cannot read /nowhere: No such file",
        ),
        (vec!["verify", "/nowhere"], "cannot read the case /nowhere"),
        (
            vec!["bench", "--predict", "10", "--batch", "64"],
            "fewer than one batch of 64",
        ),
        (vec!["genotype", "{}"], "there is no genotype in the text"),
    ] {
        let told = refused(lease(&arguments));
        assert!(
            told.contains(expected) && told.starts_with("error: "),
            "{arguments:?}: {told}"
        );
    }
}

#[test]
fn all_that_a_later_phase_will_miss_is_told_at_once_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    cifar(&data);
    let out = folder.path().join("out");
    let of = |command: &[&str], space: &str| {
        let mut command = lease(command);
        command.args(["--dataset", "cifar10", "--path", data.to_str().unwrap()]);
        command.args([
            "--space",
            space,
            "--train-auxiliary",
            "0.4",
            "--train-batch",
            "256",
        ]);
        command.args(["--channels", "2", "--cells", "1", "--batch", "60"]);
        command.args(["--out", out.to_str().unwrap()]);
        command
    };
    let parts = [
        "the explainer's training part has 50 images",
        "the explainer's validation part has 50 images",
        "the training set (--train-batch) has 100 images, fewer than one batch of 256",
        "networks of NAS-Bench-201 have no auxiliary head",
    ];
    let compare = ["compare", "darts-first", "random"];
    for (command, space, count) in [
        (&["run"][..], "nas-bench-201", 4),
        (&compare[..], "darts", 3),
        // There the table knows what a training would tell.
        (&compare[..], "nas-bench-201", 2),
    ] {
        let told = refused(of(command, space));
        let first = format!("error: {count} things keep this from being done:");
        assert!(told.contains(&first), "{told}");
        for part in &parts[..count] {
            assert!(told.contains(part), "{told}");
        }
        assert!(!out.exists(), "a run was left behind");
    }
    let mut huge = lease(&[
        "search",
        "--dataset",
        "digits",
        "--batch",
        "600",
        "--channels",
        "4096",
        "--cells",
        "64",
    ]);
    let told = refused_by(huge.args(["--out", out.to_str().unwrap()]));
    assert!(
        told.contains("this search needs about") && told.contains("of memory, this machine has"),
        "{told}"
    );
}

#[test]
fn a_cell_of_nas_bench_201_is_trained_by_its_benchmarks_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    cifar(&data);
    let path = data.to_str().unwrap();
    let mut command = lease(&[
        "train",
        CELL,
        "--dataset",
        "cifar10",
        "--path",
        path,
        "--print-config",
    ]);
    let text = String::from_utf8(done_by(&mut command).stdout).unwrap();
    for line in [
        "channels = 16",
        "cells = 5",
        "epochs = 200",
        "batch = 256",
        "learning_rate = 0.1",
        "momentum = 0.9",
        "nesterov = true",
        "weight_decay = 0.0005",
        "clip = 0.0",
        "drop_path = 0.0",
        "auxiliary = 0.0",
        "cutout = 0.0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    let out = folder.path().join("out");
    let mut command = lease(&["train", CELL, "--dataset", "cifar10", "--path", path]);
    command.args(["--train-batch", "50", "--train-epochs", "1", "--out"]);
    done_by(command.arg(&out));
    let result = fs::read_to_string(out.join("result.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["parameters"], 1_288_506);
}

#[test]
fn a_command_takes_and_shows_only_the_settings_that_it_reads() {
    let help = |command: &str| {
        let output = done(lease(&[command, "--help"]));
        String::from_utf8(output.stdout).unwrap()
    };
    let (train, search) = (help("train"), help("search"));
    assert!(train.contains("--train-epochs") && !train.contains("--gamma "));
    assert!(search.contains("--gamma ") && !search.contains("--train-epochs"));
    let told = refused(lease(&["train", "random:1", "--gamma", "2"]));
    assert!(told.contains("--gamma"), "{told}");
    // Images are not those of a place that is named without saying what they are.
    let photos = ["--path", "photos"];
    let compare = ["compare", "darts", "random", "--out", "/nowhere"];
    for command in [&["run"][..], &["search"], &["train", "random:1"], &compare] {
        let told = refused_by(lease(command).args(photos));
        assert!(told.contains("--dataset folder"), "{command:?}: {told}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    fs::write(&file, "[data]\npath = \"photos\"\n").unwrap();
    let told = refused_by(lease(&["search", "--config"]).arg(&file));
    assert!(
        told.contains("data.path = ") && told.contains("--dataset folder"),
        "{told}"
    );
    let told = refused(lease(&["run", "--dataset", "digits", "--image-size", "64"]));
    assert!(told.contains("have a size of their own"), "{told}");
}

#[test]
fn a_folder_with_anything_else_in_it_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("mine");
    fs::create_dir(&mine).unwrap();
    let files = [
        "config.toml",
        "genotype.json",
        "metrics.jsonl",
        "result.json",
    ];
    for file in files {
        fs::write(mine.join(file), "precious = true\n").unwrap();
    }
    let out = mine.to_str().unwrap();
    for command in [vec!["train", "random:1"], vec!["search"], vec!["run"]] {
        let mut command = lease(&command);
        let told = refused_by(command.args(["--out", out]));
        assert!(told.contains("has files that are no"), "{told}");
        assert!(told.contains("config.toml, genotype.json"), "{told}");
    }
    let cell = folder.path().join("comparison/random/seed0");
    fs::create_dir_all(&cell).unwrap();
    fs::write(cell.join("genotype.json"), "mine").unwrap();
    let mut command = lease(&["compare", "random", "--seeds", "1", "--out"]);
    let told = refused_by(command.arg(folder.path().join("comparison")));
    assert!(told.contains("no cell of a comparison"), "{told}");
    assert_eq!(fs::read(cell.join("genotype.json")).unwrap(), b"mine");
    for file in files {
        assert_eq!(
            fs::read_to_string(mine.join(file)).unwrap(),
            "precious = true\n"
        );
    }
    assert_eq!(mine.read_dir().unwrap().count(), files.len());
    // A page or tables of somebody else's, and a run, are no comparison.
    let page = folder.path().join("page");
    fs::create_dir(&page).unwrap();
    fs::write(page.join("report.html"), "mine").unwrap();
    for out in [&page, &mine] {
        let mut command = lease(&["compare", "random", "--seeds", "1", "--out"]);
        let told = refused_by(command.arg(out));
        assert!(told.contains("are no comparison of lease's"), "{told}");
    }

    // A search is no training, even where its checkpoints are gone.
    let run = folder.path().join("run");
    done(search(&run, &["--epochs", "1"]));
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let before = fs::read(run.join("metrics.jsonl")).unwrap();
    let mut command = lease(&[
        "train",
        run.to_str().unwrap(),
        "--out",
        run.to_str().unwrap(),
    ]);
    let told = refused_by(command.args(TINY_TRAINING));
    assert!(told.contains("no training of lease's"), "{told}");
    let told = refused(resume(&run));
    assert!(told.contains("its checkpoints are gone"), "{told}");
    assert_eq!(fs::read(run.join("metrics.jsonl")).unwrap(), before);
}

#[test]
fn a_finished_training_is_told_again_and_one_with_other_settings_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let train = |source: &str, more: &[&str]| {
        let mut command = lease(&["train", source, "--out", out.to_str().unwrap()]);
        command.args(TINY_TRAINING).args(more);
        command
    };
    let first = done(train("random:5", &[]));
    fs::remove_dir_all(out.join("checkpoints")).unwrap();
    let before = fs::read(out.join("metrics.jsonl")).unwrap();
    assert_eq!(done(train("random:5", &[])).stdout, first.stdout);
    let told = refused(train("random:5", &["--train-clip", "4"]));
    assert!(told.contains("train.clip is 5.0 there, 4.0 here"), "{told}");
    let told = refused(train("random:6", &[]));
    assert!(told.contains("the genotype is"), "{told}");
    assert_eq!(fs::read(out.join("metrics.jsonl")).unwrap(), before);
}

#[test]
fn runs_go_on_after_their_data_moved_from_anywhere_with_other_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    cifar(&here);
    let tiny = [
        "--method",
        "darts-first",
        "--channels",
        "2",
        "--cells",
        "1",
        "--nodes",
        "1",
        "--batch",
        "20",
        "--augment",
        "none",
        "--epochs",
        "4",
        "--checkpoint-seconds",
        "0",
    ];
    let start = |run: &str| {
        let mut command = lease(&[
            "search",
            "--dataset",
            "cifar10",
            "--path",
            "here",
            "--out",
            run,
        ]);
        command.args(tiny).args(["--threads", "1"]);
        command.current_dir(folder.path());
        command
    };
    done(start("whole"));
    let broken = folder.path().join("broken");
    kill_after(start("broken"), &broken, 3);
    // From another folder, where the relative path leads nowhere; then the images move as well.
    let mut elsewhere = resume(&broken);
    elsewhere.current_dir("/");
    kill_after(elsewhere, &broken, 5);
    fs::rename(&here, &there).unwrap();
    let told = refused(resume(&broken));
    assert!(
        told.contains("there is no") && told.contains("here"),
        "{told}"
    );
    let mut moved = resume(&broken);
    moved.args(["--path", there.to_str().unwrap(), "--threads", "2"]);
    kill_after(moved, &broken, 7);
    // Where they are now is remembered.
    done(resume(&broken));
    for file in ["metrics.jsonl", "weights/explainer.safetensors"] {
        let of = |run: &str| fs::read(folder.path().join(run).join(file)).unwrap();
        assert!(of("whole") == of("broken"), "{file}");
    }
    let mut other = resume(&broken);
    let told = refused_by(other.args(["--epochs", "9"]));
    assert!(told.contains("--epochs cannot be given"), "{told}");
}

#[test]
fn a_run_whose_log_was_changed_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    kill_after(search(&run, &["--method", "darts-first"]), &run, 3);
    let log = run.join("metrics.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("\"step\":0", "\"step\":9", 1)).unwrap();
    let told = refused(resume(&run));
    assert!(told.contains("metrics.jsonl was changed"), "{told}");
    fs::write(&log, &text[..10]).unwrap();
    assert!(refused(resume(&run)).contains("it has 10 bytes"));
    // What comes after the checkpoint is done again.
    fs::write(&log, text + "{\"half\": ").unwrap();
    done(resume(&run));
}

#[test]
fn a_cell_without_a_path_is_told_before_it_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let cell = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|none~2|";
    let mut command = lease(&["train", cell, "--out"]);
    command.arg(folder.path().join("out")).args(TINY_TRAINING);
    let output = done_by(&mut command);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("warning: no path leads through"), "{told}");
    let first = |what: &str| told.find(what).unwrap_or(usize::MAX);
    assert!(first("warning: no path") < first("epoch 1/3"));
}

#[test]
fn one_of_several_genotypes_in_a_file_is_chosen_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("genotypes.py");
    let of = |operation: &str| {
        let edges = format!("[('{operation}', 0), ('{operation}', 1)]");
        format!("Genotype(normal={edges}, normal_concat=[2], reduce={edges}, reduce_concat=[2])")
    };
    let text = format!("A = {}\nB = {}\n", of("sep_conv_3x3"), of("skip_connect"));
    fs::write(&file, text).unwrap();
    let chosen = format!("{}:B", file.display());
    let output = done(lease(&["genotype", &chosen]));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        of("skip_connect")
    );
    let told = refused(lease(&["genotype", file.to_str().unwrap()]));
    assert!(told.contains("A and B"), "{told}");
}

#[test]
fn the_table_tells_what_a_cell_reaches_and_knows_no_other_space() {
    let output = done(lease(&["table", CELL, "--json"]));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["genotype"], CELL);
    let (rank, regret) = (told["rank"].as_u64(), told["regret"].as_f64());
    assert!(
        rank == Some(3) && (regret.unwrap() - 0.01).abs() < 1e-9,
        "{told}"
    );
    let other = "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1)], reduce=[('skip_connect', 0), ('skip_connect', 1)])";
    assert!(refused(lease(&["table", other])).contains("no cell of NAS-Bench-201"));
}
