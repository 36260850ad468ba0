//! A folder of images with one sub-folder per class.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use super::listing::{Item, Listing, Walk, entries, metadata};
use super::{DataError, Watch, counted, masks, parts};

/// What a part is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Train,
    Test,
    Validation,
}

/// What is said of a part by the folder's name, in any case.
fn role(name: &str) -> Option<Role> {
    match name.to_lowercase().as_str() {
        "train" | "training" => Some(Role::Train),
        "test" | "testing" => Some(Role::Test),
        "val" | "valid" | "validation" => Some(Role::Validation),
        _ => None,
    }
}

/// Whether a folder is called as a part is, with a number or so behind.
fn is_like_a_part(name: &str) -> bool {
    role(name.trim_end_matches(|c: char| c.is_ascii_digit() || "_- ".contains(c))).is_some()
}

/// A sub-folder and its name.
struct Folder {
    path: PathBuf,
    name: String,
}

fn invalid(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::Invalid {
        path: path.into(),
        reason: reason.into(),
    }
}

/// The files of a folder: of `train/CLASS` and `test/CLASS` where both or what stands for them are there; else of `CLASS`, of
/// which every fifth file of each class (in the order of their names) is a test image.
pub(super) fn list(path: &Path, watch: &dyn Watch) -> Result<Listing, DataError> {
    if !path.is_dir() {
        let advice = match path.is_file() {
            true => "a folder is needed; a file that lists images is --dataset csv",
            false => "--path must be a folder with one sub-folder of images for each class",
        };
        return Err(DataError::Missing {
            path: path.into(),
            advice: advice.into(),
        });
    }
    let (folders, files) = inside(path)?;
    let Some([train, test]) = parts_of(path, &folders, watch)? else {
        let one_part = match folders.as_slice() {
            [only] => role(&only.name) == Some(Role::Train),
            _ => false,
        };
        let root = if one_part { &folders[0].path } else { path };
        return without_parts(root, one_part, watch);
    };
    beside(&files, path, watch);
    let used = [&train.path, &test.path];
    let unused: Vec<&str> = folders
        .iter()
        .filter(|f| !used.contains(&&f.path) && role(&f.name).is_none())
        .filter(|f| f.name != masks::FOLDER)
        .map(|f| f.name.as_str())
        .collect();
    if !unused.is_empty() {
        watch.note(&format!(
            "Not used, beside the parts: {}.",
            unused.join(", ")
        ));
    }
    let classes = classes(&train.path)?;
    let tested = matched(&classes, &test.path)?;
    let mut listing = Listing::default();
    let mut walk = Walk::default();
    listing.train = files_of(&classes, &mut walk)?;
    listing.test = files_of(&tested, &mut walk)?;
    listing.classes = classes.into_iter().map(|class| class.name).collect();
    told(&mut listing, walk, path, watch);
    Ok(listing)
}

/// A folder of classes of which every fifth file tests.
fn without_parts(root: &Path, part: bool, watch: &dyn Watch) -> Result<Listing, DataError> {
    let classes = classes(root)?;
    beside(&inside(root)?.1, root, watch);
    let mut walk = Walk::default();
    let items = files_of(&classes, &mut walk)?;
    let labels: Vec<u16> = items.iter().map(|item| item.label).collect();
    let mut tests = vec![false; items.len()];
    for image in parts::every_fifth(&labels, classes.len()) {
        tests[image as usize] = true;
    }
    let mut listing = Listing::default();
    for (item, tests) in items.into_iter().zip(tests) {
        if tests {
            &mut listing.test
        } else {
            &mut listing.train
        }
        .push(item);
    }
    let counts = parts::counts(&labels, classes.len());
    // Where files cannot be read, that comes first.
    if let Some(class) = (0..classes.len()).find(|class| counts[*class] < 5)
        && walk.troubles.is_empty()
    {
        return Err(invalid(
            &classes[class].path,
            format!(
                "this class has {}, and no image is left for testing: without a test part every fifth image of each class \
                 tests, so it needs at least five; add some, or make train and test folders",
                counted(counts[class], "image")
            ),
        ));
    }
    if part {
        watch.note("There is no test folder: every fifth image of each class in train tests.");
    }
    listing.classes = classes.into_iter().map(|class| class.name).collect();
    told(&mut listing, walk, root, watch);
    Ok(listing)
}

