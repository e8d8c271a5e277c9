//! What the CRDs refuse, asked of the real apiserver: each message says what is wrong and what to write.

use anyhow::{Context as _, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::demo::cluster::{Cluster, output, root};
use crate::demo::data::manifest;
use crate::demo::objects::{api_of, apply, delete, documents, placed};

/// Where nothing is stored but for a moment.
pub const NAMESPACE: &str = "e2e-admission";

/// One wrong spec: example, pointer, value put there, and what the refusal must say.
type Wrong = (&'static str, &'static str, Value, &'static str);

fn wrong_models() -> Vec<Wrong> {
    let model = "embedding-model";
    let long = "a".repeat(41);
    let hosted = json!({"url": "https://example.com/v1"});
    vec![
        (model, "/metadata/name", json!("0word"), "must be a DNS label of at most 40 characters"),
        (model, "/metadata/name", json!(long), "must be a DNS label of at most 40 characters"),
        (model, "/metadata/name", json!("word.llama"), "must be a DNS label of at most 40 characters"),
        (model, "/spec/endpoint", json!({}), "exactly one of spec.endpoint.openAI and spec.endpoint.managed"),
        (model, "/spec/endpoint/openAI", hosted, "exactly one of spec.endpoint.openAI and spec.endpoint.managed"),
        (model, "/spec/endpoint", json!({"openAI": {"url": "https://me@example.com/v1"}}), "url"),
        (model, "/spec/endpoint", json!({"openAI": {"url": "https://a.b/v1", "timeout": "30"}}), "timeout"),
        (model, "/spec/dimensions", json!(0), "spec.dimensions"),
        (model, "/spec/dimensions", json!(8193), "spec.dimensions"),
        (model, "/spec/distance", json!("Manhattan"), "spec.distance"),
        (model, "/spec/endpoint/managed/replicas", json!(0), "replicas"),
    ]
}

fn wrong_indexes() -> Vec<Wrong> {
    let index = "vector-index";
    let source = json!({"name": "twice", "from": {"configMap": {"name": "a"}}});
    let both = json!({"configMap": {"name": "a"}, "volume": {"claimName": "b"}});
    vec![
        (index, "/spec/sources", json!([]), "spec.sources"),
        (index, "/spec/sources", json!([source, source]), "spec.sources must have unique names"),
        (index, "/spec/sources/0/from", json!({}), "exactly one of from.configMap and from.volume"),
        (index, "/spec/sources/0/from", both, "exactly one of from.configMap and from.volume"),
        (index, "/spec/sources/0/format", json!("Pdf"), "format"),
        (index, "/spec/chunking/overlapTokens", json!(256), "must be smaller than spec.chunking.maxTokens"),
        (index, "/spec/chunking/maxTokens", json!(15), "maxTokens"),
        (index, "/spec/store", json!({}), "spec.store.embedded must be set"),
        (index, "/spec/deletionPolicy", json!("Keep"), "deletionPolicy"),
        (index, "/spec/build/deadline", json!("two hours"), "deadline"),
        (index, "/spec/retention/versions", json!(0), "versions"),
    ]
}

fn wrong_gates() -> Vec<Wrong> {
    let gate = "eval-gate";
    let online = json!({"objectives": [{"name": "errors", "signal": "ErrorRate", "max": 0.05}]});
    let of = |objectives: Value| json!({"online": {"objectives": objectives}});
    let errors = json!({"name": "errors", "signal": "ErrorRate", "max": 0.05});
    vec![
        (gate, "/spec", json!({}), "exactly one of spec.retrieval and spec.online"),
        (gate, "/spec/online", online, "exactly one of spec.retrieval and spec.online"),
        (gate, "/spec/retrieval/metrics", json!([]), "metrics"),
        (
            gate,
            "/spec/retrieval/metrics/0",
            json!({"name": "ndcg@10"}),
            "at least one of margin, relativeMargin, floor and max",
        ),
        (gate, "/spec/retrieval/metrics/0/name", json!("recall@10"), "must have unique names"),
        (gate, "/spec/retrieval/metrics/0/name", json!("ndgc@10"), "name"),
        (gate, "/spec/retrieval/metrics/0/relativeMargin", json!(0.1), "either margin or relativeMargin"),
        (gate, "/spec/retrieval/slices", json!({"by": ["a", "a"]}), "slices.by must name different keys"),
        (gate, "/spec/schedule", json!("every night"), "schedule"),
        (gate, "/spec/timeZone", json!("Europe/Berlin"), "spec.timeZone needs spec.schedule"),
        (gate, "/spec/retrieval/metrics/0/floor", json!(1.5), "floor"),
        (gate, "/spec/retrieval/dataset/from", json!({}), "exactly one of from.configMap and from.volume"),
        (gate, "/spec/retrieval/statistics/alpha", json!(0.5), "alpha"),
        (gate, "/spec", of(json!([errors, errors])), "must have unique names"),
        (
            gate,
            "/spec",
            of(json!([{"name": "slow", "signal": "SlowRate", "max": 0.05}])),
            "threshold must be set for signal SlowRate and only for it",
        ),
        (
            gate,
            "/spec",
            of(json!([{"name": "errors", "signal": "ErrorRate", "threshold": "1s", "max": 0.05}])),
            "threshold must be set for signal SlowRate and only for it",
        ),
        (
            gate,
            "/spec",
            of(json!([{"name": "slow", "signal": "SlowRate", "threshold": "120ms", "max": 0.05}])),
            "threshold must be one of 5ms 10ms 25ms",
        ),
    ]
}

/// What a gate says beside its metrics' margins: slices, counting, schedule, report.
fn wrong_fields_of_gates() -> Vec<Wrong> {
    let gate = "eval-gate";
    let online = |field: &str, value: Value| {
        let mut spec = json!({"online": {"objectives": [{"name": "errors", "signal": "ErrorRate", "max": 0.05}]}});
        spec[field] = value;
        spec
    };
    let report = |path: &str| json!({"claimName": "reports", "path": path});
    let relative = "spec.report.path must be relative and without `..`";
    let slices = "/spec/retrieval/slices";
    let required = |n: usize| json!({"by": ["a"], "required": Value::from_iter((0..n).map(|i| format!("a={i}")))});
    // A gate with a floor alone, and other fields beside it.
    let with = |fields: &[(&str, Value)]| {
        let mut retrieval = json!({
            "dataset": {"from": {"configMap": {"name": "d"}}}, "metrics": [{"name": "map", "floor": 0.3}]
        });
        for (field, value) in fields {
            retrieval[*field] = value.clone();
        }
        retrieval
    };
    let metric = "/spec/retrieval/metrics/0";
    let lower = "a lower value is better: they take max only";
    vec![
        (gate, "/spec", online("schedule", json!("0 3 * * *")), "spec.schedule needs spec.retrieval"),
        (gate, "/spec", online("report", report("")), "spec.report belongs to a gate with spec.retrieval"),
        (gate, "/spec", online("exposeText", json!(true)), "set spec.report too, or remove it"),
        (gate, "/spec/schedule", json!("0 3 * *"), "schedule"),
        (gate, "/spec/timeZone", json!("Mars Olympus"), "timeZone"),
        (gate, "/spec/report", report("/var/reports"), relative),
        (gate, "/spec/report", report("a/../../b"), relative),
        (gate, "/spec/report", report(&"p".repeat(64)), "spec.report.path"),
        (gate, "/spec/report", json!({"path": "rag"}), "claimName"),
        (gate, "/spec/report", json!({"claimName": "c".repeat(64)}), "spec.report.claimName"),
        (gate, slices, json!({}), "by"),
        (gate, slices, json!({"by": []}), "spec.retrieval.slices.by"),
        (gate, slices, json!({"by": ["a", "b", "c", "d", "e"]}), "spec.retrieval.slices.by"),
        (gate, slices, json!({"by": ["a=b"]}), "spec.retrieval.slices.by"),
        (gate, slices, json!({"by": ["a"], "minQueries": 9}), "minQueries"),
        (gate, slices, json!({"by": ["a"], "worstGroupFloor": 1.01}), "worstGroupFloor"),
        (gate, slices, json!({"by": ["a"], "required": ["legal"]}), "spec.retrieval.slices.required"),
        (gate, slices, json!({"by": ["a"], "required": ["a=1", "a=1"]}), "slices.required must name different slices"),
        (gate, slices, required(8), "spec.retrieval.slices.required"),
        // The example has two required metrics with a margin.
        (gate, slices, required(4), "must make at most 7 rows; require fewer slices"),
        (
            gate,
            "/spec/retrieval",
            with(&[("slices", json!({"by": ["a"], "worstGroupFloor": 0.2, "required": ["a=1"]}))]),
            "are held to the margins of required metrics",
        ),
        (
            gate,
            "/spec/retrieval",
            with(&[
                ("metrics", json!([{"name": "Hole@10", "max": 1.0}, {"name": "map", "margin": 0.05}])),
                ("slices", json!({"by": ["a"], "worstGroupFloor": 0.2})),
            ]),
            "worstGroupFloor holds the first metric",
        ),
        (gate, "/spec/retrieval", with(&[("maxCumulativeDrop", json!(0.03))]), "limits metrics with a margin"),
        (gate, "/spec/retrieval/maxCumulativeDrop", json!(0), "maxCumulativeDrop must be above 0"),
        (gate, "/spec/retrieval/maxCumulativeDrop", json!(0.000_000_1), "maxCumulativeDrop"),
        (gate, "/spec/retrieval/maxCumulativeDrop", json!(1.5), "maxCumulativeDrop"),
        (gate, "/spec/retrieval/missing", json!("ignore"), "spec.retrieval.missing"),
        (gate, "/spec/retrieval/compat", json!("trec_eval_8"), "spec.retrieval.compat"),
        (gate, "/spec/retrieval/ignoreIdenticalIds", json!("yes"), "ignoreIdenticalIds"),
        (gate, "/spec/retrieval/dataset/format", json!("Csv"), "spec.retrieval.dataset.format"),
        (gate, "/spec/retrieval/dataset/split", json!("../test"), "spec.retrieval.dataset.split"),
        (gate, metric, json!({"name": "map", "relativeMargin": 1.0}), "relativeMargin"),
        (gate, metric, json!({"name": "map", "relativeMargin": 0.0}), "relativeMargin"),
        (gate, metric, json!({"name": "map", "relativeMargin": 0}), "relativeMargin must be above 0"),
        (gate, metric, json!({"name": "map", "margin": 0}), "margin must be above 0"),
        (gate, metric, json!({"name": "map", "margin": 0.05, "confident": true}), "confident needs a floor"),
        (gate, metric, json!({"name": "map", "max": 1.5}), "max"),
        (gate, metric, json!({"name": "unj@10", "floor": 0.5}), lower),
        (gate, metric, json!({"name": "Hole@10", "margin": 0.05}), lower),
        (gate, metric, json!({"name": "unj@10", "relativeMargin": 0.05}), lower),
        (gate, metric, json!({"name": "rbp(p=1.5)", "floor": 0.5}), "name"),
        (gate, metric, json!({"name": "ndcg(rel=2)@10", "floor": 0.5}), "name"),
        (gate, "/spec/retrieval/statistics/method", json!("Bootstrap"), "spec.retrieval.statistics.method"),
        (gate, "/spec/retrieval/statistics/alpha", json!(0), "alpha must be at least 0.001"),
        (gate, "/spec/retrieval/statistics/seed", json!(-1), "spec.retrieval.statistics.seed"),
        (gate, "/spec/retrieval/statistics/clusterBy", json!(""), "spec.retrieval.statistics.clusterBy"),
        (gate, "/spec/timeout", json!("30"), "spec.timeout"),
        (gate, "/spec/retries", json!(11), "spec.retries"),
    ]
}

/// Fields of a gate at the edge of the rules: what they allow is not refused.
fn right_fields_of_gates() -> Vec<(&'static str, Value)> {
    let seven = Value::from_iter((0..7).map(|i| format!("a={i}")));
    vec![
        (
            "/spec/retrieval/metrics",
            json!([
                {"name": "rbp(p=0.8,rel=2)", "relativeMargin": 0.03, "floor": 0.3, "confident": true},
                {"name": "unj@10", "max": 0.5},
                {"name": "taskRecall@5", "margin": 1.0}
            ]),
        ),
        (
            "/spec/retrieval/slices",
            json!({"by": ["a", "b", "c", "d"], "minQueries": 10, "worstGroupFloor": 0.0, "required": ["a=1", "b=1"]}),
        ),
        ("/spec/retrieval/statistics", json!({"method": "BoundedMean", "alpha": 0.2, "seed": 0, "clusterBy": "topic"})),
        (
            "/spec/retrieval",
            json!({
                "dataset": {"from": {"configMap": {"name": "d"}}, "format": "Trec"},
                "missing": "drop", "compat": "trec_eval_9", "ignoreIdenticalIds": true, "maxCumulativeDrop": 1.0,
                // One of the metrics is required: seven slices fit.
                "slices": {"by": ["a"], "required": seven},
                "metrics": [{"name": "map", "margin": 0.05}, {"name": "mrr", "margin": 0.05, "required": false}]
            }),
        ),
        ("/spec/schedule", json!("*/15 9-17 1,15 * 1-5")),
        ("/spec/report", json!({"claimName": "reports", "path": "a/b..c"})),
    ]
}

/// What the Gateway API and Kubernetes allow of a release is not refused either.
fn right_fields_of_releases() -> Vec<(&'static str, Value)> {
    let amounts = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    vec![
        ("/spec/traffic/gateway/hostnames", json!(["*.example.com", "1.a-b.c", "localhost"])),
        ("/spec/traffic/gateway/pathPrefix", json!("/a.b/..c/.../~x/")),
        (
            "/spec/traffic/gateway/parentRefs",
            json!([
                {"name": "a", "sectionName": "x"}, {"name": "a", "sectionName": "y"},
                {"name": "a", "namespace": "other"}, {"name": "b"}
            ]),
        ),
        (
            "/spec/serving",
            json!({"resources": {"requests": amounts("1000m", "1Gi"), "limits": amounts("1", "1024Mi")}}),
        ),
        ("/spec/serving", json!({"resources": {"requests": amounts("4", "9Gi")}})),
    ]
}

fn wrong_releases() -> Vec<Wrong> {
    let release = "rag-release";
    let steps = |weights: &[i32]| Value::from_iter(weights.iter().map(|w| json!({"weight": w})));
    let gate = json!({"name": "live-slo", "when": "DuringTraffic"});
    let [hosts, parents] = ["/spec/traffic/gateway/hostnames", "/spec/traffic/gateway/parentRefs"];
    let serving = "/spec/serving";
    let more = |cpu: &str, most_cpu: &str, memory: &str, most_memory: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": most_cpu, "memory": most_memory}}});
    vec![
        (release, "/metadata/name", json!("9lives"), "must be a DNS label of at most 40 characters"),
        (release, "/spec/traffic", json!({}), "spec.traffic.gateway must be set"),
        (release, "/spec/rollout/steps", steps(&[10, 50]), "must have weight 100"),
        (release, "/spec/rollout/steps", steps(&[50, 10, 100]), "must rise strictly"),
        (release, "/spec/rollout/steps", steps(&[50, 50, 100]), "must rise strictly"),
        (release, "/spec/rollout/steps", steps(&[]), "steps"),
        (release, "/spec/rollout/steps/0/weight", json!(0), "weight"),
        (release, "/spec/rollout/steps/0/hold", json!("10"), "hold"),
        (release, "/spec/rollout/gates", json!([gate, gate]), "must have unique names"),
        (release, "/spec/rollout/gates/0/when", json!("Later"), "when"),
        (release, "/spec/retrieval/topK", json!(101), "topK"),
        (release, "/spec/retrieval/mode", json!("Magic"), "mode"),
        (release, "/spec/version", json!("3"), "version"),
        (release, "/spec/traffic/gateway/parentRefs", json!([]), "parentRefs"),
        (release, "/spec/traffic/gateway/pathPrefix", json!("handbook"), "pathPrefix"),
        (release, "/spec/traffic/gateway/pathPrefix", json!("/a//b"), "pathPrefix must not hold `//`"),
        (release, "/spec/traffic/gateway/pathPrefix", json!("/a/../b"), "pathPrefix must not hold `//`"),
        (release, "/spec/traffic/gateway/pathPrefix", json!("/a/."), "pathPrefix must not hold `//`"),
        (release, hosts, json!(["ok.example.com", "Search.example.com"]), "hostnames must be DNS names in lower case"),
        (release, hosts, json!(["search.example.com:8080"]), "hostnames must be DNS names in lower case"),
        (release, hosts, json!(["*"]), "hostnames must be DNS names in lower case"),
        (release, parents, json!([{"name": "a"}, {"name": "a"}]), "must have a sectionName each, all different"),
        (release, parents, json!([{"name": "a", "sectionName": "x"}, {"name": "a"}]), "must have a sectionName each"),
        (release, parents, json!([{"name": "a", "namespace": "Team"}]), "namespace"),
        (release, parents, json!([{"name": "a", "sectionName": "a_b"}]), "sectionName"),
        (release, serving, more("2", "1", "1Gi", "1Gi"), "resources.requests.cpu must not be more than"),
        (release, serving, more("1", "1", "1Gi", "1G"), "resources.requests.memory must not be more than"),
        (release, "/spec/rollback/window", json!("3d"), "window"),
    ]
}

/// kubectl reads files in its own way: a key that is a truth value to it once made every CRD of a gate unreadable.
pub async fn kubectl_takes_what_the_readme_installs(bench: &Bench) -> Result<()> {
    // A dry run makes no namespace: the rest of the install is only taken where it stands.
    let cluster = bench.operator().await?;
    let mut kubectl = cluster.kubectl();
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--dry-run=server"]);
    for directory in ["crds", "dev/install"] {
        kubectl.arg("-f").arg(root().join(directory));
    }
    let told = output(&mut kubectl).await?;
    for kind in ["embeddingmodels", "vectorindexes", "evalgates", "ragreleases"] {
        ensure!(told.contains(&format!("{kind}.ragops.dev")), "kubectl did not take {kind}: {told}");
    }
    Ok(())
}

/// Every wrong spec is refused, and the example itself is not.
pub async fn wrong_specs_are_refused_with_what_to_write_instead(bench: &Bench) -> Result<()> {
    let cluster = bench.cluster().await?;
    namespace(cluster).await?;
    for file in ["embedding-model", "vector-index", "eval-gate", "rag-release"] {
        for document in placed(documents(&manifest(&format!("examples/{file}.yaml"))?)?, NAMESPACE) {
            dry_run(cluster, &document).await.with_context(|| format!("examples/{file}.yaml was refused"))?;
        }
    }
    let tables = [wrong_models(), wrong_indexes(), wrong_gates(), wrong_fields_of_gates(), wrong_releases()];
    let right = [("eval-gate", right_fields_of_gates()), ("rag-release", right_fields_of_releases())];
    for (file, fields) in right {
        for (pointer, value) in fields {
            let document = changed(file, pointer, &value)?;
            dry_run(cluster, &document).await.with_context(|| format!("{pointer} = {value} was refused"))?;
        }
    }
    for (file, pointer, value, says) in tables.concat() {
        let document = changed(file, pointer, &value)?;
        match dry_run(cluster, &document).await {
            Ok(()) => anyhow::bail!("{file}: {pointer} = {value} was accepted"),
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(text.contains(says), "{file}: {pointer} = {value}: {text:?} does not say {says:?}");
            }
        }
    }
    Ok(())
}

/// The first document of an example with another value at a pointer.
fn changed(file: &str, pointer: &str, value: &Value) -> Result<Value> {
    let example = documents(&manifest(&format!("examples/{file}.yaml"))?)?;
    let mut document = placed(example, NAMESPACE).into_iter().next().context("an empty example")?;
    let (parent, field) = pointer.rsplit_once('/').context("a pointer without /")?;
    let parent = document.pointer_mut(parent).with_context(|| format!("{file} has no {parent}"))?;
    match (parent, field.parse::<usize>()) {
        (Value::Array(items), Ok(place)) => items[place] = value.clone(),
        (parent, _) => parent[field] = value.clone(),
    }
    Ok(document)
}

/// Identity fields are immutable, the endpoint is not.
pub async fn an_identity_never_changes(bench: &Bench) -> Result<()> {
    let cluster = bench.cluster().await?;
    namespace(cluster).await?;
    let example = documents(&manifest("examples/embedding-model.yaml")?)?;
    let mut document = placed(example, NAMESPACE).into_iter().next().context("an empty example")?;
    document["metadata"]["name"] = json!("identity");
    let object = apply(&cluster.client, &document).await?;
    let api = api_of(&cluster.client, &object).await?;
    let outcome = async {
        for (field, value) in [
            ("model", json!("other")),
            ("revision", json!("2")),
            ("dimensions", json!(64)),
            ("distance", json!("Dot")),
            ("normalize", json!(false)),
            ("prefixes", json!({"query": "q: "})),
            ("maxInputTokens", json!(128)),
        ] {
            let patch = Patch::Merge(json!({"spec": {field: value}}));
            let params = PatchParams { dry_run: true, ..PatchParams::default() };
            let text = match api.patch("identity", &params, &patch).await {
                Ok(_) => anyhow::bail!("{field} could be changed"),
                Err(error) => error.to_string(),
            };
            ensure!(text.contains("must not change; create a new EmbeddingModel"), "{field}: {text}");
        }
        let endpoint = Patch::Merge(json!({"spec": {"endpoint": {"managed": {"replicas": 2}}}}));
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        api.patch("identity", &params, &endpoint).await.context("the endpoint cannot be changed")?;
        Ok(())
    }
    .await;
    delete(&api, "identity").await?;
    outcome
}

async fn dry_run(cluster: &Cluster, document: &Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(document.clone())?;
    let api = api_of(&cluster.client, &object).await?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&params, &object).await?;
    Ok(())
}

async fn namespace(cluster: &Cluster) -> Result<()> {
    for document in placed(documents(&manifest("examples/handbook/1-namespace.yaml")?)?, NAMESPACE) {
        apply(&cluster.client, &document).await?;
    }
    Ok(())
}
