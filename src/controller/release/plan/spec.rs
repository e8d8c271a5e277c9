//! The spec of a release as a checked value: parsed once at the head of a plan, total afterwards.
//!
//! Invariant: what passes here is what the Gateway API takes too. A route that its rules refuse could not be written
//! at all, and its weights with it.

use std::time::Duration;

use crate::api::RagReleaseSpec;
use crate::api::release::{GatewayTraffic, OnInconclusive, ParentRef, Step};
use crate::controller::spec::{Invalid, duration, resources};

/// The fields of a spec that have rules of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    pub steps: Vec<Step>,
    pub min_requests: i64,
    pub on_inconclusive: OnInconclusive,
}

const MONTH: Duration = Duration::from_secs(720 * 3600);

impl Validated {
    /// Checks what CEL checks, for objects that predate a rule.
    pub fn parse(spec: &RagReleaseSpec) -> Result<Self, Invalid> {
        let rollout = &spec.rollout;
        match &spec.traffic.gateway {
            None => return Err(Invalid::new("spec.traffic.gateway", "is missing; name the Gateways in `parentRefs`")),
            Some(gateway) => place(gateway)?,
        }
        for (i, gate) in rollout.gates.iter().enumerate() {
            if rollout.gates.iter().take(i).any(|g| g.name == gate.name) {
                let field = format!("spec.rollout.gates[{i}].name");
                return Err(Invalid::new(field, format!("is `{}` again; each gate may be named once", gate.name)));
            }
        }
        if !(0..=1_000_000).contains(&rollout.min_requests) {
            let problem = format!("must be between 0 and 1000000; got {}", rollout.min_requests);
            return Err(Invalid::new("spec.rollout.minRequests", problem));
        }
        if !(1..=100).contains(&spec.serving.replicas) {
            let problem = format!("must be between 1 and 100; got {}", spec.serving.replicas);
            return Err(Invalid::new("spec.serving.replicas", problem));
        }
        resources("spec.serving.resources", spec.serving.resources.as_ref())?;
        let mut before = 0;
        for (i, step) in rollout.steps.iter().enumerate() {
            let field = format!("spec.rollout.steps[{i}].weight");
            if step.weight <= before || step.weight > 100 {
                let problem = format!("must be greater than {before} and at most 100; got {}", step.weight);
                return Err(Invalid::new(field, problem));
            }
            before = step.weight;
            duration(&format!("spec.rollout.steps[{i}].hold"), &step.hold, Duration::ZERO, MONTH)?;
        }
        if before != 100 {
            return Err(Invalid::new("spec.rollout.steps", format!("must end with weight 100; the last is {before}")));
        }
        let second = Duration::from_secs(1);
        duration("spec.rollout.progressDeadline", &rollout.progress_deadline, second, MONTH)?;
        duration("spec.rollback.window", &spec.rollback.window, Duration::ZERO, MONTH)?;
        Ok(Self {
            steps: rollout.steps.clone(),
            min_requests: rollout.min_requests,
            on_inconclusive: rollout.on_inconclusive,
        })
    }
}

/// Where a route stands, by the rules of the Gateway API's HTTPRoute.
pub fn place(gateway: &GatewayTraffic) -> Result<(), Invalid> {
    let field = |rest: &str| format!("spec.traffic.gateway.{rest}");
    if gateway.parent_refs.is_empty() {
        return Err(Invalid::new(field("parentRefs"), "is empty; name at least one Gateway"));
    }
    for (i, parent) in gateway.parent_refs.iter().enumerate() {
        listener(&field(&format!("parentRefs[{i}]")), parent)?;
        if gateway.parent_refs.iter().take(i).any(|other| !apart(other, parent)) {
            let problem = format!(
                "names Gateway {} again; give each reference to one Gateway a `sectionName` of its own, or remove one",
                parent.name
            );
            return Err(Invalid::new(field(&format!("parentRefs[{i}]")), problem));
        }
    }
    for (i, host) in gateway.hostnames.iter().enumerate() {
        if !is_host(host) {
            let problem = format!(
                "is `{host}`; write a DNS name in lower case without port or scheme, such as `search.example.com` or \
                 `*.example.com`"
            );
            return Err(Invalid::new(field(&format!("hostnames[{i}]")), problem));
        }
    }
    let path = &gateway.path_prefix;
    if !is_path(path) {
        let problem = format!(
            "is `{path}`; write a path that begins with `/`, of letters, digits and `-._~/`, without `//`, `/./` and \
             `/../`"
        );
        return Err(Invalid::new(field("pathPrefix"), problem));
    }
    Ok(())
}

