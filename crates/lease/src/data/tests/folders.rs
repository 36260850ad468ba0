use std::fs;
use std::path::Path;

use super::{DatasetKind, loaded, refused, settings, write};
use crate::data::DataSettings;

/// Writes this many images of each of two classes.
fn classes(folder: &Path, images: u8, first: u8) {
    for image in 0..images {
        write(&folder.join(format!("cat/{image}.png")), first + image);
        write(
            &folder.join(format!("dog/{image}.png")),
            100 + first + image,
        );
    }
}

#[test]
fn images_are_resized_and_every_fifth_of_each_class_tests() {
    let root = tempfile::tempdir().unwrap();
    classes(root.path(), 10, 0);
    let (dataset, told) = loaded(settings(root.path()));
    let dataset = dataset.unwrap();
    assert_eq!(dataset.classes, ["cat", "dog"]);
    assert_eq!(dataset.train.shape, [3, 8, 8]);
    assert_eq!(dataset.test().labels, [0, 0, 1, 1]);
    assert_eq!(dataset.test().image(1)[0], 9);
    let second = dataset.train.image(1);
    assert_eq!((second[0], second[64], second[128]), (1, 0, 254));
    assert_eq!(
        told.all(),
        "Images are brought to 8×8 pixels (--image-size); the shorter sides of their files have 7 in the median.\ndecoding 20"
    );
    // Limits keep classes.
    let limited = DataSettings {
        limit: 5,
        test_limit: 2,
        ..settings(root.path())
    };
    let limited = loaded(limited).0.unwrap();
    assert_eq!(limited.train.labels, [0, 0, 0, 1, 1]);
    assert_eq!(limited.test().labels, [0, 1]);
    let error = refused(DataSettings {
        test_limit: 1,
        ..settings(root.path())
    });
    assert!(
        error.contains("class dog has no test image with --test-limit 1"),
        "{error}"
    );
}

#[test]
fn parts_are_known_by_their_names_and_their_use_is_told() {
    let cases = [
        (["train", "test"], (6, 4), ""),
        (["Train", "TEST"], (6, 4), ""),
        (["train", "val"], (6, 4), "val tests"),
        (["valid", "test"], (6, 4), "valid trains and test tests"),
    ];
    for (parts, counts, note) in cases {
        let root = tempfile::tempdir().unwrap();
        classes(&root.path().join(parts[0]), 3, 0);
        classes(&root.path().join(parts[1]), 2, 50);
        let (dataset, told) = loaded(settings(root.path()));
        let dataset = dataset.unwrap();
        assert_eq!((dataset.train.len(), dataset.test().len()), counts);
        assert!(told.has(note), "{}", told.all());
    }
    let root = tempfile::tempdir().unwrap();
    for (part, first) in [("train", 0), ("test", 30), ("val", 60)] {
        classes(&root.path().join(part), 3, first);
    }
    assert!(loaded(settings(root.path())).1.has("val is not used"));
    // A flat folder, beside one that is called after a part.
    let root = tempfile::tempdir().unwrap();
    for name in ["train/cat.0.png", "train/dog.0.png", "test1/1.png"] {
        write(&root.path().join(name), 7);
    }
    let error = refused(settings(root.path()));
    assert!(
        error.contains("no folder of a class") && error.contains("train/cat and train/dog"),
        "{error}"
    );
}

