//! The operator's role against the apiserver's audit log: nothing was forbidden, and no right lies unused.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

use crate::bench::Bench;
use crate::demo::audit;
use crate::demo::data::manifest;
use crate::demo::objects::documents;

/// A right: API group, resource with subresource, verb.
type Right = (String, String, String);

/// Every request of the whole suite against the role.
pub async fn the_role_is_exact(bench: &Bench) -> Result<()> {
    let cluster = bench.operator().await?;
    ensure!(bench.all_but_one_ran(), "this case judges the whole suite: run it without a filter");
    let log = cluster.audit.as_deref().context("the audit log can only be read on the project's own cluster")?;
    let entries = audit::since(log, bench.audit_mark().context("no place in the audit log")?)?;
    let mut used: BTreeSet<Right> = BTreeSet::new();
    let mut forbidden: BTreeSet<String> = BTreeSet::new();
    for entry in entries.iter().filter(|e| e.by_operator()) {
        let Some(object) = &entry.object_ref else { continue };
        let resource = if object.subresource.is_empty() {
            object.resource.clone()
        } else {
            format!("{}/{}", object.resource, object.subresource)
        };
        if entry.forbidden() {
            forbidden.insert(format!("{} {}", entry.verb, entry.uri));
        } else {
            // An apply that makes the object is logged as a patch, and needs both rights.
            if entry.verb == "patch" && entry.code() == 201 {
                used.insert((object.api_group.clone(), resource.clone(), "create".to_owned()));
            }
            used.insert((object.api_group.clone(), resource, entry.verb.clone()));
        }
    }
    ensure!(forbidden.is_empty(), "forbidden requests: {forbidden:#?}");
    ensure!(!used.is_empty(), "the audit log holds no request of the operator");
    let unused: Vec<String> = granted()?
        .into_iter()
        .filter(|rule| {
            !rule.resources.iter().any(|r| used.contains(&(rule.group.clone(), r.clone(), rule.verb.clone())))
        })
        .filter(|rule| !UNSEEN.contains(&(rule.verb.as_str(), rule.resources.concat().as_str())))
        .map(|rule| format!("{} of {:?} in {:?}", rule.verb, rule.resources, rule.group))
        .collect();
    ensure!(unused.is_empty(), "rights that nothing used: {unused:#?}");
    Ok(())
}

/// Rights whose use no run can be made to show. A creation whose reply was lost is read back: that takes a
/// fault of the network at one moment.
const UNSEEN: [(&str, &str); 1] = [("get", "controllerrevisions")];

/// One verb of one rule: used when it is used of any of the rule's resources.
struct Granted {
    group: String,
    resources: Vec<String>,
    verb: String,
}

/// The rules of dev/install/2-role.yaml, but for `*/finalizers`: clusters that check owner references ask for it
/// when others are written, and no request ever shows it.
fn granted() -> Result<Vec<Granted>> {
    let role = documents(&manifest("dev/install/2-role.yaml")?)?
        .into_iter()
        .find(|d| d["kind"] == "ClusterRole")
        .context("no ClusterRole")?;
    let words = |rule: &serde_json::Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|w| w.as_str().map(str::to_owned)).collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().context("no rules")? {
        let resources: Vec<String> =
            words(rule, "resources").into_iter().filter(|r| !r.ends_with("/finalizers")).collect();
        if resources.is_empty() {
            continue;
        }
        for group in words(rule, "apiGroups") {
            for verb in words(rule, "verbs") {
                rights.push(Granted { group: group.clone(), resources: resources.clone(), verb });
            }
        }
    }
    Ok(rights)
}
