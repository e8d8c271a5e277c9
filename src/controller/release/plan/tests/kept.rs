//! A revision that comes back: its pods are made from the snapshot that was kept, so status names that one.

use super::sim::Sim;
use super::world::{self, release};
use crate::controller::read::Referred;
use crate::controller::release::revision::Snapshot;

/// The same content as v1 once more, under another name and in another directory.
fn same_content_again(sim: &mut Sim, name: &str) {
    let Referred::Here(index) = &mut sim.index else { panic!("no index") };
    let mut version = world::version(name, "Ready", false);
    version["contentDigest"] = "content-v1".into();
    index.status.get_or_insert_default().versions.push(serde_json::from_value(version).unwrap());
}

#[test]
fn status_names_the_version_whose_directory_the_pods_read() {
    let mut sim = Sim::serving(release(&[], &[(100, "0s")]));
    let first = sim.stable();
    sim.version_ready("v2");
    sim.settle();
    assert_ne!(sim.stable(), first);
    same_content_again(&mut sim, "v3");
    sim.settle();
    assert_eq!(sim.stable(), first);
    let kept = sim.snapshots.iter().filter_map(Snapshot::read).find(|s| s.revision == first).unwrap();
    assert_eq!(kept.physical, "docs-v1");
    assert_eq!(sim.status().stable.unwrap().version, kept.version_text());
}

#[test]
fn a_revision_whose_snapshot_is_gone_is_made_anew() {
    let mut sim = Sim::serving(release(&[], &[(100, "0s")]));
    let first = sim.stable();
    sim.version_ready("v2");
    sim.settle();
    sim.advance(73 * 3600);
    sim.settle();
    assert!(sim.snapshots.iter().filter_map(Snapshot::read).all(|s| s.revision != first), "the window has ended");
    same_content_again(&mut sim, "v3");
    sim.settle();
    assert_eq!(sim.stable(), first);
    assert_eq!(sim.status().stable.unwrap().version, "docs/v3");
}
