//! Comparisons of methods over seeds.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use lease::space::nas_bench_201::Cell;

/// A table in which an architecture's accuracy grows with its number.
fn table(path: &Path) {
    let mut text = String::from(
        "arch,cifar10_valid,cifar10_test,cifar100_valid,cifar100_test,in16_valid,in16_test,params,flops\n",
    );
    for index in 0..Cell::COUNT {
        let accuracy = 100.0 * index as f64 / Cell::COUNT as f64;
        let cell = Cell::numbered(index);
        text += &format!("{cell},1,{accuracy},2,3,4,5,{index},6\n");
    }
    fs::write(path, text).unwrap();
}

#[test]
fn a_comparison_goes_on_adds_methods_and_refuses_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table.csv");
    table(&file);
    let out = folder.path().join("comparison");
    let compare = |methods: &[&str], more: &[&str]| {
        let mut command = lease(&["compare", "--out", out.to_str().unwrap()]);
        command.args(methods);
        command.args(["--space", "nas-bench-201", "--nb201-table"]);
        command.arg(&file);
        command.args(["--dataset", "digits", "--limit", "80"]);
        command.args(["--batch", "20", "--channels", "2"]);
        command.args(["--cells", "1", "--audience-width", "0.1"]);
        command.args(["--epochs", "2", "--seeds", "2"]);
        command.args(["--eigenvalue-every", "1"]).args(more);
        command
    };
    done(compare(&["darts-first", "random"], &[]));
    let found = |method: &str, seed: u64| {
        let path = out.join(method).join(format!("seed{seed}/found.json"));
        let text = fs::read_to_string(path).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    for method in ["darts-first", "random"] {
        let cell = Cell::parse(found(method, 1)["genotype"].as_str().unwrap()).unwrap();
        let accuracy = 100.0 * cell.index() as f64 / Cell::COUNT as f64;
        assert_eq!(found(method, 1)["accuracy"].as_f64(), Some(accuracy));
        let rank = (Cell::COUNT - cell.index()) as u64;
        assert_eq!(found(method, 1)["rank"].as_u64(), Some(rank));
    }
    let metrics = fs::read_to_string(out.join("darts-first/seed0/metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"eigenvalue\":") && metrics.contains("\"rank\":"));
    // Random search keeps the draw that is most accurate on validation images.
    done(compare(
        &["brief:method=random-search,random-draws=3,random-epochs=1"],
        &[],
    ));
    let text = fs::read_to_string(out.join("brief/seed1/draws.json")).unwrap();
    let draws: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let accuracy = |d: &serde_json::Value| d["val_accuracy"].as_f64().unwrap();
    let most = draws.iter().map(accuracy).fold(0.0, f64::max);
    let best = draws.iter().find(|d| accuracy(d) == most).unwrap();
    assert_eq!(draws.len(), 3);
    assert_eq!(found("brief", 1)["genotype"], best["genotype"]);
    // The cells that are there are not run again, the new ones are.
    let marked = out.join("random/seed0/found.json");
    let text = fs::read_to_string(&marked).unwrap();
    let marked_text = text.replace("\"steps\": 0", "\"steps\": 77");
    fs::write(&marked, marked_text).unwrap();
    let output = done(compare(&["random", "told:method=lease,gamma=2"], &[]));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("told − random") && said.contains("points"),
        "{said}"
    );
    assert_eq!(found("random", 0)["steps"], 77);
    assert_eq!(found("told", 1)["steps"].as_u64(), Some(4));
    let csv = fs::read_to_string(out.join("comparison.csv")).unwrap();
    assert_eq!(csv.lines().count(), 5);
    let told = refused(compare(&["told:method=lease,gamma=3"], &[]));
    assert!(
        told.contains("method.gamma is 2.0 there, 3.0 here"),
        "{told}"
    );
    let told = refused(compare(&["fast:speed=3"], &[]));
    assert!(told.contains("there is no setting `speed`"), "{told}");
}

#[test]
fn settings_of_the_training_can_change_as_long_as_none_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("comparison");
    let compare = |epochs: &str, more: &[&str]| {
        let mut command = lease(&["compare", "darts-first", "--seeds", "1", "--out"]);
        command
            .arg(&out)
            .args(["--dataset", "digits", "--limit", "200"]);
        command.args(["--channels", "2", "--nodes", "1"]);
        command.args(["--batch", "20", "--epochs", "1", "--train-batch", "20"]);
        command.args(["--train-channels", "2", "--train-cells", "3"]);
        command.args(["--train-epochs", epochs]).args(more);
        command
    };
    done(compare("1", &[]));
    let cell = out.join("darts-first/seed0");
    let told = refused(compare("2", &[]));
    assert!(told.contains("train.epochs is 1 there, 2 here"), "{told}");
    fs::remove_file(cell.join("found.json")).unwrap();
    fs::remove_dir_all(cell.join("train")).unwrap();
    let told = refused(compare("2", &["--gamma", "9"]));
    assert!(
        told.contains("method.gamma is 1.0 there, 9.0 here"),
        "{told}"
    );
    done(compare("2", &[]));
    let result = fs::read_to_string(cell.join("train/result.json")).unwrap();
    assert!(result.contains("\"epochs\": 2"), "{result}");
}
