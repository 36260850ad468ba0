//! What a run's configuration keeps of sections that the command at hand does not read.

use toml::Table;

/// A configuration with the sections that an earlier one has beside its own, such as those of the trainings of a `lease run`
/// whose search alone is gone on with. Their comments are kept where that is as simple as it looks.
pub fn with_others_of(earlier: &str, configuration: &str) -> String {
    let (Ok(there), Ok(here)) = (earlier.parse::<Table>(), configuration.parse::<Table>()) else {
        return configuration.into();
    };
    let others = there
        .into_iter()
        .filter(|(name, _)| !here.contains_key(name));
    let others: Table = others.collect();
    if others.is_empty() {
        return configuration.into();
    }
    let mut whole = here;
    whole.extend(others.clone());
    let chunks = sections(earlier).filter(|(name, _)| others.contains_key(*name));
    let mut text = configuration.trim_end().to_string();
    for (_, chunk) in chunks {
        text += "\n\n";
        text += chunk.trim_end();
    }
    text.push('\n');
    match text.parse::<Table>() {
        Ok(read) if read == whole => text,
        _ => format!("{}\n\n{others}", configuration.trim_end()),
    }
}

/// The sections of a text by their names, as far as lines tell.
fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let starts = text.match_indices("\n[").map(|(at, _)| at + 1);
    let first = text.starts_with('[').then_some(0);
    let starts: Vec<usize> = first.into_iter().chain(starts).collect();
    let ends = starts.clone().into_iter().skip(1).chain([text.len()]);
    let chunks: Vec<&str> = starts
        .iter()
        .zip(ends)
        .map(|(from, to)| &text[*from..to])
        .collect();
    chunks.into_iter().filter_map(|chunk| {
        let (name, _) = chunk.strip_prefix('[')?.split_once(']')?;
        Some((name.trim(), chunk))
    })
}

#[cfg(test)]
mod tests {
    use super::with_others_of;

    #[test]
    fn sections_of_other_commands_are_kept_with_their_comments() {
        let earlier = "[search]\nepochs = 1\n\n[train]\n# Cells.\ncells = 5\n\n[baseline]\nn = 2\n";
        let kept = with_others_of(earlier, "[search]\nepochs = 2\n");
        assert_eq!(kept, earlier.replace("epochs = 1", "epochs = 2"));
        assert_eq!(with_others_of(earlier, &kept), kept);
        // Written in other ways, or not there, or broken.
        let odd = "train = { cells = 5 }\n[search]\nepochs = 1\n";
        let kept = with_others_of(odd, "[search]\nepochs = 2\n");
        let read: toml::Table = kept.parse().unwrap();
        assert_eq!(read["train"]["cells"].as_integer(), Some(5));
        assert_eq!(with_others_of("", "[a]\n"), "[a]\n");
        assert_eq!(with_others_of("[[", "[a]\n"), "[a]\n");
    }
}