/// The sub-folders of a folder, with their names, and its files.
fn inside(path: &Path) -> Result<(Vec<Folder>, Vec<PathBuf>), DataError> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in entries(path)? {
        if !entry.is_dir() {
            files.push(entry);
            continue;
        }
        let Some(name) = entry.file_name().and_then(|name| name.to_str()) else {
            let reason = "its name, which is the class, is no UTF-8; rename it";
            return Err(invalid(&entry, reason));
        };
        // The same name can be written in two ways, with accents of their own or not.
        let name = name.nfc().collect();
        folders.push(Folder { path: entry, name });
    }
    Ok((folders, files))
}

/// Whether a file is called as images are.
fn is_called_an_image(file: &Path) -> bool {
    const ENDINGS: [&str; 12] = [
        "png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "avif", "heic", "heif", "jfif",
    ];
    let ending = file.extension().unwrap_or_default().to_string_lossy();
    ENDINGS.contains(&ending.to_lowercase().as_str())
}

/// Tells of images that lie beside the folders of classes or parts.
fn beside(files: &[PathBuf], path: &Path, watch: &dyn Watch) {
    let images = files.iter().filter(|file| is_called_an_image(file)).count();
    if images > 0 {
        watch.warn(&format!(
            "Not used: {} in {} beside the folders, in that of no class.",
            counted(images, "image"),
            path.display()
        ));
    }
}

/// The training and the test part, told where that is not plain; nothing if the sub-folders are classes.
fn parts_of<'a>(
    path: &Path,
    folders: &'a [Folder],
    watch: &dyn Watch,
) -> Result<Option<[&'a Folder; 2]>, DataError> {
    let of = |wanted| -> Result<Option<&'a Folder>, DataError> {
        let mut found = folders.iter().filter(|f| role(&f.name) == Some(wanted));
        match (found.next(), found.next()) {
            (Some(one), Some(two)) => {
                let reason = format!(
                    "it has both {} and {}; rename or remove one",
                    one.name, two.name
                );
                Err(invalid(path, reason))
            }
            (found, _) => Ok(found),
        }
    };
    let named: Vec<&str> = folders.iter().map(|f| f.name.as_str()).collect();
    let roles = named.iter().filter_map(|name| role(name)).count();
    if roles < 2 {
        let parts = "parts are called train and test (or val, valid), and have a folder for each class: train/cat, \
                     train/dog, test/cat, test/dog";
        let alone = roles == 1 && folders.len() == 1;
        if alone && role(&folders[0].name) != Some(Role::Train) {
            let reason = format!("it has {} and no train; {parts}", named[0]);
            return Err(invalid(path, reason));
        }
        if folders.len() > 1 && named.iter().all(|name| is_like_a_part(name)) {
            for folder in folders.iter().rev() {
                has_classes(&folder.path)?;
            }
            let named = named.join(", ");
            let reason =
                format!("its folders {named} are called like parts, not like classes; {parts}");
            return Err(invalid(path, reason));
        }
        if let Some(part) = named.iter().find(|name| role(name).is_some() && !alone) {
            watch.note(&format!(
                "{part} is read as a class, as the other folders are."
            ));
        }
        return Ok(None);
    }
    let parts = [of(Role::Train)?, of(Role::Test)?, of(Role::Validation)?];
    let pair = match parts {
        [Some(train), Some(test), validation] => {
            if let Some(validation) = validation {
                watch.note(&format!(
                    "{} trains and {} tests; {} is not used: validation images are taken from {}.",
                    train.name, test.name, validation.name, train.name
                ));
            }
            [train, test]
        }
        [Some(train), None, Some(validation)] => {
            watch.note(&format!(
                "{} trains and {} tests: it is read once, after training; validation images are taken from {}.",
                train.name, validation.name, train.name
            ));
            [train, validation]
        }
        [None, Some(test), Some(validation)] => {
            watch.note(&format!(
                "There is no train: {} trains and {} tests.",
                validation.name, test.name
            ));
            [validation, test]
        }
        _ => return Ok(None),
    };
    for part in pair {
        has_classes(&part.path)?;
    }
    Ok(Some(pair))
}