#[test]
fn what_systems_leave_is_passed_over_and_all_else_that_is_no_image_is_named_at_once() {
    let root = tempfile::tempdir().unwrap();
    classes(root.path(), 5, 0);
    for name in [
        ".DS_Store",
        "cat/Thumbs.db",
        "cat/._0.png",
        "__MACOSX/cat/._0.png",
        "dog/desktop.ini",
    ] {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"whatever").unwrap();
    }
    write(&root.path().join("dog/more/9.png"), 77);
    let (dataset, told) = loaded(settings(root.path()));
    assert_eq!(dataset.unwrap().train.labels, [0, 0, 0, 0, 1, 1, 1, 1, 1]);
    assert!(
        told.has("sub-folders of classes are read") && told.has("dog/more"),
        "{}",
        told.all()
    );
    fs::write(root.path().join("cat/README.txt"), b"what these are\n").unwrap();
    fs::write(root.path().join("dog/7.jpg"), b"<html>no such page</html>").unwrap();
    let error = refused(settings(root.path()));
    for part in [
        "2 files",
        "README.txt cannot be used: it is a text",
        "7.jpg cannot be used: it is a web page",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles_and_sockets_and_broken_links_are_refused() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let (there, linked) = (root.path().join("there"), root.path().join("linked"));
    classes(&there, 5, 0);
    fs::create_dir(&linked).unwrap();
    symlink(there.join("cat"), linked.join("cat")).unwrap();
    symlink(there.join("dog"), linked.join("dog")).unwrap();
    symlink("..", there.join("dog/up")).unwrap();
    let (dataset, told) = loaded(settings(&linked));
    assert_eq!(dataset.unwrap().train.len(), 8);
    assert!(
        told.has("Not followed") && told.has("dog/up"),
        "{}",
        told.all()
    );
    symlink("nowhere", there.join("cat/x.png")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(there.join("cat/y.png")).unwrap();
    let error = refused(settings(&linked));
    assert!(
        error.contains("a link to nowhere") && error.contains("it is a socket"),
        "{error}"
    );
}

#[test]
fn folders_that_cannot_be_learnt_from_are_refused() {
    let root = tempfile::tempdir().unwrap();
    assert!(refused(settings(root.path())).contains("at least two classes"));
    classes(&root.path().join("images"), 4, 0);
    assert!(refused(settings(root.path())).contains("give --path"));
    let images = root.path().join("images");
    let error = refused(settings(&images));
    assert!(
        error.contains("cat") && error.contains("no image is left for testing"),
        "{error}"
    );
    fs::create_dir(images.join("owl")).unwrap();
    assert!(refused(settings(&images)).contains("owl cannot be used: this class has no image"));
    fs::remove_dir(images.join("owl")).unwrap();
    for image in 4..7 {
        write(&images.join(format!("cat/{image}.png")), image);
    }
    for image in 0..7 {
        write(&images.join(format!("dog/{image}.png")), 50);
    }
    let error = refused(settings(&images));
    assert!(
        error.contains("all 6 training images of class dog are equal"),
        "{error}"
    );
    for image in 0..7 {
        write(&images.join(format!("dog/{image}.png")), 50 + image / 2);
    }
    // Images 0 and 1, 2 and 3, 4 and 5 are equal; 4 tests.
    let (dataset, told) = loaded(settings(&images));
    assert!(
        dataset.is_ok() && told.has("1 of 2 test images are training images too"),
        "{}",
        told.all()
    );
}

#[test]
fn a_table_says_what_is_where() {
    let root = tempfile::tempdir().unwrap();
    let table = root.path().join("labels.csv");
    let csv = || DataSettings {
        dataset: DatasetKind::Csv,
        ..settings(&table)
    };
    classes(&root.path().join("all"), 6, 0);
    let mut text = "\u{FEFF}label,path,part,author\n".to_string();
    for image in 0..6 {
        let part = if image < 4 { "train" } else { "test" };
        text += &format!("10,all/cat/{image}.png,{part},x\n9,all/dog/{image}.png,{part},y\n");
    }
    fs::write(&table, &text).unwrap();
    let (dataset, told) = loaded(csv());
    let dataset = dataset.unwrap();
    assert_eq!(dataset.classes, ["9", "10"]);
    assert_eq!((dataset.train.len(), dataset.test().len()), (8, 4));
    assert_eq!(dataset.train.image(0)[0], 100);
    assert!(told.has("not used: author"), "{}", told.all());
    fs::write(&table, text.replace(",part", ",notes")).unwrap();
    assert_eq!(loaded(csv()).0.unwrap().test().labels, [0, 1]);
    for (from, to, wanted) in [
        ("all/dog/2.png", "all/dog/none.png", "line 7 of the table"),
        (
            "all/dog/2.png",
            "all/dog/1.png",
            "lines 5 and 7 name the same file",
        ),
        ("9,all/dog/2.png", ",all/dog/2.png", "line 7 has no label"),
        (
            "path,part",
            "x,part",
            "does not name the columns path and label",
        ),
        ("test,y", "later,y", "line 11 has the part `later`"),
        ("test,y", "y", "line 11 has another number of columns"),
    ] {
        fs::write(&table, text.replacen(from, to, 1)).unwrap();
        let error = refused(csv());
        assert!(error.contains(wanted), "{error}");
    }
}
