use std::fs;
use std::path::{Path, PathBuf};

use super::{loaded, settings, write};
use crate::data::DataSettings;

fn only(folder: &Path) -> PathBuf {
    let mut files = folder.read_dir().unwrap();
    let only = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    only
}

#[test]
fn a_second_run_takes_decoded_images_from_the_disk_unless_files_or_they_have_changed() {
    let root = tempfile::tempdir().unwrap();
    let (images, cache) = (root.path().join("images"), root.path().join("cache"));
    for image in 0..5 {
        write(&images.join(format!("cat/{image}.png")), image);
        write(&images.join(format!("dog/{image}.png")), 90 + image);
    }
    let kept = || DataSettings {
        cache: cache.to_str().unwrap().into(),
        ..settings(&images)
    };
    // The digest and the number of files decoded.
    let read = |settings| {
        let (dataset, told) = loaded(settings);
        let dataset = dataset.unwrap();
        (
            dataset.whole_digest(),
            dataset.normalisation.clone(),
            told.has("decoding 10"),
        )
    };
    let (digest, normalisation, _) = read(settings(&images));
    assert_eq!(read(kept()), (digest.clone(), normalisation.clone(), true));
    assert_eq!(read(kept()), (digest.clone(), normalisation.clone(), false));
    // Damaged anywhere, or cut off.
    let file = only(&cache);
    let whole = fs::read(&file).unwrap();
    for place in [3, 100, whole.len() - 200, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert_eq!(
            read(kept()),
            (digest.clone(), normalisation.clone(), true),
            "{place}"
        );
    }
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(read(kept()).2);
    // Another image.
    write(&images.join("cat/0.png"), 55);
    let (changed, _, decoded) = read(kept());
    assert!(decoded && changed != digest);
    assert_eq!(only(&cache), file);
    // What is left over when writing fails is nothing.
    fs::write(images.join("cat/1.png"), b"no image").unwrap();
    assert!(loaded(kept()).0.is_err());
    assert_eq!(only(&cache), file);
}

#[test]
fn grey_images_have_one_channel_kept_or_not() {
    let root = tempfile::tempdir().unwrap();
    for image in 0..10u8 {
        let folder = root.path().join(format!("images/{}", image % 2));
        fs::create_dir_all(&folder).unwrap();
        let grey =
            image::GrayImage::from_fn(9, 7, |x, y| image::Luma([image * 20 + (x * y) as u8]));
        grey.save(folder.join(format!("{image}.png"))).unwrap();
    }
    let settings = settings(&root.path().join("images"));
    let kept = DataSettings {
        cache: root.path().join("cache").to_str().unwrap().into(),
        ..settings.clone()
    };
    let read = |settings| loaded(settings).0.unwrap();
    let (plain, first, second) = (read(settings), read(kept.clone()), read(kept));
    assert_eq!(plain.train.shape, [1, 8, 8]);
    for other in [first, second] {
        assert!(other.train.iter().eq(plain.train.iter()));
        assert_eq!(other.whole_digest(), plain.whole_digest());
        assert_eq!(other.normalisation, plain.normalisation);
    }
}