/// Whether the parts of a reference can be names at all.
fn listener(field: &str, parent: &ParentRef) -> Result<(), Invalid> {
    let wrong = |part: &str, found: &str, write: &str| {
        Err(Invalid::new(format!("{field}.{part}"), format!("is `{found}`; write {write}")))
    };
    if !(1..=253).contains(&parent.name.len()) {
        return wrong("name", &parent.name, "the name of a Gateway");
    }
    match (&parent.namespace, &parent.section_name) {
        (Some(namespace), _) if namespace.len() > 63 || !is_host_label(namespace) => {
            wrong("namespace", namespace, "the name of a namespace, or leave it out for the release's own")
        }
        (_, Some(section)) if !is_host(section) || section.starts_with('*') => {
            wrong("sectionName", section, "the name of a listener of the Gateway, or leave it out for all that fit")
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// Two references to one Gateway must name different listeners.
fn apart(a: &ParentRef, b: &ParentRef) -> bool {
    let elsewhere = a.name != b.name || a.namespace != b.namespace;
    elsewhere || (a.section_name.is_some() && b.section_name.is_some() && a.section_name != b.section_name)
}

fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    (1..=253).contains(&host.len()) && name.split('.').all(is_host_label)
}

fn is_host_label(label: &str) -> bool {
    let inner = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
}

fn is_path(path: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-/._~".contains(&b);
    let dotted = path.split('/').any(|part| matches!(part, "." | ".."));
    path.starts_with('/') && path.len() <= 1024 && path.bytes().all(plain) && !path.contains("//") && !dotted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(name: &str, namespace: Option<&str>, section: Option<&str>) -> ParentRef {
        ParentRef {
            name: name.to_owned(),
            namespace: namespace.map(ToOwned::to_owned),
            section_name: section.map(ToOwned::to_owned),
        }
    }

    fn at(parents: &[ParentRef], hosts: &[&str], path: &str) -> Result<(), String> {
        let hostnames = hosts.iter().map(|h| (*h).to_owned()).collect();
        let gateway = GatewayTraffic { parent_refs: parents.to_vec(), hostnames, path_prefix: path.to_owned() };
        place(&gateway).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn a_host_name_is_a_dns_name_in_lower_case() {
        let one = [parent("public", None, None)];
        for host in ["a", "search.example.com", "*.example.com", "1.a-b.c", &"a".repeat(253)] {
            assert_eq!(at(&one, &[host], "/"), Ok(()), "{host}");
        }
        let long = "a".repeat(254);
        for host in
            ["", "Search.example.com", "a.b:8080", "https://a", "a..b", "-a", "a-", "*", "*.", "a.*", "ä", &long]
        {
            let told = at(&one, &["ok", host], "/").unwrap_err();
            assert!(
                told.starts_with("`spec.traffic.gateway.hostnames[1]` is `") && told.contains("lower case"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_prefix_has_no_empty_and_no_dotted_segment() {
        let one = [parent("public", None, None)];
        for path in ["/", "/a", "/a/", "/a.b/..c/...", "/~x/-_"] {
            assert_eq!(at(&one, &[], path), Ok(()), "{path}");
        }
        for path in
            ["", "a", "//", "/a//b", "/a//", "/.", "/..", "/./a", "/a/..", "/a/../b", "/a/./", "/a b", "/a%2f", "/a#b"]
        {
            let told = at(&one, &[], path).unwrap_err();
            assert!(told.starts_with(&format!("`spec.traffic.gateway.pathPrefix` is `{path}`; write")), "{told}");
        }
    }

    #[test]
    fn references_to_one_gateway_name_different_listeners() {
        let (a, b) = (Some("a"), Some("b"));
        let good = [
            vec![parent("x", None, None), parent("y", None, None)],
            vec![parent("x", a, None), parent("x", b, None)],
            vec![parent("x", None, a), parent("x", None, b)],
        ];
        for parents in good {
            assert_eq!(at(&parents, &[], "/"), Ok(()), "{parents:?}");
        }
        for (first, second) in [(None, None), (a, None), (None, a), (a, a)] {
            let parents = [parent("y", None, None), parent("x", b, first), parent("x", b, second)];
            let told = at(&parents, &[], "/").unwrap_err();
            assert!(told.starts_with("`spec.traffic.gateway.parentRefs[2]` names Gateway x again"), "{told}");
        }
        assert!(at(&[], &[], "/").unwrap_err().contains("is empty"));
        let wrong = [
            (parent("", None, None), "parentRefs[0].name"),
            (parent("x", Some("Team"), None), "parentRefs[0].namespace"),
            (parent("x", None, Some("a_b")), "parentRefs[0].sectionName"),
            (parent("x", None, Some("*.a")), "parentRefs[0].sectionName"),
        ];
        for (parent, field) in wrong {
            let told = at(&[parent], &[], "/").unwrap_err();
            assert!(told.starts_with(&format!("`spec.traffic.gateway.{field}` is `")), "{told}");
        }
    }
}
