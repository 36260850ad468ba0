//! Settings: where they come from, what they may be, and what a result depends on.

use lease::config::{Composite, Layers, Section};
use lease::data::{DataSettings, DatasetKind};
use lease::search::{SearchConfig, preset, presets};
use lease::space;
use lease::study::ComparisonConfig;
use lease::training::TrainConfig;

fn layers<C: Composite>(pairs: &[(&str, &str)]) -> Result<Layers, lease::Error> {
    let flags: Vec<(String, String)> = pairs
        .iter()
        .map(|(a, b)| (a.to_string(), b.to_string()))
        .collect();
    Ok(Layers::read(
        None,
        &flags,
        &C::scope(),
        &ComparisonConfig::scope(),
    )?)
}

fn resolved<C: Composite>(pairs: &[(&str, &str)]) -> Result<C, lease::Error> {
    let layers = layers::<C>(pairs)?;
    Ok(C::resolve(&presets(&layers)?, &layers)?)
}

fn refused(pairs: &[(&str, &str)]) -> String {
    resolved::<SearchConfig>(pairs).unwrap_err().to_string()
}

fn parsed(text: &str) -> Result<SearchConfig, lease::Error> {
    Ok(SearchConfig::parse(
        text,
        "my.toml",
        &ComparisonConfig::scope(),
    )?)
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_preset() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[explainer]\nchannels = 6\ncells = 5\n").unwrap();
    let flags = [("cells", "4"), ("dataset", "digits")].map(|(a, b)| (a.into(), b.into()));
    let scope = SearchConfig::scope();
    let layers = Layers::read(Some(file.path()), &flags, &scope, &[]).unwrap();
    let config = SearchConfig::resolve(&presets(&layers).unwrap(), &layers).unwrap();
    assert_eq!((config.explainer.channels, config.explainer.cells), (6, 4));
    assert!(
        config.to_toml().contains("nodes = 3"),
        "from the digits' preset"
    );
}

#[test]
fn every_space_has_usable_defaults_on_every_data_set() {
    for space in space::names() {
        for dataset in DataSettings::INFO.settings[0].choices.words() {
            let mut all = vec![("space", space), ("dataset", dataset)];
            if ["cifar10", "cifar100", "folder", "csv"].contains(&dataset) {
                all.push(("path", "x"));
            }
            resolved::<ComparisonConfig>(&all).unwrap();
        }
    }
    let of = |space: &str, dataset: &str, all: [&str; 3]| {
        all.map(|epochs| {
            let all = [("space", space), ("dataset", dataset), ("epochs", epochs)];
            resolved::<SearchConfig>(&all).unwrap().search.warmup_epochs
        })
    };
    assert_eq!(of("p-darts", "digits", ["25", "10", "6"]), [10, 4, 2]);
    assert_eq!(of("darts", "cluttered-digits", ["6", "2", "1"]), [2, 0, 0]);
}

#[test]
fn presets_set_nothing_but_settings() {
    let texts = space::spaces().flat_map(|space| [space.preset, space.recipe]);
    let of_data = [
        DatasetKind::Digits,
        DatasetKind::ClutteredDigits,
        DatasetKind::Shapes,
    ]
    .map(DatasetKind::preset);
    for text in texts.chain(of_data) {
        Layers::parse(text, "the preset", &ComparisonConfig::scope(), &[]).unwrap();
    }
}

#[test]
fn a_written_configuration_reads_back_the_same() {
    for space in space::names() {
        let all = [("space", space), ("dataset", "cifar10"), ("path", "a b")];
        let config = resolved::<ComparisonConfig>(&all).unwrap();
        let again = ComparisonConfig::parse(&config.to_toml(), "test", &[]).unwrap();
        assert_eq!(again.table(), config.table());
    }
}

#[test]
fn a_command_reads_its_own_sections_and_a_space_its_own_settings() {
    let told = resolved::<TrainConfig>(&[("gamma", "2")]).unwrap_err();
    assert!(told.to_string().contains("no such setting"), "{told}");
    let told = refused(&[("space", "darts"), ("stage-cells", "3")]);
    assert_eq!(
        told,
        "--stage-cells is not read here: it is a setting of --space p-darts, and this is darts"
    );
    let config = resolved::<SearchConfig>(&[("space", "darts"), ("nodes", "2")]).unwrap();
    let text = config.to_toml();
    assert!(text.contains("nodes = 2") && !text.contains("stage_cells"));
    // PC-DARTS's form of the space sets what every space reads.
    let partial = |pairs: &[_]| resolved::<SearchConfig>(pairs).unwrap().explainer.partial;
    let space = ("space", "nas-bench-201");
    assert_eq!(partial(&[("space", "pc-darts")]), 4);
    assert_eq!(
        [partial(&[space]), partial(&[space, ("partial", "2")])],
        [1, 2]
    );
    let old = parsed("[pc_darts]\npartial = 4\n").unwrap_err().to_string();
    let advice = "no section [pc_darts]; the setting `partial` belongs under [explainer]";
    assert!(old.contains(advice), "{old}");
    // A file may have more than one command reads.
    let both = "[train]\nepochs = 3\n[search]\nepochs = 4\n";
    assert_eq!(parsed(both).unwrap().search.epochs, 4);
}

