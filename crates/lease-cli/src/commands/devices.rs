//! `lease devices`: what `--device` can name.

use lease::Error;
use lease::device::{Limits, Listed, listing};
use lease::memory;

use crate::Ended;
use crate::terminal;

/// List the devices that this build can use on this machine, with memory and limits as their drivers tell.
#[derive(clap::Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Ended, Error> {
    let all = listing();
    if arguments.json {
        terminal::result(serde_json::to_value(&all).unwrap_or_default());
        return Ok(Ended::Well);
    }
    for device in &all.devices {
        terminal::result(format_args!("{:8} {}", device.name, device.what));
        terminal::result(format_args!("{:8} {}", "", measures(device)));
        if let Some(limits) = &device.limits {
            terminal::result(format_args!("{:8} {}", "", bounds(limits)));
        }
    }
    for kind in &all.absent {
        terminal::result(format_args!(
            "{:8} none ({}): {}",
            kind.kind, kind.about, kind.reason
        ));
    }
    Ok(Ended::Well)
}

fn measures(device: &Listed) -> String {
    let memory = match device.memory {
        Some(bytes) => format!("{} of memory", memory::told(bytes)),
        None => "memory is not told".into(),
    };
    let precision = if device.f64 { "f64 and f32" } else { "f32" };
    format!("{memory}; computes in {precision}")
}

fn bounds(limits: &Limits) -> String {
    let (fewest, most) = limits.subgroup;
    let subgroup = if fewest == most {
        format!("{most}")
    } else {
        format!("{fewest} to {most}")
    };
    format!(
        "a tensor up to {}, an allocation up to {}; groups of {} threads, {subgroup} in step, {} shared",
        memory::told(limits.tensor),
        memory::told(limits.allocation),
        limits.group,
        kibibytes(limits.shared),
    )
}

fn kibibytes(bytes: u32) -> String {
    format!("{} KiB", bytes / 1024)
}