/// Whether a part has folders of classes; an error that says what would be right if files lie there instead.
fn has_classes(part: &Path) -> Result<(), DataError> {
    let (folders, files) = inside(part)?;
    if !folders.is_empty() {
        return Ok(());
    }
    // As in `cat.0.png`, `dog_1.jpg`.
    let named: BTreeSet<String> = files
        .iter()
        .filter_map(|file| file.file_name()?.to_str())
        .map(|name| name.chars().take_while(|c| c.is_alphabetic()).collect())
        .filter(|name: &String| !name.is_empty())
        .collect();
    let name = part.file_name().unwrap_or_default().to_string_lossy();
    let example = match (2..=20).contains(&named.len()) {
        true => named.iter().take(2).cloned().collect(),
        false => vec!["cat".to_string(), "dog".into()],
    };
    Err(invalid(
        part,
        format!(
            "it holds {} and no folder of a class; put the images of each class into a folder of its own, such as \
             {name}/{} and {name}/{}, or list files and labels in a table (--dataset csv)",
            counted(files.len(), "file"),
            example[0],
            example[1]
        ),
    ))
}

/// The classes of a part: its sub-folders, two at least.
fn classes(path: &Path) -> Result<Vec<Folder>, DataError> {
    let (mut folders, _) = inside(path)?;
    if let [only] = folders.as_slice() {
        let (within, files) = inside(&only.path)?;
        if within.len() > 1 && files.iter().all(|file| !is_called_an_image(file)) {
            let reason = format!(
                "it has one sub-folder, {}, which has {} of its own; if those are the classes, give --path {}",
                only.name,
                within.len(),
                only.path.display()
            );
            return Err(invalid(path, reason));
        }
    }
    if folders.len() < 2 {
        let reason = format!(
            "it has {} sub-folders; at least two classes, each a sub-folder, are needed",
            folders.len()
        );
        return Err(invalid(path, reason));
    }
    if folders.len() > usize::from(u16::MAX) {
        let reason = format!("it has {} classes, too many", folders.len());
        return Err(invalid(path, reason));
    }
    folders.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(two) = folders.windows(2).find(|two| two[0].name == two[1].name) {
        let reason = format!(
            "two sub-folders are called {}, written in different ways; put them together",
            two[0].name
        );
        return Err(invalid(path, reason));
    }
    Ok(folders)
}

/// The folders of classes in the test part.
fn matched(classes: &[Folder], test: &Path) -> Result<Vec<Folder>, DataError> {
    let (mut folders, _) = inside(test)?;
    for folder in &folders {
        if classes.iter().any(|class| class.name == folder.name) {
            continue;
        }
        let alike = |class: &&Folder| class.name.to_lowercase() == folder.name.to_lowercase();
        let reason = match classes.iter().find(alike) {
            Some(class) => format!(
                "this class has test images but no training images; rename it, if it is {}",
                class.name
            ),
            None => "this class has test images but no training images".into(),
        };
        return Err(invalid(&folder.path, reason));
    }
    let mut tested = Vec::new();
    for class in classes {
        let Some(place) = folders.iter().position(|f| f.name == class.name) else {
            let reason = "this class has training images but no test images";
            return Err(invalid(&test.join(&class.name), reason));
        };
        tested.push(folders.swap_remove(place));
    }
    if let Some(twice) = folders.first() {
        let reason =
            "there is another folder of this name, written in another way; put them together";
        return Err(invalid(&twice.path, reason));
    }
    Ok(tested)
}

/// The files of classes, whose numbers are their labels.
fn files_of(classes: &[Folder], walk: &mut Walk) -> Result<Vec<Item>, DataError> {
    for (label, class) in (0..).zip(classes) {
        let (files, troubles) = (walk.items.len(), walk.troubles.len());
        metadata(&class.path)?;
        walk.class(&class.path, label);
        if walk.items.len() == files && walk.troubles.len() == troubles {
            return Err(invalid(&class.path, "this class has no image"));
        }
    }
    Ok(std::mem::take(&mut walk.items))
}

/// Tells what was found beside files.
fn told(listing: &mut Listing, walk: Walk, root: &Path, watch: &dyn Watch) {
    let named = |paths: &[PathBuf]| {
        let short = paths.iter().map(|p| p.strip_prefix(root).unwrap_or(p));
        let first: Vec<String> = short.take(3).map(|p| p.display().to_string()).collect();
        let more = if paths.len() > 3 { ", …" } else { "" };
        format!("{}{more}", first.join(", "))
    };
    if !walk.nested.is_empty() {
        watch.note(&format!(
            "Images in sub-folders of classes are read as their classes' own ({}).",
            named(&walk.nested)
        ));
    }
    if !walk.loops.is_empty() {
        watch.warn(&format!(
            "Not followed, since they lead back to a folder that they lie in: {}.",
            named(&walk.loops)
        ));
    }
    listing.troubles = walk.troubles;
}