#[test]
fn only_cluttered_digits_read_settings_of_the_clutter_and_a_canvas_must_have_room() {
    for told in [
        refused(&[("dataset", "digits"), ("clutter-side", "20")]),
        resolved::<TrainConfig>(&[("dataset", "digits"), ("clutter-side", "20")])
            .unwrap_err()
            .to_string(),
    ] {
        assert_eq!(
            told,
            "--clutter-side is not read here: it is a setting of --dataset cluttered-digits, and this is digits"
        );
    }
    let side = |side, fragments| [("clutter-side", side), ("clutter-fragments", fragments)];
    let told = refused(&side("16", "1"));
    assert!(
        told.starts_with("clutter.side = 16 (flag --clutter-side) cannot be used")
            && told.contains("at least 17 pixels, or --clutter-fragments 0"),
        "{told}"
    );
    assert!(refused(&side("129", "0")).contains("from 8 to 128"));
    for fits in [side("8", "0"), side("17", "1")] {
        let config = resolved::<SearchConfig>(&fits).unwrap();
        let text = config.to_toml();
        assert!(text.contains("[clutter]") && parsed(&text).unwrap().table() == config.table());
    }
    let plain = resolved::<SearchConfig>(&[("dataset", "digits")]).unwrap();
    assert!(!plain.to_toml().contains("[clutter]"));
}

#[test]
fn mistakes_are_told_with_their_place_all_at_once() {
    assert_eq!(
        refused(&[("epochs", "many")]),
        "`many` is no value for --epochs (a whole number of at least 0 is needed)"
    );
    assert!(refused(&[("epochs", "0")]).contains("search.epochs = 0 (flag --epochs)"));
    assert!(refused(&[("method", "magic")]).contains("lease, darts, darts-first"));
    let both = refused(&[("epochs", "0"), ("momentum", "1")]);
    assert!(both.starts_with("2 settings cannot be used") && both.contains("momentum = 1"));
    let told = |text: &str| parsed(text).unwrap_err().to_string();
    let unknown = told("[search]\nbatch = 9\nepoch = 3\n");
    assert!(
        unknown.starts_with("my.toml is not") && unknown.contains("line 3"),
        "{unknown}"
    );
    assert!(unknown.contains("did you mean `epochs`?"), "{unknown}");
    assert!(told("[search]\ngamma = 1\n").contains("belongs under [method]"));
    assert!(told("epochs = 3\n").contains("belongs under [search]"));
    let two = told("[search]\nepochs = -1\nclip = \"a\"\n");
    assert!(two.contains("line 2") && two.contains("line 3"), "{two}");
}

#[test]
fn sizes_without_bound_name_the_setting_and_the_limit() {
    for (flag, limit) in [
        ("channels", "4096"),
        ("cells", "256"),
        ("nodes", "12"),
        ("batch", "65536"),
        ("threads", "1024"),
        ("image-size", "1024"),
    ] {
        for value in [
            "4294967295",
            "18446744073709551615",
            "99999999999999999999999",
        ] {
            let told = refused(&[(flag, value)]);
            assert!(told.contains(&format!("--{flag}")), "{told}");
            let bounded = told.contains(limit) || told.contains("largest number");
            assert!(bounded, "{told}");
        }
    }
    let told = parsed("[run]\nseed = 99999999999999999999\n").unwrap_err();
    assert!(told.to_string().contains("line 2"), "{told}");
}

#[test]
fn a_result_does_not_depend_on_where_and_with_how_many_threads_it_was_computed() {
    let identity = |pairs: &[(&str, &str)]| resolved::<SearchConfig>(pairs).unwrap().identity();
    let cifar = ("dataset", "cifar10");
    let free = [
        cifar,
        ("path", "a"),
        ("threads", "1"),
        ("checkpoint-seconds", "1"),
    ];
    let other = [
        cifar,
        ("path", "b"),
        ("threads", "2"),
        ("checkpoint-seconds", "9"),
    ];
    assert_eq!(identity(&free), identity(&other));
    assert_ne!(identity(&[]), identity(&[("gamma", "2")]));
    assert_ne!(identity(&[]), identity(&[("seed", "2")]));
}

#[test]
fn every_preset_is_read_whole_and_on_another_space_too() {
    for name in preset::names() {
        let config: SearchConfig = resolved(&[("preset", name)]).unwrap();
        let values = config.table();
        for (section, settings) in config.preset.values().unwrap() {
            for (key, value) in settings.as_table().unwrap() {
                assert_eq!(values[&section][key], *value, "{name}: {section}.{key}");
            }
        }
        let other = [
            ("preset", name),
            ("space", "nas-bench-201"),
            ("epochs", "3"),
        ];
        resolved::<SearchConfig>(&other).unwrap();
    }
}

#[test]
fn images_of_files_are_brought_to_a_size_that_fits_theirs_unless_one_is_given() {
    let of = |sides: [u32; 2], given: Option<&str>| {
        let root = tempfile::tempdir().unwrap();
        for number in 0..10 {
            let class = root.path().join(["a", "b"][number % 2]);
            std::fs::create_dir_all(&class).unwrap();
            let image = image::RgbImage::new(sides[0] + number as u32, sides[1]);
            image.save(class.join(format!("{number}.png"))).unwrap();
        }
        let mut all = vec![
            ("dataset", "folder"),
            ("path", root.path().to_str().unwrap()),
        ];
        all.extend(given.map(|size| ("image-size", size)));
        let config = resolved::<SearchConfig>(&all).unwrap();
        let images = &config.data.images;
        (images.image_size.to_string(), images.framing)
    };
    use lease::data::Framing::{Crop, Stretch};
    let told = |size: &str, framing| (size.to_string(), framing);
    assert_eq!(of([90, 47], None), told("32", Stretch));
    assert_eq!(of([300, 48], None), told("64", Stretch));
    assert_eq!(of([640, 427], Some("auto")), told("96", Crop));
    assert_eq!(of([640, 427], Some("48")), told("48", Stretch));
}
